/**
 * Rules for the CSV parsers of the command line and the web page: the start of a file, blank rows, the longest row and
 * the texts about broken quotes.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { WrongEncoding } from './file-text.js';

/** A user's longest fields take 20 KB. This limit stops the parser early if a quote is never closed. */
export const recordLengthMax = 1_048_576;

export const csvProblems = {
  openingQuote: 'an unquoted cell contains a quote; quote the whole cell, and write the quote twice',
  closingQuote: 'text follows a closing quote; write a quote within a quoted cell twice',
  notClosed: 'a quote is opened and never closed',
  tooLong: 'a row is longer than 1 MiB, perhaps because a quote is never closed',
} as const;

export interface CsvRecord {
  readonly cells: string[];
  /** The line where the record begins, counted from 1. */
  readonly line: number;
}

/** Spreadsheets write rows of empty cells after the last used row. */
export function isBlank(cells: readonly string[]): boolean {
  return cells.every((cell) => cell.trim() === '');
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

/** Reads up to the header to find the delimiter: `asked`, the one of a `sep=` line, or the header's most common one. */
export async function openCsv(source: AsyncIterable<string>, asked?: string): Promise<CsvText> {
  const pieces = source[Symbol.asyncIterator]();
  let head = '';
  let isWhole = false;
  while (!isWhole && !hasWholeHeader(head) && head.length <= recordLengthMax) {
    const { done, value } = await pieces.next();
    if (done) isWhole = true;
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
    yield* { [Symbol.asyncIterator]: () => pieces };
  }
  return {
    delimiter: asked ?? separator ?? guessDelimiter(start),
    text: rest(),
    line: firstLine === '' ? 1 : 2,
  };
}

/** Excel reads the delimiter from a first line `sep=;` and does not show that line. */
function separatorLineOf(head: string): [line: string, separator: string | undefined] {
  const [line = '', separator] = /^"?sep=([^\r\n"])"?(?:\r\n|\n|\r)/i.exec(head) ?? [];
  return [line, separator];
}

/** The `sep=` line for a delimiter that a reader cannot find in the header, else empty. */
export function separatorLine(delimiter: string): string {
  return Object.hasOwn(delimiterNames, delimiter) ? '' : `sep=${delimiter}\n`;
}

/** Splits a text into lines. Replaces each quoted cell by a letter, so that its delimiters and breaks do not count. */
function linesWithoutQuoted(text: string): string[] {
  return text
    .slice(0, recordLengthMax)
    .replaceAll(/"(?:[^"]|"")*"/g, 'x')
    .split(/[\r\n]/);
}

const isHeader = (line: string) => /[\p{L}\p{N}]/u.test(line);

function hasWholeHeader(head: string): boolean {
  const [firstLine] = separatorLineOf(head);
  const lines = linesWithoutQuoted(head.slice(firstLine.length));
  const header = lines.slice(0, -1).find(isHeader);
  // A remaining quote has not been closed yet.
  return header !== undefined && !header.includes('"');
}

/** Returns the delimiter that occurs most often in the header. */
function guessDelimiter(text: string): string {
  const header = linesWithoutQuoted(text).find(isHeader) ?? '';
  const candidates = Object.keys(delimiterNames);
  const counts = candidates.map((delimiter) => header.split(delimiter).length);
  return candidates[counts.indexOf(Math.max(...counts))] ?? ',';
}
