/** Finds the emails that are in more than one row of a file. */
import { emailKey } from '../text/email-key.js';

/** Later rows are not compared, so that a larger file does not use up the memory. A million emails take less than 100 MB. */
export const comparedRowsMax = 1_000_000;
const shownRowsMax = 5;

export interface RepeatedEmails {
  /** How many emails are in more than one row. */
  readonly emails: number;
  /** The first of them, and the numbers of its first rows in the file, from 1. */
  readonly first: { readonly email: string; readonly rows: readonly number[]; readonly hasMore: boolean } | undefined;
  /** Whether the file has rows that were not compared. */
  readonly isCut: boolean;
}

export function createRepeatedEmails(rowsMax = comparedRowsMax) {
  /** The row of each email, or 0 if the email was counted. */
  const rowsByEmail = new Map<string, number>();
  let compared = 0;
  let emails = 0;
  let firstKey: string | undefined;
  let first: RepeatedEmails['first'];
  return {
    add(row: number, email = ''): void {
      if (++compared > rowsMax || email === '') return;
      const key = emailKey(email);
      const before = rowsByEmail.get(key);
      if (before === undefined) rowsByEmail.set(key, row);
      else if (before > 0) {
        rowsByEmail.set(key, 0);
        emails++;
        firstKey ??= key;
        first ??= { email, rows: [before], hasMore: false };
      }
      if (before === undefined || first === undefined || key !== firstKey) return;
      first = first.rows.length < shownRowsMax ? { ...first, rows: [...first.rows, row] } : { ...first, hasMore: true };
    },
    result: (): RepeatedEmails => ({ emails, first, isCut: compared > rowsMax }),
  };
}
