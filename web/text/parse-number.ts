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

export const numberProblem = 'Enter a number, such as 42, -1.5 or 50000.';

/** Whether a person may mean a number: what `parseNumber` accepts, and numbers such as 50,000 or 1.234,5. */
export function looksLikeNumber(text: string): boolean {
  const isGrouped = /^-?[1-9]\d{0,2}(?:[.,'’\s]\d{3})+(?:[.,]\d+)?$/.test(text.trim());
  return isGrouped || Number.isFinite(parseNumber(text));
}
