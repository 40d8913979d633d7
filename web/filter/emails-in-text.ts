/** Reads the emails of several users from a pasted text, such as the recipients of a message or the cells of a table. */
import { emailKey } from '../text/email-key.js';
import { type Chip, writeChip } from './filter-chips.js';
import { withChip } from './read-chips.js';
import { roomBeside } from './text-search.js';

/** Each email once, in the order of the text. */
export function emailsIn(text: string): readonly string[] {
  const emails = new Map<string, string>();
  for (const word of text.toWellFormed().split(/[\s,;<>"()\0]+/)) {
    const email = word.replace(/^'*(?:mailto:)?/i, '').replace(/\?.*|['.:]+$/, '');
    const key = emailKey(email);
    if (/^[^@]+@[^@]+$/.test(email) && !emails.has(key)) emails.set(key, email);
  }
  return [...emails.values()];
}

const shortest = '"a@b", ';

/** The filter that also requires one of the emails, and how many of them it has room for. */
export function filterByEmails(emails: readonly string[], filter: string): { filter: string; count: number } {
  const room = roomBeside(filter);
  const chipOf = (count: number): Chip => ({ path: ['email'], operator: 'is', values: emails.slice(0, count) });
  let count = Math.min(emails.length, Math.ceil(room / shortest.length));
  while (count > 0 && writeChip(chipOf(count)).length > room) count--;
  return { filter: count > 0 ? withChip(filter, chipOf(count)) : filter, count: Math.max(0, count) };
}

/**
 * The search holds only the start of a long paste, and some browsers remove its line breaks. Returns the whole paste if the
 * search still shows it.
 */
export function wholeText(query: string, pasted: string): string {
  const start = query.replaceAll(/\s/g, '');
  return start !== '' && pasted.replaceAll(/\s/g, '').startsWith(start) ? pasted : query;
}
