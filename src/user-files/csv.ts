/**
 * Reads CSV as a stream: finds the delimiter at the start of a file, and splits the text into records.
 *
 * The web page imports this file with csv-parse's build for browsers (web/vite.config.ts), so it must not import Node
 * modules.
 */
import { CsvError, parse } from 'csv-parse';
import { isBlank } from './columns.js';
import { UnreadableFile, WrongEncoding } from './file-text.js';

/** The fields of a user have at most about 20 KB. This limit stops the parser early if a quote is never closed. */
const recordLengthMax = 1_048_576;

const problemsByCode: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: 'a quote is opened and never closed',
  CSV_MAX_RECORD_SIZE: 'a row is longer than 1 MiB, perhaps because a quote is never closed',
};

const invalidClosingQuote = 'text follows a closing quote; write a quote within a quoted cell twice';

export interface CsvRecord {
  readonly cells: string[];
  /** The line where the record begins, counted from 1. */
  readonly line: number;
}

export const delimiterNames: Readonly<Record<string, string>> = {
  ',': 'commas',
  ';': 'semicolons',
  '\t': 'tabs',
  '|': 'vertical bars',
};

export interface CsvText {
  readonly delimiter: string;
  /** Does not include a first line such as `sep=;`. */
  readonly text: AsyncIterable<string>;
  /** The line of the file where the text begins. */
  readonly line: number;
}

/** Reads up to the header. The delimiter is `requested`, or from a `sep=` line, or the header's most common one. */
export async function openCsv(source: AsyncIterable<string>, requested?: string): Promise<CsvText> {
  const chunks = source[Symbol.asyncIterator]();
  let head = '';
  let isEnd = false;
  while (!isEnd && !hasWholeHeader(head, requested) && head.length <= recordLengthMax) {
    const { done, value } = await chunks.next();
    if (done) isEnd = true;
    else head += value;
  }
  if (head.slice(0, 2).includes('\0')) {
    const suggestion = head.startsWith('\0') ? 'utf-16be' : 'utf-16le';
    throw new WrongEncoding('it seems to be UTF-16 without a byte order mark', 1, suggestion);
  }
  const [firstLine, separator] = separatorLineOf(head);
  const start = head.slice(firstLine.length);

  async function* rest(): AsyncGenerator<string> {
    yield start;
    yield* { [Symbol.asyncIterator]: () => chunks };
  }
  return {
    delimiter: requested ?? separator ?? guessDelimiter(start),
    text: rest(),
    line: firstLine === '' ? 1 : 2,
  };
}

/** Excel reads the delimiter from a first line `sep=;` and does not show that line. */
function separatorLineOf(head: string): [line: string, separator: string | undefined] {
  const [line = '', separator] = /^"?sep=([^\r\n"])"?(?:\r\n|\n|\r)/i.exec(head) ?? [];
  return [line, separator];
}

/** The `sep=` line for a delimiter that guessDelimiter does not know, otherwise an empty text. */
export function separatorLine(delimiter: string): string {
  return Object.hasOwn(delimiterNames, delimiter) ? '' : `sep=${delimiter}\n`;
}

/** Any of these characters may be before a quoted cell, and so may the start of the text. */
function beforeCell(delimiters: string): string {
  return `(?:^|[\\r\\n${delimiters.replaceAll(/[\]\\^-]/g, '\\$&')}])`;
}

/** Splits a text into lines. Each quoted cell becomes a letter, so that its delimiters and breaks do not count. */
function linesWithoutQuoted(text: string, delimiters: string): string[] {
  return text
    .slice(0, recordLengthMax)
    .replaceAll(new RegExp(`(?<=${beforeCell(delimiters)})"(?:[^"]|"")*"`, 'g'), 'x')
    .split(/[\r\n]/);
}

const candidates = Object.keys(delimiterNames);

const isHeader = (line: string) => /[\p{L}\p{N}]/u.test(line);

function hasWholeHeader(head: string, requested = ''): boolean {
  const [firstLine, separator = ''] = separatorLineOf(head);
  const delimiters = candidates.join('') + requested + separator;
  const lines = linesWithoutQuoted(head.slice(firstLine.length), delimiters);
  const header = lines.slice(0, -1).find(isHeader);
  // A remaining quote at the start of a cell has not been closed yet.
  return header !== undefined && !new RegExp(`${beforeCell(delimiters)}"`).test(header);
}

/** Returns the delimiter that occurs most often in the header. */
function guessDelimiter(text: string): string {
  const header = linesWithoutQuoted(text, candidates.join('')).find(isHeader) ?? '';
  const counts = candidates.map((delimiter) => header.split(delimiter).length);
  return candidates[counts.indexOf(Math.max(...counts))] ?? ',';
}

/** Whether text follows the closing quote of a cell. `raw` is a whole record. */
function hasTextAfterQuote(raw: string, delimiter: string): boolean {
  const quoted = /"(?:[^"]|"")*"/y;
  for (let at = 0; at >= 0; ) {
    if (raw[at] === '"') {
      quoted.lastIndex = at;
      at += quoted.exec(raw)?.[0].length ?? 1;
      const isEnd = at === raw.length || /[\r\n]/.test(raw.charAt(at)) || raw.startsWith(delimiter, at);
      if (!isEnd) return true;
    }
    const end = raw.indexOf(delimiter, at);
    at = end < 0 ? -1 : end + delimiter.length;
  }
  return false;
}

/**
 * Yields the records that are not blank, in groups. A quote within a cell that does not begin with one is a character like any
 * other. If the quotes of a record are invalid, yields the earlier records and then throws UnreadableFile.
 */
export async function* readRecords({ text, delimiter, line: firstLine }: CsvText): AsyncGenerator<CsvRecord[]> {
  const records: CsvRecord[] = [];
  let line = firstLine;
  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    max_record_size: recordLengthMax,
    // The parser then also accepts text after a closing quote, which could be two cells without a delimiter between them.
    relax_quotes: true,
    raw: true,
    // Take the records here, because the parser discards its output after an error.
    on_record: (given: unknown) => {
      const { record: cells, raw } = given as { record: string[]; raw: string };
      const isSuspect = cells.some((cell) => cell.startsWith('"'));
      if (isSuspect && hasTextAfterQuote(raw, delimiter)) throw new UnreadableFile(invalidClosingQuote, line);
      if (!isBlank(cells)) records.push({ cells, line });
      line += 1;
      for (const cell of cells) if (/[\r\n]/.test(cell)) line += cell.split(/\r\n|[\r\n]/).length - 1;
      return null;
    },
  });
  // csv-parse's build for browsers reports some errors only in this event, and others only to the callbacks.
  let failure: unknown;
  parser.on('error', (error) => {
    failure ??= error;
  });
  const waitForCallback = (start: (end: (error?: Error | null) => void) => void) =>
    new Promise<void>((resolve) => {
      start((error) => {
        failure ??= error ?? undefined;
        resolve();
      });
    });
  for await (const chunk of text) {
    await waitForCallback((end) => parser.write(chunk, end));
    if (records.length > 0) yield records.splice(0);
    if (failure !== undefined) break;
  }
  if (failure === undefined) await waitForCallback((end) => parser.end(end));
  if (records.length > 0) yield records;
  if (failure instanceof CsvError) throw new UnreadableFile(problemsByCode[failure.code] ?? 'it is not CSV', line);
  if (failure !== undefined) throw failure;
}
