/** Texts that break between their words if they can. A copy from the page contains the text without the breaks. */
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
