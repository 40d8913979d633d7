/** Rules for all texts: the length, the characters that Postgres can store, and the invisible ones. */

/** Whether a text has at most `max` Unicode code points. Does not count them if the text is much longer. */
export function hasAtMost(text: string, max: number): boolean {
  if (text.length <= max) return true;
  if (text.length > 2 * max) return false;
  let count = 0;
  for (const _ of text) count++;
  return count <= max;
}

/** Returns the violation of a text that Postgres cannot store, or undefined. */
export function validateStorable(text: string): string | undefined {
  // Postgres cannot store U+0000, and stores a lone surrogate as U+FFFD.
  if (text.includes('\0')) return 'must not contain U+0000';
  if (!text.isWellFormed()) return 'must be well-formed Unicode';
  return undefined;
}

// Characters that show nothing: format characters, private and unassigned ones, fillers, the empty Braille
// pattern, the (object) replacement character, the null notehead and blank hieroglyphs.
export const invisible =
  '\\p{Cf}\\p{Co}\\p{Cn}\\p{Default_Ignorable_Code_Point}\\u2800\\ufffc\\ufffd\\u{1d159}\\u{13441}\\u{13442}';
