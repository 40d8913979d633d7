/** A text without spaces, such as a key or an email, that breaks between its words if it can. Its copy is the same text. */
import { Fragment } from 'preact';

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
