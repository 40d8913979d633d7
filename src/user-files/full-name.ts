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

// Titles and suffixes that may stand after a comma.
const suffix = /^(?:jr|sr|ii|iii|iv|ph\.? ?d|m\.d|mba|esq)\.?$/i;
// Names in these scripts begin with the family name.
const familyFirst = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}ー・\s]+$/u;

/**
 * Splits “Lovelace, Ada” at the comma, “山田 太郎” after the family name, and other names at the last space. A single word is
 * the first name. A suffix, as in “Ada King, PhD”, stays at the last name.
 */
export function splitFullName(text: string): SplitName {
  const name = text.trim();
  const [, beforeComma = '', afterComma = ''] = /^([^,]*),(.*)$/s.exec(name) ?? [];
  const [before, after] = [beforeComma.trim(), afterComma.trim()];
  if (before !== '' && suffix.test(after)) {
    const { firstName, lastName } = splitFullName(before);
    return lastName === '' ? { firstName: name, lastName } : { firstName, lastName: `${lastName}, ${after}` };
  }
  if (before !== '' && after !== '') return { firstName: after, lastName: before };
  const [, family, given = ''] = /^(\S+)\s+(.*)$/s.exec(name) ?? [];
  if (family !== undefined && familyFirst.test(name)) return { firstName: given, lastName: family };
  const words = name.replace(/^,|,$/g, '').trim();
  const [, first, lastWord = ''] = /^(.*\S)\s+(\S+)$/s.exec(words) ?? [];
  return first === undefined ? { firstName: words, lastName: '' } : { firstName: first, lastName: lastWord };
}
