/**
 * Reads JSON with arbitrary keys, such as a user's attributes, from Postgres or from a file.
 *
 * It works around a bug in JSON.parse (V8 12.8 to at least 14.6, Node 24 and 26): after it has parsed a key with a
 * backslash, it may read an escaped key of a later object as that key. https://github.com/nodejs/node/issues/63785
 */

/** `readText` gets the literal of each string. Throws a SyntaxError for invalid JSON, and any error of `readText`. */
export function parseJson(text: string, readText: (literal: string) => string = JSON.parse): unknown {
  if (!text.includes('\\')) return JSON.parse(text);
  // JSON.parse reads a single string correctly. Replacing each string by its index leaves no key with an escape.
  const texts: string[] = [];
  const numbered = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, (literal) => `"${texts.push(readText(literal)) - 1}"`);
  const restore = (value: unknown): unknown => {
    if (typeof value === 'string') return texts[Number(value)];
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(restore);
    // fromEntries defines properties, so a key named __proto__ is an ordinary key.
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [texts[Number(key)] ?? '', restore(child)]));
  };
  return restore(JSON.parse(numbered));
}

export const inexactNumberText =
  'A number is too large, or an integer has more digits than a double can hold. Write it as a string, in quotes.';

// Matches strings, so that it skips digits in them, and long numbers, which may be inexact. It also matches an
// unterminated string, because the time would not be linear otherwise.
const stringOrLongNumber =
  /"[^"\\]*(?:\\[\s\S][^"\\]*)*"?|(?<![\d.eE+-])-?(?:[1-9]\d{15,}(?:\.\d+)?(?:[eE][+-]?\d+)?|(?:0|[1-9]\d*)(?:\.\d+)?[eE]\+?\d{3,})/g;

/** Replaces each number of a JSON text that JSON.parse would silently change (isExactNumber). */
export function replaceInexactNumbers(text: string, replace: (literal: string) => string): string {
  // Most texts have no long numbers. This check takes a tenth of the time.
  if (!/\d{16}|[eE]\+?\d{3}/.test(text)) return text;
  return text.replaceAll(stringOrLongNumber, (token) =>
    token.startsWith('"') || isExactNumber(token) ? token : replace(token),
  );
}

/**
 * Whether a number in JSON keeps its value as a double. An integer must be exact, or have the digits that its double is
 * printed with. Decimals may be rounded to the nearest double. A number that is too large would become Infinity.
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
