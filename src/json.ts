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
