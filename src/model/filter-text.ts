/** Prepares a filter's text for the CEL parser, and describes positions in the text for errors. */
import { type Fault, invalid } from './fault.js';

/** Nested parentheses and brackets, or consecutive `!`. Chains of && and || do not count. */
const filterLevelsMax = 32;

export function describePosition(text: string, index: number): string {
  return `at character ${[...text.slice(0, index)].length + 1}`;
}

export function invalidFilter(description: string): Fault {
  return invalid([{ field: 'filter', description }], 'INVALID_FILTER');
}

// A string must end at the same character as for the parser. Otherwise, the levels would be counted wrongly.
const tokenForm = new RegExp(
  [
    String.raw`[rR](?:"""[^]*?"""|'''[^]*?'''|"[^"\r\n]*"|'[^'\r\n]*')`,
    String.raw`"""(?:[^\\]|\\[^])*?"""|'''(?:[^\\]|\\[^])*?'''`,
    String.raw`"(?:[^"\\\r\n]|\\[^])*"|'(?:[^'\\\r\n]|\\[^])*'`,
    String.raw`(?<space>(?:[\t\n\f\r ]|//[^\r\n]*)+)`,
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
    const where = describePosition(text, (index ?? 0) + match.index);
    throw invalidFilter(`must not have an invalid escape in a string; write \\\\ for a backslash (${where})`);
  }
}

/**
 * Replaces each sequence of white space and comments by one space, and limits the nesting. `origins` has the original
 * index of each UTF-16 unit.
 *
 * Without this, the parser takes quadratic time for a long sequence of white space, and recurses without a limit.
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
    const kept = match.groups?.space === undefined ? token : ' ';
    for (let unit = 0; unit < kept.length; unit++) origins.push(match.index + unit);
    compact += kept;
  }
  return { text: compact, origins };
}
