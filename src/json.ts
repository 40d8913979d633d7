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

// Also matches strings, to skip the digits in them. It matches an unterminated string too, because the time would not
// be linear otherwise.
const stringOrNumber = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"?|(?<![\d.eE+-])-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Replaces each number of a JSON text that JSON.parse would silently change (isExactNumber). */
export function replaceInexactNumbers(text: string, replace: (literal: string) => string): string {
  // A text that does not match has only numbers of at most 15 digits that are not too large. The check is ten times faster.
  if (!/\d{16}|\.\d+[eE]|[eE]\+?\d{3}/.test(text)) return text;
  return text.replaceAll(stringOrNumber, (token) =>
    token.startsWith('"') || isExactNumber(token) ? token : replace(token),
  );
}

/**
 * Whether a number in JSON keeps its value as a double. An integer, however it is written, must be exact, or equal to
 * what its double is printed as. Other numbers are rounded to the nearest double. A number that is too large would
 * become Infinity.
 */
export function isExactNumber(literal: string): boolean {
  const value = Number(literal);
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return Number.isFinite(value);
  const integer = integerOf(literal);
  return integer === undefined || integer === BigInt(value) || integer === integerOf(String(value));
}

/** The exact value of a literal, which a double must be able to represent roughly, or undefined if it has a fraction. */
function integerOf(literal: string): bigint | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(literal) ?? [];
  const digits = whole + fraction;
  // Not by a pattern, because /0+$/ takes quadratic time.
  let length = digits.length;
  while (digits[length - 1] === '0') length--;
  const zeros = Number(exponent) - fraction.length + digits.length - length;
  return zeros < 0 ? undefined : BigInt(`${sign}${digits.slice(0, length)}${'0'.repeat(zeros)}`);
}
