/**
 * Reads and writes users as CSV (RFC 4180, with a header).
 *
 * An imported export must create the same users, byte for byte. Therefore cells are never changed for spreadsheets,
 * even if they look like formulas.
 */
import { CsvError, parse } from 'csv-parse';
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
import {
  type CsvRecord,
  type CsvText,
  csvProblems,
  delimiterNames,
  isBlank,
  openCsv,
  recordLengthMax,
  separatorLine,
} from '../user-files/csv-rules.js';
import { UnreadableFile } from '../user-files/file-text.js';
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

/** Returns whole lines. */
export function formatCsvUsers(users: readonly User[]): string {
  return stringify(users.map(exportCells));
}

export type CsvOptions = ColumnOptions & { delimiter?: string };

/** Throws a UsageError if the header is unusable. Broken quotes throw an UnreadableFile, after all rows before them. */
export async function readCsvUsers(text: AsyncIterable<string>, options: CsvOptions): Promise<UserFile> {
  const csv = await openCsv(text, options.delimiter);
  const { delimiter } = csv;
  const records = readRecords(csv);
  const { value: first } = await records.next();
  if (first === undefined) throw new UsageError('There is no header: the first line must name the columns.');
  const columns = matchHeader(first.cells, options.column);
  const header = columns.map(({ name }) => name);
  requireFit(columns, delimiter, options);
  const targets = targetsOf(columns);
  let isHeaderWritten = false;

  async function* readRows(): AsyncGenerator<Row> {
    for await (const { cells, line } of records) yield { line, original: cells, ...draftOf(cells, targets) };
  }

  const isOriginal = (_: string, index: number) => !(errorColumns as readonly string[]).includes(header[index] ?? '');
  return {
    columns,
    delimiter,
    rows: readRows(),
    // The problem comes first, so that cells without a column stay after the last one.
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

/** Throws a UsageError if the columns are not enough for a user, or if they are ambiguous. */
function requireFit(columns: readonly Column[], delimiter: string, options: CsvOptions): void {
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

const problemsByCode: Record<string, string> = {
  CSV_INVALID_CLOSING_QUOTE: csvProblems.closingQuote,
  INVALID_OPENING_QUOTE: csvProblems.openingQuote,
  CSV_QUOTE_NOT_CLOSED: csvProblems.notClosed,
  CSV_MAX_RECORD_SIZE: csvProblems.tooLong,
};

/** Yields all records except blank ones. Records before a broken quote come before the error. */
async function* readRecords({ text, delimiter, line }: CsvText): AsyncGenerator<CsvRecord> {
  const records: CsvRecord[] = [];
  let nextLine = line;
  // The parser counts \r\n within quotes as two lines.
  let overcounted = 0;
  function keep(cells: string[], lines: number): void {
    let breaks = 0;
    for (const cell of cells) {
      if (!/[\r\n]/.test(cell)) continue;
      overcounted += cell.split('\r\n').length - 1;
      breaks += cell.split(/\r\n|[\r\n]/).length - 1;
    }
    const last = line - 1 + lines - overcounted;
    nextLine = last + 1;
    if (!isBlank(cells)) records.push({ cells, line: last - breaks });
  }

  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    max_record_size: recordLengthMax,
    // Taken here, because an error empties the parser's output.
    on_record: (cells, { lines }) => {
      keep(cells, lines);
      return null;
    },
  });
  // The callbacks of write and end also receive it. Without a listener, it would end the process.
  parser.on('error', () => {});
  try {
    for await (const piece of text) {
      await new Promise<void>((done, fail) => parser.write(piece, (error) => (error ? fail(error) : done())));
      yield* records.splice(0);
    }
    await new Promise<void>((done, fail) => parser.end((error?: Error | null) => (error ? fail(error) : done())));
    yield* records;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    yield* records;
    throw new UnreadableFile(problemsByCode[error.code] ?? 'it is not CSV', nextLine);
  } finally {
    parser.destroy();
  }
}
