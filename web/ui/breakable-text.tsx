/** A text that breaks between its words if it can. Its copy is the same text. */
import { Fragment } from 'preact';

/** A text without spaces, such as a key or an email. */
export function BreakableText({ text }: { text: string }) {
  return (
    <>
      {text.split(/(?<=[@_.\-/])(?=[^@_.\-/])/).map((part, index) => (
        <Fragment key={index}>
          {index > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </>
  );
}

/** Any text. If it is an email, it breaks between its words. */
export function ValueText({ text }: { text: string }) {
  const isEmail = /^[^\s@]+@[^\s@]+$/.test(text);
  return <>{isEmail ? <BreakableText text={text} /> : text}</>;
}
