/** Splits the text of a filter into tokens, for the reader of chips and for the colours of the editor. Never fails. */

export type TokenKind = 'string' | 'number' | 'name' | 'operator' | 'space' | 'comment' | 'other';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** The index of its first UTF-16 unit. */
  readonly from: number;
}

// A string that is not closed ends with the line, so that the rest of the text keeps its colours.
const tokenForm = new RegExp(
  [
    String.raw`(?<string>[bBrR]{0,2}(?:"""[^]*?"""|'''[^]*?'''|"(?:[^"\\\r\n]|\\[^\r\n])*"?|'(?:[^'\\\r\n]|\\[^\r\n])*'?))`,
    String.raw`(?<comment>//[^\r\n]*)`,
    String.raw`(?<space>[\t\n\f\r ]+)`,
    String.raw`(?<number>0[xX][\da-fA-F]+[uU]?|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?[uU]?)`,
    String.raw`(?<name>[A-Za-z_]\w*)`,
    String.raw`(?<operator>&&|\|\||[=!<>]=|[-+!<>()[\].,])`,
    '(?<other>[^])',
  ].join('|'),
  'g',
);

const kinds: readonly TokenKind[] = ['string', 'comment', 'space', 'number', 'name', 'operator', 'other'];

export function tokensOf(text: string): Token[] {
  return Array.from(text.matchAll(tokenForm), ({ 0: token, index, groups }) => ({
    kind: kinds.find((kind) => groups?.[kind] !== undefined) ?? 'other',
    text: token,
    from: index,
  }));
}

const escapeForm = /\\(?:([abfnrtv\\?"'`])|[xX]([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-3][0-7]{2})|)/g;

const escapedCharacters: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Returns the value of a string in plain quotes, or undefined for any other token and for an invalid escape. */
export function stringValue(token: string): string | undefined {
  const quote = token.charAt(0);
  const isPlain = (quote === '"' || quote === "'") && token.length > 1 && token.endsWith(quote);
  if (!isPlain || token.startsWith(quote.repeat(3))) return undefined;
  let isValid = true;
  const value = token.slice(1, -1).replaceAll(escapeForm, (_, plain, x, u4, u8, octal) => {
    if (plain !== undefined) return escapedCharacters[plain] ?? plain;
    const code = octal === undefined ? Number.parseInt(x ?? u4 ?? u8 ?? '', 16) : Number.parseInt(octal, 8);
    if (code >= 0 && code <= 0x10ffff) return String.fromCodePoint(code);
    isValid = false;
    return '';
  });
  return isValid ? value : undefined;
}

// Escapes what the text of a filter cannot contain, and what nobody could see in it, except the joiners of letters.
const hiddenForm = /(?![\u200c\u200d])["\\\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Writes a string so that every value is read back unchanged. The server refuses U+0000 and unpaired surrogates. */
export function quoted(value: string): string {
  const text = value.replaceAll(hiddenForm, (character) => {
    if (character === '"' || character === '\\') return `\\${character}`;
    const code = character.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    return code > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
  });
  return `"${text}"`;
}
