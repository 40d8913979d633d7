/**
 * Reads and writes CSV exactly like `roster import` and `roster export`, as a stream. The server validates the fields.
 *
 * Why it does not use a library: docs/decisions/0026-the-page-has-its-own-csv-parser.md
 */
import type { User } from '../generated/users/v1/user.js';
import {
  draftOf,
  errorColumns,
  exportCells,
  exportColumns,
  type Row,
  type RowProblem,
} from '../src/user-files/columns.js';
import {
  type CsvRecord,
  type CsvText,
  csvProblems,
  isBlank,
  recordLengthMax,
  separatorLine,
} from '../src/user-files/csv-rules.js';
import { type DecodedText, decodeText, UnreadableFile } from '../src/user-files/file-text.js';
import { type Column, findDuplicate, missingFields, targetsOf } from '../src/user-files/header.js';

/** Reads a file as text and reports the progress to `onBytes`. `encoding` is for a file without a byte order mark. */
export function readText(
  file: Blob,
  { encoding, onBytes = () => {} }: { encoding?: string | undefined; onBytes?(bytes: number): void } = {},
): DecodedText {
  async function* read(): AsyncGenerator<Uint8Array> {
    const reader = file.stream().getReader();
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
        bytes += value.length;
        onBytes(bytes);
      }
    } finally {
      // The consumer may stop before the end of the file.
      reader.cancel().catch(() => {});
    }
  }
  return decodeText(read(), encoding);
}

/**
 * Yields the records that are not blank, in groups. Throws UnreadableFile for broken quotes, after the records before
 * them.
 */
export async function* readRecords({ text, delimiter, line: firstLine }: CsvText): AsyncGenerator<CsvRecord[]> {
  let rest = '';
  let line = firstLine;
  const special = new RegExp(`[\\r\\n"${/[\\\]^-]/.test(delimiter) ? `\\${delimiter}` : delimiter}]`, 'g');

  /** Reads the record at `from`, and where the next one begins. Returns undefined if its end has not been read yet. */
  function readRecord(from: number, isLast: boolean): { cells: string[]; next: number } | undefined {
    const cells: string[] = [];
    for (let at = from; ; at++) {
      let cell: string;
      if (rest[at] === '"') {
        let close = rest.indexOf('"', at + 1);
        while (close !== -1 && rest[close + 1] === '"') close = rest.indexOf('"', close + 2);
        if (close === -1 || (close + 1 === rest.length && !isLast)) {
          if (isLast) throw new UnreadableFile(csvProblems.notClosed, line);
          return undefined;
        }
        cell = rest.slice(at + 1, close).replaceAll('""', '"');
        at = close + 1;
      } else {
        special.lastIndex = at;
        const end = special.exec(rest)?.index ?? rest.length;
        if (end === rest.length && !isLast) return undefined;
        if (rest[end] === '"') throw new UnreadableFile(csvProblems.openingQuote, line);
        cell = rest.slice(at, end);
        at = end;
      }
      cells.push(cell);
      const next = rest[at];
      if (next === delimiter) continue;
      if (next === '\r' && at + 1 === rest.length && !isLast) return undefined;
      if (next === undefined || next === '\n') return { cells, next: at + 1 };
      if (next === '\r') return { cells, next: rest[at + 1] === '\n' ? at + 2 : at + 1 };
      throw new UnreadableFile(csvProblems.closingQuote, line);
    }
  }

  /** Removes the complete records from `rest`, and returns the problem if the next record is invalid. */
  function take(isLast: boolean): { records: CsvRecord[]; problem?: UnreadableFile } {
    const records: CsvRecord[] = [];
    let from = 0;
    try {
      while (from < rest.length) {
        const record = readRecord(from, isLast);
        const length = (record?.next ?? rest.length) - from;
        if (length > recordLengthMax) throw new UnreadableFile(csvProblems.tooLong, line);
        if (record === undefined) break;
        const { cells, next } = record;
        if (!isBlank(cells)) records.push({ cells, line });
        line += 1;
        for (const cell of cells) if (/[\r\n]/.test(cell)) line += cell.split(/\r\n|[\r\n]/).length - 1;
        from = next;
      }
    } catch (problem) {
      if (!(problem instanceof UnreadableFile)) throw problem;
      return { records, problem };
    }
    rest = rest.slice(from);
    return { records };
  }

  for await (const piece of text) {
    rest += piece;
    const { records, problem } = take(false);
    if (records.length > 0) yield records;
    if (problem !== undefined) throw problem;
  }
  const { records, problem } = take(true);
  if (records.length > 0) yield records;
  if (problem !== undefined) throw problem;
}

/** Says why a file with these columns cannot be imported. Returns undefined if it can. */
export function refuseColumns(columns: readonly Column[]): string | undefined {
  const duplicate = findDuplicate(columns);
  if (duplicate !== undefined) {
    const names = duplicate.indexes.map((index) => `“${columns[index]?.name}” (column ${index + 1})`);
    return `${names.length === 2 ? 'Two' : names.length} columns are ${duplicate.field}: ${names.join(' and ')}. Ignore all but one of them.`;
  }
  const missing = missingFields(columns);
  return missing.length > 0 ? `Choose a column for ${missing.join(' and for ')}: it is required.` : undefined;
}

/** Converts each record to a user. */
export function fileRowsOf(records: readonly CsvRecord[], columns: readonly Column[]): Row[] {
  const targets = targetsOf(columns);
  return records.map(({ cells, line }) => ({ line, original: cells, ...draftOf(cells, targets) }));
}

/** Formats rejected rows, with the problem in the first columns, so that they can be corrected and imported again. */
export function createRejectedCsv(header: readonly string[], delimiter: string) {
  const isOriginal = (_: string, index: number) => !(errorColumns as readonly string[]).includes(header[index] ?? '');
  return {
    header: separatorLine(delimiter) + formatLine([...errorColumns, ...header.filter(isOriginal)], delimiter),
    format: (cells: readonly string[], { field, reason, message }: RowProblem) =>
      formatLine([field, reason, message, ...cells.filter(isOriginal)], delimiter),
  };
}

export const csvHeader = formatLine(exportColumns);

/** As in the CLI, no cell is escaped for spreadsheets, because an import must create the same users. */
export function formatCsvUsers(users: readonly User[]): string {
  return users.map((user) => formatLine(exportCells(user))).join('');
}

function formatLine(cells: readonly string[], delimiter = ','): string {
  const line = cells.map((cell) =>
    /["\r\n]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell,
  );
  return `${line.join(delimiter)}\n`;
}
