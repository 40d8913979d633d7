/** Reads a number that a person has typed. */

let localComma: boolean | undefined;

/** Whether the browser's language writes 1.5 as 1,5, and so may write 1500 as 1.500. */
export function hasDecimalComma(): boolean {
  localComma ??= new Intl.NumberFormat().format(1.5).includes(',');
  return localComma;
}

/** With groups of three digits, or of two before the last three, as in India. */
const groupedForm = /^-?[1-9]\d{0,2}([.,'’\s])(?:\d{2,3}\1)*\d{3}(?:([.,])\d+)?$/;
const plainForm = /^-?\d*(?:[.,]?\d+|\d[.,])(?:e[+-]?\d+)?$/i;

/**
 * The number with a decimal point and without groups; undefined if the text is not a number. Accepts 1,5 and 1.5, an exponent,
 * 1,234.5 and 1 500. If the separator of 50,000 or 50.000 is the decimal one of the browser's language, it is fifty, otherwise
 * fifty thousand. So the page must show what it understood.
 */
export function localLiteral(text: string, isDecimalComma = hasDecimalComma()): string | undefined {
  const trimmed = text.trim();
  const [, group, point] = groupedForm.exec(trimmed) ?? [];
  if (group === undefined || group === point) return plainForm.test(trimmed) ? trimmed.replace(',', '.') : undefined;
  const isOnly = point === undefined && trimmed.indexOf(group) === trimmed.lastIndexOf(group);
  const isDecimal = isOnly && group === (isDecimalComma ? ',' : '.');
  return (isDecimal ? trimmed : trimmed.replaceAll(group, '')).replace(',', '.');
}

/** Returns Infinity for a number that is too large. */
export function parseLocalNumber(text: string, isDecimalComma = hasDecimalComma()): number | undefined {
  const literal = localLiteral(text, isDecimalComma);
  return literal === undefined ? undefined : Number(literal);
}

/** Says what numbers such as 50,000 mean; empty if a text is not a number, or if all are written as the page writes them. */
export function understoodText(...texts: readonly string[]): string {
  const typed = texts.map((text) => text.trim()).filter((text) => text !== '');
  const numbers = typed.map((text) => parseLocalNumber(text)).filter(Number.isFinite);
  const isClear = numbers.length < typed.length || typed.every((text, at) => isUsualText(text, numbers[at] ?? 0));
  return isClear ? '' : `Means ${numbers.join(' and ')}.`;
}

/** The number as `parseLocalNumber` reads it. */
export function localNumberText(value: number, isDecimalComma = hasDecimalComma()): string {
  return isDecimalComma ? String(value).replace('.', ',') : String(value);
}

export const numberProblem = 'Enter a number, such as 42, -1.5 or 50000.';

function isUsualText(text: string, number: number): boolean {
  return text === String(number) || text === localNumberText(number);
}

/** Whether a person may mean a number, also with groups. */
export function looksLikeNumber(text: string): boolean {
  return Number.isFinite(parseLocalNumber(text));
}
