/** Finds the emails that are in more than one row of a file. */
import { emailKey } from '../text/email-key.js';

/** Later rows are not compared, so that a larger file does not use up the memory. A million emails take less than 100 MB. */
export const comparedRowsMax = 1_000_000;
const shownLinesMax = 5;

export interface RepeatedEmails {
  /** How many emails are in more than one row. */
  readonly emails: number;
  /** The first of them, and the lines of its first rows. Lines count from 1. */
  readonly first: { readonly email: string; readonly lines: readonly number[]; readonly hasMore: boolean } | undefined;
  /** Whether the file has rows that were not compared. */
  readonly isCut: boolean;
}

export function createRepeatedEmails(rowsMax = comparedRowsMax) {
  /** The line of each email, or 0 if the email was counted. */
  const lines = new Map<string, number>();
  let rows = 0;
  let emails = 0;
  let firstKey: string | undefined;
  let first: RepeatedEmails['first'];
  return {
    add(line: number, email = ''): void {
      if (++rows > rowsMax || email === '') return;
      const key = emailKey(email);
      const before = lines.get(key);
      if (before === undefined) lines.set(key, line);
      else if (before > 0) {
        lines.set(key, 0);
        emails++;
        firstKey ??= key;
        first ??= { email, lines: [before], hasMore: false };
      }
      if (before === undefined || first === undefined || key !== firstKey) return;
      first =
        first.lines.length < shownLinesMax ? { ...first, lines: [...first.lines, line] } : { ...first, hasMore: true };
    },
    result: (): RepeatedEmails => ({ emails, first, isCut: rows > rowsMax }),
  };
}
