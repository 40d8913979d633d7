/**
 * Reads JSON that somebody else wrote, with each text as it stands there or not at all.
 *
 * JSON.parse of V8 12.8 to 14.6 at least (Node 24 and 26) may give a key that is written with an escape the name of
 * another one, `\` for `"`: https://github.com/nodejs/node/issues/63785. The store knows it, too; a command, as a caller
 * like any other, imports the client only.
 */

/** Undefined for what is no JSON, and where half of a surrogate pair would arrive as another character. */
export function parseJson(text: string): unknown {
  try {
    return text.includes('\\') ? parseEscaped(text) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A text alone is read rightly: each is replaced by its number, so that no key is left that has an escape. */
function parseEscaped(text: string): unknown {
  const texts: string[] = [];
  const numbered = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, (literal) => {
    const value: string = JSON.parse(literal);
    if (!value.isWellFormed()) throw new SyntaxError('half of a surrogate pair');
    return `"${texts.push(value) - 1}"`;
  });
  const restore = (value: unknown): unknown => {
    if (typeof value === 'string') return texts[Number(value)];
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(restore);
    // fromEntries defines properties, so that a key named __proto__ is one like any other.
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [texts[Number(key)] ?? '', restore(member)]),
    );
  };
  return restore(JSON.parse(numbered));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
