/** Writes a line of CSV. It is not in csv.ts, so that an export loads without the parser. */
import { hasDecimalComma } from './parse-number.js';

/** Excel separates cells by semicolons in languages with a decimal comma. */
export function excelDelimiter(): string {
  return hasDecimalComma() ? ';' : ',';
}

/**
 * As in the command line, no cell is escaped for spreadsheets, because an import must create the same users. Commas are always
 * quoted, so that those of a header do not look like the delimiter.
 */
export function formatLine(cells: readonly string[], delimiter = ','): string {
  const line = cells.map((cell) =>
    /[",\r\n]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell,
  );
  return `${line.join(delimiter)}\n`;
}
