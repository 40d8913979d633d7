/** Writes a line of CSV. It is not in csv.ts, so that an export loads without the parser. */

/** As in the command line, no cell is escaped for spreadsheets, because an import must create the same users. */
export function formatLine(cells: readonly string[], delimiter = ','): string {
  const line = cells.map((cell) =>
    /["\r\n]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell,
  );
  return `${line.join(delimiter)}\n`;
}
