/**
 * Reads JSON whose keys may be any text: all that holds a caller's attributes, from Postgres or from a file.
 *
 * JSON.parse of V8 12.8 to 14.6 at least (Node 24 and 26) gives a key that is written with an escape another key's
 * name, once it has seen an object with a key that has a backslash in it: `"` becomes `\`, whoever's object that was.
 * https://github.com/nodejs/node/issues/63785
 */

/** Throws a SyntaxError for what is no JSON, and whatever `readText` throws for a text, of which it gets the literal. */
export function parseJson(text: string, readText: (literal: string) => string = JSON.parse): unknown {
  if (!text.includes('\\')) return JSON.parse(text);
  // A text alone is read rightly. Where each is replaced by its number, no key is left that has an escape.
  const texts: string[] = [];
  const numbered = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, (literal) => `"${texts.push(readText(literal)) - 1}"`);
  const restore = (value: unknown): unknown => {
    if (typeof value === 'string') return texts[Number(value)];
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(restore);
    // fromEntries defines properties, so that a key named __proto__ is one like any other.
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [texts[Number(key)] ?? '', restore(child)]));
  };
  return restore(JSON.parse(numbered));
}

export const inexactNumberText =
  'A number is too large, or an integer has more digits than a double can hold: write it as a text, in quotes.';

// Matches strings, so that digits in them are skipped, and numbers that may be inexact, which are all long. It also matches
// a string that does not end, because the time would not be linear otherwise.
const stringOrLongNumber =
  /"[^"\\]*(?:\\[\s\S][^"\\]*)*"?|(?<![\d.eE+-])-?(?:[1-9]\d{15,}(?:\.\d+)?(?:[eE][+-]?\d+)?|(?:0|[1-9]\d*)(?:\.\d+)?[eE]\+?\d{3,})/g;

/** Replaces each number of a JSON text that JSON.parse would silently change (isExactNumber). */
export function replaceInexactNumbers(text: string, replace: (literal: string) => string): string {
  // Most texts have no long numbers, and this finds out in a tenth of the time.
  if (!/\d{16}|[eE]\+?\d{3}/.test(text)) return text;
  return text.replaceAll(stringOrLongNumber, (token) =>
    token.startsWith('"') || isExactNumber(token) ? token : replace(token),
  );
}

/**
 * Whether a number in JSON stays what it is as a double. An integer must be exact, or written as doubles of its value are
 * written. Decimals may be rounded to the nearest double. A number that is too large would become Infinity.
 */
export function isExactNumber(literal: string): boolean {
  const value = Number(literal);
  if (!Number.isFinite(value)) return false;
  const [, integer] = /^(-?\d+)(?:\.0+)?$/.exec(literal) ?? [];
  if (integer === undefined || Number.isSafeInteger(value)) return true;
  return String(value) === integer || BigInt(value) === BigInt(integer);
}

/** Whether a JSON text has a number that JSON.parse would silently change (isExactNumber). */
export function hasInexactNumber(text: string): boolean {
  return replaceInexactNumbers(text, () => '') !== text;
}
