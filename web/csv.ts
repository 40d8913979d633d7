/**
 * CSV as `roster import` and `roster export` have it, for files that are never held as a whole: the same columns, the same
 * rows refused, and written to the same bytes.
 *
 * A parser of its own, because papaparse decodes each slice of a file by itself, which breaks a letter that lies across
 * two of them, and takes one kind of line break for a whole file. What a field may hold is the server's to say.
 */
import type { User } from '../generated/users/v1/user.js';
import {
  draftOf,
  errorColumns,
  exportCells,
  exportColumns,
  type Row,
  type RowProblem,
  type Target,
  targetOf,
  writableFields,
} from '../src/cli/user-columns.js';

/** The file makes no sense, from `line` on where there is one: nobody could say where the next row begins. */
export class UnreadableCsv extends Error {
  override readonly name = 'UnreadableCsv';
  readonly line: number | undefined;
  constructor(problem: string, line?: number) {
    super(
      line === undefined
        ? `The file cannot be read: ${problem}.`
        : `From line ${line} on it cannot be read: ${problem}.`,
    );
    this.line = line;
  }
}

// As roster import: a user's longest fields are 20 KB, and a quote that is never closed takes the rest of the file.
const recordLengthMax = 1_048_576;

/** The file's text as it is read. `onBytes` is told how far that is. Throws UnreadableCsv for what is not UTF-8. */
export async function* readText(file: Blob, onBytes: (bytes: number) => void = () => {}): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = file.stream().getReader();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      // Not ignoring what is wrong: a letter would become a question mark.
      const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
      yield text;
      if (done) return;
      bytes += value.length;
      onBytes(bytes);
    }
  } catch (error) {
    if (error instanceof TypeError) throw new UnreadableCsv(`behind byte ${bytes} it is not UTF-8`);
    throw error;
  } finally {
    // Of a file that nobody reads to its end.
    reader.cancel().catch(() => {});
  }
}

export interface CsvRecord {
  readonly cells: string[];
  /** Where it begins in the file, counted from 1. */
  readonly line: number;
}

/** All records that are whole, each time some are; empty lines are none. Throws UnreadableCsv for broken quotes. */
export async function* readRecords(text: AsyncIterable<string>, delimiter = ','): AsyncGenerator<CsvRecord[]> {
  let rest = '';
  let line = 1;
  const special = new RegExp(`[\\r\\n"${delimiter === '\\' ? '\\\\' : delimiter}]`, 'g');

  /** One record from `from` on and where the next one begins; undefined where its end has not come yet. */
  function readRecord(from: number, isLast: boolean): { cells: string[]; next: number } | undefined {
    const cells: string[] = [];
    for (let at = from; ; at++) {
      let cell: string;
      if (rest[at] === '"') {
        let close = rest.indexOf('"', at + 1);
        while (close !== -1 && rest[close + 1] === '"') close = rest.indexOf('"', close + 2);
        if (close === -1 || (close + 1 === rest.length && !isLast)) {
          if (isLast) throw new UnreadableCsv('a quote is opened and never closed', line);
          return undefined;
        }
        cell = rest.slice(at + 1, close).replaceAll('""', '"');
        at = close + 1;
      } else {
        special.lastIndex = at;
        const end = special.exec(rest)?.index ?? rest.length;
        if (end === rest.length && !isLast) return undefined;
        if (rest[end] === '"') {
          throw new UnreadableCsv(
            'a quote within a cell that does not begin with one; quote the cell, and write the quote twice',
            line,
          );
        }
        cell = rest.slice(at, end);
        at = end;
      }
      cells.push(cell);
      const next = rest[at];
      if (next === delimiter) continue;
      if (next === '\r' && at + 1 === rest.length && !isLast) return undefined;
      if (next === undefined || next === '\n') return { cells, next: at + 1 };
      if (next === '\r') return { cells, next: rest[at + 1] === '\n' ? at + 2 : at + 1 };
      throw new UnreadableCsv('something follows a closing quote; a quote within a quoted cell is written twice', line);
    }
  }

  function take(isLast: boolean): CsvRecord[] {
    const records: CsvRecord[] = [];
    let from = 0;
    while (from < rest.length) {
      const record = readRecord(from, isLast);
      if (record === undefined) break;
      const { cells, next } = record;
      if (!/[\r\n]/.test(rest[from] ?? '')) records.push({ cells, line });
      line += 1;
      for (const cell of cells) if (/[\r\n]/.test(cell)) line += cell.split(/\r\n|[\r\n]/).length - 1;
      from = next;
    }
    rest = rest.slice(from);
    if (rest.length > recordLengthMax)
      throw new UnreadableCsv('a row is longer than 1 MiB; is a quote never closed?', line);
    return records;
  }

  for await (const piece of text) {
    rest += piece;
    const records = take(false);
    if (records.length > 0) yield records;
  }
  const records = take(true);
  if (records.length > 0) yield records;
}

/** What spreadsheets put between cells: what the header has most of, outside of quotes. */
export function guessDelimiter(text: string): string {
  const [header = ''] = text.replaceAll(/"(?:[^"]|"")*"/g, '').split(/[\r\n]/, 1);
  const counts = [',', ';', '\t'].map((delimiter) => header.split(delimiter).length);
  return [',', ';', '\t'][counts.indexOf(Math.max(...counts))] ?? ',';
}

/** What one may choose for a column, but for attributes.KEY. */
export const fieldNames: readonly string[] = Object.keys(writableFields);

export interface Column {
  readonly name: string;
  /** In snake_case, as attributes.KEY too; empty where it is left out. */
  readonly field: string;
  /** Whether only the directory writes it, as in the file of an export. */
  readonly isIgnored: boolean;
}

/** What the header's names stand for by themselves. */
export function columnsOf(header: readonly string[]): Column[] {
  return header.map((cell) => {
    const name = cell.trim();
    const target = targetOf(name, {});
    return { name, field: fieldOf(target), isIgnored: target === 'ignored' };
  });
}

function fieldOf(target: Target): string {
  if (target === undefined || target === 'ignored') return '';
  if ('attribute' in target) return `attributes.${target.attribute}`;
  return fieldNames.find((name) => writableFields[name as keyof typeof writableFields] === target.field) ?? '';
}

/** Why no user could be made of a file with these columns; undefined where one could. */
export function refuseColumns(columns: readonly Column[]): string | undefined {
  const fields = columns.map(({ field }) => field).filter((field) => field !== '');
  const twice = fields.find((field, index) => fields.indexOf(field) !== index);
  if (twice !== undefined) return `Two columns are ${twice}. Leave one of them out.`;
  const missing = ['first_name', 'email'].filter((field) => !fields.includes(field));
  return missing.length > 0 ? `Choose a column for ${missing.join(' and for ')}: every user needs it.` : undefined;
}

/** The user that a row's cells make. */
export function rowsOf(records: readonly CsvRecord[], columns: readonly Column[]): Row[] {
  const targets = columns.map(({ field }) => (field === '' ? 'ignored' : targetOf(field, {})));
  return records.map(({ cells, line }) => ({ line, original: cells, ...draftOf(cells, targets) }));
}

/** Lines of rejected rows with what is wrong in front, to be corrected and imported again; the first one is the header. */
export function createRejectedCsv(header: readonly string[], delimiter: string) {
  const isOriginal = (_: string, index: number) => !(errorColumns as readonly string[]).includes(header[index] ?? '');
  return {
    header: formatLine([...errorColumns, ...header.filter(isOriginal)], delimiter),
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
