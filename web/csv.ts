/**
 * CSV as `roster import` and `roster export` have it, for files that are never held as a whole: the same columns, the same
 * rows refused, and written to the same bytes.
 *
 * A parser of its own, because papaparse decodes each slice of a file by itself, which breaks a letter that lies across
 * two of them, and takes one kind of line break for a whole file. What a field may hold is the server's to say.
 */
import type { User } from '../generated/users/v1/user.js';
import {
  type CsvRecord,
  type CsvText,
  csvProblems,
  isBlank,
  recordLengthMax,
  separatorLine,
} from '../src/cli/csv-rules.js';
import { type DecodedText, decodeText, UnreadableFile } from '../src/cli/file-text.js';
import {
  draftOf,
  errorColumns,
  exportCells,
  exportColumns,
  type Row,
  type RowProblem,
  writableFields,
} from '../src/cli/user-columns.js';
import { type Column, findDuplicate, missingFields, targetsOf } from '../src/cli/user-header.js';

/** The file's text as it is read. `onBytes` is told how far that is. `encoding` is for a file without a byte order mark. */
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
      // Of a file that nobody reads to its end.
      reader.cancel().catch(() => {});
    }
  }
  return decodeText(read(), encoding);
}

/** All whole records but blank ones, each time some are there. Throws UnreadableFile for broken quotes, after the records before them. */
export async function* readRecords({ text, delimiter, line: firstLine }: CsvText): AsyncGenerator<CsvRecord[]> {
  let rest = '';
  let line = firstLine;
  const special = new RegExp(`[\\r\\n"${/[\\\]^-]/.test(delimiter) ? `\\${delimiter}` : delimiter}]`, 'g');

  /** One record from `from` on and where the next one begins; undefined where its end has not come yet. */
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

  /** Takes the records that are whole out of `rest`, and says what keeps the next one from being read. */
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

/** What one may choose for a column, but for attributes.KEY. */
export const fieldNames: readonly string[] = Object.keys(writableFields);

/** Why no user could be made of a file with these columns; undefined if one could. */
export function refuseColumns(columns: readonly Column[]): string | undefined {
  const duplicate = findDuplicate(columns);
  if (duplicate !== undefined) {
    const names = duplicate.indexes.map((index) => `“${columns[index]?.name}” (column ${index + 1})`);
    return `${names.length === 2 ? 'Two' : names.length} columns are ${duplicate.field}: ${names.join(' and ')}. Leave all but one of them out.`;
  }
  const missing = missingFields(columns);
  return missing.length > 0 ? `Choose a column for ${missing.join(' and for ')}: every user needs it.` : undefined;
}

/** The user that a row's cells make. */
export function rowsOf(records: readonly CsvRecord[], columns: readonly Column[]): Row[] {
  const targets = targetsOf(columns);
  return records.map(({ cells, line }) => ({ line, original: cells, ...draftOf(cells, targets) }));
}

/** Lines of rejected rows with what is wrong in front, to be corrected and imported again; the first one is the header. */
export function createRejectedCsv(header: readonly string[], delimiter: string) {
  const isOriginal = (_: string, index: number) => !(errorColumns as readonly string[]).includes(header[index] ?? '');
  return {
    header: separatorLine(delimiter) + formatLine([...errorColumns, ...header.filter(isOriginal)], delimiter),
    format: (cells: readonly string[], { field, reason, message }: RowProblem) =>
      formatLine([field, reason, message, ...cells.filter(isOriginal)], delimiter),
  };
}

export const csvHeader = formatLine(exportColumns);

/** Whole lines. As in the CLI's, no cell is changed for a spreadsheet's sake: an import must make the same users of it. */
export function formatCsvUsers(users: readonly User[]): string {
  return users.map((user) => formatLine(exportCells(user))).join('');
}

function formatLine(cells: readonly string[], delimiter = ','): string {
  const line = cells.map((cell) =>
    /["\r\n]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell,
  );
  return `${line.join(delimiter)}\n`;
}
