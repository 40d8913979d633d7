/** Compares a command's output with the output that a page shows. Some texts differ in each run; … matches any text. */

/** Patterns for texts that differ each time. */
const changing: readonly RegExp[] = [
  /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/,
  /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,3}Z/,
  /\d{4}-\d\d-\d\d(?!\d)/,
  // The time in an etag.
  /\.[0-9a-z]{8}\b/,
  /\[\d\d:\d\d:\d\d\.\d{3}\]/,
  /\b[0-9a-f]{8}-[0-9a-z]{1,4}\b/,
  /[\w-]{40,}/,
];

const anyText = '[^]*?';
const anyChanging = new RegExp(`(${[...changing.map((form) => form.source), '…'].join('|')})`);

function patternOf(shown: string): string {
  const parts = shown.split(anyChanging).map((part, index) => {
    if (index % 2 === 0) return part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    if (part === '…') return anyText;
    return changing.find((form) => new RegExp(`^(?:${form.source})$`).test(part))?.source ?? anyText;
  });
  return parts.join('');
}

/** Ignores spaces at the ends of lines, because editors remove them. */
const trimmed = (text: string) => text.replaceAll(/[ \t]+$/gm, '').trimEnd();

export function isShown(output: string, shown: string): boolean {
  return new RegExp(`^${patternOf(trimmed(shown))}$`).test(trimmed(output));
}

/** Whether the output begins with what the page shows. */
export function beginsWith(output: string, shown: string): boolean {
  return new RegExp(`^${patternOf(trimmed(shown))}`).test(output);
}
