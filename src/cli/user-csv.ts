/**
 * Reads and writes users as CSV (RFC 4180, with a header).
 *
 * Importing an export must create the same users, byte for byte. Cells that look like spreadsheet formulas are not escaped.
 */
import { stringify } from 'csv-stringify/sync';
import type { User } from '../client/index.js';
import {
  type ColumnOptions,
  draftOf,
  errorColumns,
  exportCells,
  exportColumns,
  type Row,
  type RowProblem,
} from '../user-files/columns.js';
import { type CsvRecord, delimiterNames, openCsv, readRecords, separatorLine } from '../user-files/csv.js';
import {
  type Column,
  findColumns,
  findDuplicate,
  matchHeader,
  missingFields,
  targetsOf,
} from '../user-files/header.js';
import { duplicateColumns, isUnknown, missingColumns, unknownColumns } from './column-option.js';
import { UsageError } from './failure.js';
import type { UserFile } from './user-file.js';

export const csvHeader = `${exportColumns.join(',')}\n`;

/** Returns complete lines, without the header. */
export function formatCsvUsers(users: readonly User[]): string {
  return stringify(users.map(exportCells));
}

export type CsvOptions = ColumnOptions & { delimiter?: string };

/**
 * Throws a UsageError if the header is unusable. If the quotes of a row are invalid, `rows` yields all earlier rows and
 * then throws an UnreadableFile.
 */
export async function readCsvUsers(text: AsyncIterable<string>, options: CsvOptions): Promise<UserFile> {
  const csv = await openCsv(text, options.delimiter);
  const { delimiter } = csv;
  const groups = readRecords(csv);
  const { value: [first, ...others] = [] } = await groups.next();
  if (first === undefined) throw new UsageError('There is no header: the first line must name the columns.');
  const columns = matchHeader(first.cells, options.column);
  const header = columns.map(({ name }) => name);
  checkColumns(columns, delimiter, options);
  const targets = targetsOf(columns);
  let isHeaderWritten = false;

  const rowOf = ({ cells, line }: CsvRecord): Row => ({ line, original: cells, ...draftOf(cells, targets) });
  async function* readRows(): AsyncGenerator<Row> {
    yield* others.map(rowOf);
    for await (const records of groups) yield* records.map(rowOf);
  }

  const isOriginal = (_: string, index: number) => !errorColumns.includes(header[index] ?? '');
  return {
    columns,
    delimiter,
    rows: readRows(),
    // The error columns come first, so that a row's extra cells stay after the last column.
    formatRejected({ original }: Row, { field, reason, message }: RowProblem): string {
      const cells = typeof original === 'string' ? [original] : original;
      const rows = [[field, reason, message, ...cells.filter(isOriginal)]];
      if (isHeaderWritten) return stringify(rows, { delimiter });
      isHeaderWritten = true;
      rows.unshift([...errorColumns, ...header.filter(isOriginal)]);
      return separatorLine(delimiter) + stringify(rows, { delimiter });
    },
  };
}

/** Throws a UsageError if columns are missing, ambiguous or unknown. */
function checkColumns(columns: readonly Column[], delimiter: string, options: CsvOptions): void {
  const names = columns.map(({ name }) => name);
  const other = Object.keys(delimiterNames).find((each) => each !== delimiter && names[0]?.includes(each));
  if (names.length === 1 && other !== undefined) {
    throw new UsageError(`The header has one column. Is --delimiter ${other === '\t' ? 'tab' : `'${other}'`} missing?`);
  }
  for (const [name, field] of options.column ?? []) {
    if (findColumns(names, name).length === 0) {
      throw new UsageError(`There is no column ${JSON.stringify(name)}, which --column maps to ${field}.`);
    }
  }
  const duplicate = findDuplicate(columns);
  if (duplicate !== undefined) throw duplicateColumns(columns, duplicate);
  const missing = missingFields(columns);
  if (missing.length > 0) throw missingColumns(columns, missing);
  if (!options.ignoreUnknownColumns && columns.some(isUnknown)) throw unknownColumns(columns);
}
