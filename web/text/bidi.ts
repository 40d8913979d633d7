/** Texts whose letters are shown in the order in which they are stored. */

/** Removes the characters that reverse the letters after them: with them, “A\u202eevil” looks like “Alive”. */
export function withoutOverrides(text: string): string {
  return text.replaceAll(/[\u202d\u202e]/g, '');
}
