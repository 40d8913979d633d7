/** Prepares a filter's text for the CEL parser, and names positions in it. */
import { type Fault, invalid } from './fault.js';

/** Nested parentheses and brackets, or consecutive signs of negation. Chains of && and || do not count. */
const filterLevelsMax = 32;

export function characterAt(text: string, index: number): string {
  return `at character ${[...text.slice(0, index)].length + 1}`;
}

export function invalidFilter(description: string): Fault {
  return invalid([{ field: 'filter', description }], 'INVALID_FILTER');
}

// Strings must end here in the same place as in the parser. Otherwise the levels would be wrong.
const tokenForm = new RegExp(
  [
    String.raw`[rR](?:"""[^]*?"""|'''[^]*?'''|"[^"\r\n]*"|'[^'\r\n]*')`,
    String.raw`"""(?:[^\\]|\\[^])*?"""|'''(?:[^\\]|\\[^])*?'''`,
    String.raw`"(?:[^"\\\r\n]|\\[^])*"|'(?:[^'\\\r\n]|\\[^])*'`,
    String.raw`(?<blank>(?:[\t\n\f\r ]|//[^\r\n]*)+)`,
    String.raw`(?<open>[([{])|(?<close>[)\]}])|(?<not>!+(?!=))|[^]`,
  ].join('|'),
  'g',
);

// A backslash with one of CEL's escapes, or alone. The parser would accept a lone backslash as a character.
const escapeForm = /\\(?:[abfnrtv\\?"'`]|[xX][\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-3][0-7]{2})?/g;

function validateEscapes(text: string, { 0: token, index }: RegExpMatchArray): void {
  if (!/^["']./.test(token)) return;
  for (const match of token.matchAll(escapeForm)) {
    if (match[0] !== '\\') continue;
    const where = characterAt(text, (index ?? 0) + match.index);
    throw invalidFilter(`must not have an invalid escape in a string; write \\\\ for a backslash (${where})`);
  }
}

/**
 * Replaces every run of blanks and comments by one blank, and limits the levels. `origins` has the original index of
 * each UTF-16 unit.
 *
 * The parser needs this: its time is quadratic in the length of a run of blanks, and its recursion has no limit.
 */
export function compactText(text: string): { readonly text: string; readonly origins: readonly number[] } {
  let compact = '';
  const origins: number[] = [];
  let levels = 0;
  for (const match of text.matchAll(tokenForm)) {
    const [token] = match;
    validateEscapes(text, match);
    if (match.groups?.open !== undefined) levels++;
    if (match.groups?.close !== undefined) levels--;
    if (levels + (match.groups?.not?.length ?? 0) > filterLevelsMax)
      throw invalidFilter(`must have at most ${filterLevelsMax} levels of nesting`);
    const kept = match.groups?.blank === undefined ? token : ' ';
    for (let unit = 0; unit < kept.length; unit++) origins.push(match.index + unit);
    compact += kept;
  }
  return { text: compact, origins };
}
