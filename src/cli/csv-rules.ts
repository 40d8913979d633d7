/**
 * What the two parsers of CSV have in common, the command line's and the page's: how a file begins, which rows are blank,
 * how long a row may be, and what is said of broken quotes.
 *
 * The web page imports this too: nothing of Node may be imported here.
 */
import { WrongEncoding } from './file-text.js';

/** A user's longest fields are 20 KB. A quote that is never closed takes the rest of the file, and this ends it early. */
export const recordLengthMax = 1_048_576;

export const csvProblems = {
  openingQuote: 'a quote within a cell that does not begin with one; quote the cell, and write the quote twice',
  closingQuote: 'something follows a closing quote; a quote within a quoted cell is written twice',
  notClosed: 'a quote is opened and never closed',
  tooLong: 'a row is longer than 1 MiB, perhaps because a quote is never closed',
} as const;

export interface CsvRecord {
  readonly cells: string[];
  /** The line where the record begins, counted from 1. */
  readonly line: number;
}

/** Spreadsheets write rows of empty cells below the last row that was ever used. */
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
  /** Without a line such as `sep=;`. */
  readonly text: AsyncIterable<string>;
  /** The line of the file that the text begins with. */
  readonly line: number;
}

/** Reads as far as the header to find what is between the cells: `asked`, or what `sep=` names, or what the header shows. */
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

/** Excel takes a first line `sep=;` for the delimiter and shows it nowhere. */
function separatorLineOf(head: string): [line: string, separator: string | undefined] {
  const [line = '', separator] = /^"?sep=([^\r\n"])"?(?:\r\n|\n|\r)/i.exec(head) ?? [];
  return [line, separator];
}

/** Begins a file whose header does not show what is between its cells; empty if it does. */
export function separatorLine(delimiter: string): string {
  return Object.hasOwn(delimiterNames, delimiter) ? '' : `sep=${delimiter}\n`;
}

/** The lines of a text in which each quoted cell is a single letter, so that nothing quoted counts as a delimiter or a break. */
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
  // A quote that is left is one whose end has not come yet.
  return header !== undefined && !header.includes('"');
}

/** What the header has most of between its cells. */
function guessDelimiter(text: string): string {
  const header = linesWithoutQuoted(text).find(isHeader) ?? '';
  const candidates = Object.keys(delimiterNames);
  const counts = candidates.map((delimiter) => header.split(delimiter).length);
  return candidates[counts.indexOf(Math.max(...counts))] ?? ',';
}
