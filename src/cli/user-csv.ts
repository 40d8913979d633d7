/**
 * Users as CSV (RFC 4180, with a header): what export writes and import reads back to the same bytes.
 *
 * Cells are never changed for a spreadsheet's sake, not even those that it would take for a formula: an export that is
 * imported must make the same users.
 */
import { pipeline, Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { stringify } from 'csv-stringify/sync';
import type { User } from '../client/index.js';
import { unknownColumns } from './column-option.js';
import { UsageError } from './failure.js';
import {
  type ColumnOptions,
  draftOf,
  errorColumns,
  exportCells,
  exportColumns,
  type Row,
  type RowProblem,
  type Target,
  targetOf,
} from './user-columns.js';
import { UnreadableFile, type UserFile } from './user-file.js';

// A user's longest fields are 20 KB and a quote that is never closed takes the rest of the file: this ends it early.
const recordBytesMax = 1_048_576;

export const csvHeader = `${exportColumns.join(',')}\n`;

/** Whole lines. */
export function formatCsvUsers(users: readonly User[]): string {
  return stringify(users.map(exportCells));
}

/** A header that does not fit is a UsageError, broken quotes an UnreadableFile: nobody could say where the next row begins. */
export function readCsvUsers(text: AsyncIterable<string>, options: ColumnOptions & { delimiter?: string }): UserFile {
  const { delimiter = ',' } = options;
  let header: string[] = [];
  let isHeaderWritten = false;

  async function* readRows(): AsyncGenerator<Row> {
    let targets: Target[] | undefined;
    for await (const { cells, line } of readRecords(text, delimiter)) {
      if (targets === undefined) {
        header = cells.map((cell) => cell.trim());
        targets = targetsOf(header, delimiter, options);
      } else {
        yield { line, original: cells, ...draftOf(cells, targets) };
      }
    }
    if (targets === undefined) throw new UsageError('There is no header: the first line must name the columns.');
  }

  const isOriginal = (_: string, index: number) => !(errorColumns as readonly string[]).includes(header[index] ?? '');
  return {
    rows: readRows(),
    // What is wrong comes first, so that cells which no column has a name for are still behind the last.
    formatRejected({ original }: Row, { field, reason, message }: RowProblem): string {
      const cells = typeof original === 'string' ? [original] : original;
      const records = [[field, reason, message, ...cells.filter(isOriginal)]];
      if (!isHeaderWritten) records.unshift([...errorColumns, ...header.filter(isOriginal)]);
      isHeaderWritten = true;
      return stringify(records, { delimiter });
    },
  };
}

function targetsOf(header: readonly string[], delimiter: string, options: ColumnOptions): Target[] {
  const other = [',', ';', '\t'].find((character) => character !== delimiter && header[0]?.includes(character));
  if (header.length === 1 && other !== undefined) {
    throw new UsageError(`The header is one column. Is --delimiter ${other === '\t' ? 'tab' : `'${other}'`} missing?`);
  }
  const targets = header.map((name) => targetOf(name, options));
  const unknown = header.filter((_, index) => targets[index] === undefined);
  if (unknown.length > 0 && !options.ignoreUnknownColumns) throw unknownColumns(unknown);
  for (const [name, field] of options.column ?? []) {
    if (!header.includes(name)) {
      throw new UsageError(`There is no column ${JSON.stringify(name)}, which was to be ${field}.`);
    }
  }
  const taken = targets.filter((target) => target !== undefined && target !== 'ignored').map((t) => JSON.stringify(t));
  if (new Set(taken).size < taken.length) throw new UsageError('The header names a column twice.');
  for (const [field, name] of [
    ['firstName', 'first_name'],
    ['email', 'email'],
  ]) {
    if (!taken.includes(JSON.stringify({ field })))
      throw new UsageError(`No column is ${name}, which every user needs.`);
  }
  return targets;
}

const quoteProblems: Record<string, string> = {
  CSV_INVALID_CLOSING_QUOTE: 'something follows a closing quote; a quote within a quoted cell is written twice',
  INVALID_OPENING_QUOTE:
    'a quote within a cell that does not begin with one; quote the cell, and write the quote twice',
  CSV_QUOTE_NOT_CLOSED: 'a quote is opened and never closed',
  CSV_MAX_RECORD_SIZE: 'a row is longer than 1 MiB; is a quote never closed?',
};

async function* readRecords(
  text: AsyncIterable<string>,
  delimiter: string,
): AsyncGenerator<{ cells: string[]; line: number }> {
  // The last line of the last record. The parser counts a line break of two characters within quotes as two lines.
  let end = 0;
  let overcounted = 0;
  // Where the records begin that the parser has made and nobody has taken yet.
  const begins: number[] = [];
  function place(cells: string[], lines: number): void {
    let breaks = 0;
    for (const cell of cells) {
      if (!/[\r\n]/.test(cell)) continue;
      overcounted += cell.split('\r\n').length - 1;
      breaks += cell.split(/\r\n|[\r\n]/).length - 1;
    }
    end = lines - overcounted;
    begins.push(end - breaks);
  }

  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: recordBytesMax,
    // When it is made and not when it is taken: an error drops those in between.
    on_record: (cells, { lines }) => {
      place(cells, lines);
      return cells;
    },
  });
  // What goes wrong in the source destroys the parser, which throws it below.
  pipeline(Readable.from(text), parser, () => {});
  try {
    for await (const cells of parser as AsyncIterable<string[]>) yield { cells, line: begins.shift() ?? 0 };
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new UnreadableFile(quoteProblems[error.code] ?? 'it is no CSV', end + 1);
  }
}
