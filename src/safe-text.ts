/** Makes text from clients and files safe to print on a terminal. */

// Control characters, and characters that change the reading direction or add lines (https://trojansource.codes).
const unsafe = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

function escapeUnit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Returns one line, with `\u001b` in place of an escape character. */
export function safeText(text: string): string {
  return text.replace(unsafe, escapeUnit);
}

/** Returns JSON that is safe for a terminal. JSON.stringify does not escape control characters from U+007F on. */
export function safeJson(value: unknown, indent?: number): string {
  return safeLines(JSON.stringify(value, null, indent));
}

/** As safeText, for a text of several lines. */
export function safeLines(text: string): string {
  return text.replace(unsafe, (character) => (character === '\n' ? character : escapeUnit(character)));
}
