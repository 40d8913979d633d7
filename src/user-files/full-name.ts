/**
 * Splits the whole name of a person into the first name and the last name.
 *
 * The web page imports this file, so it must not import Node modules.
 */

/** The meaning of a column with whole names. It is not a field of a user. */
export const fullNameColumn = 'full_name';

export interface SplitName {
  readonly firstName: string;
  readonly lastName: string;
}

/** Splits “Lovelace, Ada” at the comma, and other names at the last space. A single word is the first name. */
export function splitFullName(text: string): SplitName {
  const name = text.trim();
  const [, last = '', rest = ''] = /^([^,]*),(.*)$/s.exec(name) ?? [];
  const afterComma = { firstName: rest.trim(), lastName: last.trim() };
  if (afterComma.firstName !== '' && afterComma.lastName !== '') return afterComma;
  const words = name.replace(/^,|,$/g, '').trim();
  const [, first, lastWord = ''] = /^(.*\S)\s+(\S+)$/s.exec(words) ?? [];
  return first === undefined ? { firstName: words, lastName: '' } : { firstName: first, lastName: lastWord };
}
