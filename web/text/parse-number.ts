/** Reads a number that a person has typed. */

let localComma: boolean | undefined;

/** Whether the browser's language writes 1.5 as 1,5, and so may write 1500 as 1.500. */
export function hasDecimalComma(): boolean {
  localComma ??= new Intl.NumberFormat().format(1.5).includes(',');
  return localComma;
}

/**
 * Accepts a decimal point or comma, and an exponent. Returns Infinity for a number that is too large, and undefined for
 * everything else, also for 50,000, which is fifty thousand for one person and fifty for another, and for 50.000 in a
 * language with a decimal comma.
 */
export function parseNumber(text: string, isDotUnclear = hasDecimalComma()): number | undefined {
  const trimmed = text.trim();
  if (!/^-?\d*(?:[.,]?\d+|\d[.,])(?:e[+-]?\d+)?$/i.test(trimmed)) return undefined;
  if (/^-?[1-9]\d{0,2},\d{3}$/.test(trimmed)) return undefined;
  if (isDotUnclear && /^-?[1-9]\d{0,2}\.\d{3}$/.test(trimmed)) return undefined;
  return Number(trimmed.replace(',', '.'));
}

/** With groups of three digits, or of two before the last three, as in India. */
const groupedForm = /^-?[1-9]\d{0,2}([.,'’\s])(?:\d{2,3}\1)*\d{3}(?:([.,])\d+)?$/;

/**
 * Also accepts 1,234.5 and 1 500. If the separator of 50,000 or 50.000 is the decimal one of the browser's language, it is
 * fifty, otherwise fifty thousand. Use this where the page shows what it understood.
 */
export function parseLocalNumber(text: string, isDecimalComma = hasDecimalComma()): number | undefined {
  const trimmed = text.trim();
  const [, group, point] = groupedForm.exec(trimmed) ?? [];
  if (group === undefined || group === point) return parseNumber(trimmed, false);
  const isOnly = point === undefined && trimmed.indexOf(group) === trimmed.lastIndexOf(group);
  const isDecimal = isOnly && group === (isDecimalComma ? ',' : '.');
  return Number((isDecimal ? trimmed : trimmed.replaceAll(group, '')).replace(',', '.'));
}

/** The number as `parseLocalNumber` reads it. */
export function localNumberText(value: number, isDecimalComma = hasDecimalComma()): string {
  return isDecimalComma ? String(value).replace('.', ',') : String(value);
}

export const numberProblem = 'Enter a number, such as 42, -1.5 or 50000.';

/** Whether a person may mean a number: what `parseNumber` accepts, and numbers such as 50,000 or 1.234,5. */
export function looksLikeNumber(text: string): boolean {
  const isGrouped = /^-?[1-9]\d{0,2}(?:[.,'’\s]\d{3})+(?:[.,]\d+)?$/.test(text.trim());
  return isGrouped || Number.isFinite(parseNumber(text));
}
