/** Reads a file before its import, to show its columns and to find its errors before the page sends anything. */
import { attributeKeyOf, attributePath } from '../../src/fields.js';
import { type CellStyle, createCellStyle, unknownStyle } from '../../src/user-files/cell-style.js';
import { withoutApostrophe } from '../../src/user-files/columns.js';
import { openCsv, readRecords } from '../../src/user-files/csv.js';
import { UnreadableFile, WrongEncoding } from '../../src/user-files/file-text.js';
import { fullNameColumn, splitFullName } from '../../src/user-files/full-name.js';
import { type Column, looksLikeEmail, matchHeader, unnamedColumns } from '../../src/user-files/header.js';
import type { KnownAttributes } from '../attributes/use-attribute-types.js';
import { readText, refuseColumns } from './csv.js';
import { labelOfEncoding } from './encodings.js';
import { type RareAttributes, withField, withKnownKeys, withTypes } from './import-attributes.js';
import type { OnTaken } from './import-messages.js';

// Enough to recognize what a column contains.
const sampleRowsMax = 3;

// They look like email addresses but often receive no mail, as in header.ts.
const loginName = /login|principal/i;
const fullNameHeader = /^(?:full|whole|complete)[\s_-]*name$/i;
const nameHeader = /^(?:employee|person|contact)?[\s_-]*names?$/i;

// Pictures, archives and documents have a byte 0 much earlier.
const binarySampleBytes = 65_536;
// ZIP, of which new workbooks of Excel are made; the format of old ones; gzip, PDF, PNG, JPEG, GIF.
const binaryStarts = ['PK\x03\x04', '\xd0\xcf\x11\xe0', '\x1f\x8b', '%PDF-', '\x89PNG', '\xff\xd8\xff', 'GIF8'];
const excelName = /\.xls[bmx]?$/i;
// A word with a letter that is not ASCII. The lookbehind keeps the time linear in a long word.
const otherWord = /(?<!\p{L})\p{L}*[^\0-\x7f]\p{L}*/u;

export class NotCsv extends Error {
  override readonly name = 'NotCsv';

  constructor({ name }: File) {
    const advice = 'This is an Excel workbook. Save it as CSV (Comma delimited) and choose that file.';
    super(excelName.test(name) ? advice : 'This is not a CSV file.');
  }
}

export interface FilePreview {
  readonly file: File;
  readonly delimiter: string;
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  readonly encodingFound: string;
  /** A word with letters that depend on the encoding, if the encoding is a guess. Otherwise undefined. */
  readonly guessedText: string | undefined;
  /** The user's choice: whether the first line names the columns, or is a user. */
  readonly hasHeader: boolean;
  /** Whether the first line contains an email, so that it probably is a user. */
  readonly hasEmailFirst: boolean;
  readonly columns: readonly Column[];
  readonly samples: readonly (readonly string[])[];
  readonly rows: number;
  /** The attributes of other users, the most frequent first. */
  readonly known: KnownAttributes;
  /** Keys of columns of which no user has a value. */
  readonly newKeys: ReadonlySet<string>;
  /** Why the file cannot be read to its end. */
  readonly fault: UnreadableFile | undefined;
}

export interface PreviewOptions {
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  readonly hasHeader: boolean;
  /** Never rejects. */
  readonly known: Promise<KnownAttributes>;
  /** Looks up the attributes with these keys. Never rejects. */
  readRare(keys: readonly string[]): Promise<RareAttributes>;
  readonly signal: AbortSignal;
}

/**
 * Reads the whole file. Throws UnreadableFile if it has no header, or NotCsv. If the user chose no encoding and the file is
 * not UTF-8, the encoding is a guess: Excel in Western Europe writes windows-1252.
 */
export async function readPreview(
  file: File,
  { encoding, hasHeader, known: reading, readRare, signal }: PreviewOptions,
): Promise<FilePreview> {
  const sample = new Uint8Array(await file.slice(0, binarySampleBytes).arrayBuffer());
  // In an encoding of one byte a letter, every file is text.
  if (binaryStarts.some((start) => startsWith(sample, start))) throw new NotCsv(file);
  let read = await readSamples(file, { encoding: encoding || undefined, hasHeader, signal });
  if (read.encodingFound === 'utf-8' ? isNotUtf8(read.fault) : !read.encodingFound.startsWith('utf-16')) {
    refuseZeros(file, sample);
  }
  // After other letters in UTF-8, the file is damaged.
  const isGuess = encoding === '' && isNotUtf8(read.fault) && read.otherLetters === undefined;
  if (isGuess) read = await readSamples(file, { encoding: 'windows-1252', hasHeader, signal });
  const { firstLine, samples, styles, rows, fault, delimiter, encodingFound } = read;
  if (firstLine === undefined) throw fault ?? new UnreadableFile('it is empty; its first line must name the columns');
  const guessedText = isGuess ? read.otherLetters : undefined;
  const hasEmailFirst = firstLine.some(looksLikeEmail);
  const matched = hasHeader ? withFullName(matchHeader(firstLine), samples) : unnamedColumns(firstLine);
  const sampled = await reading;
  const rare = await readRare(unknownKeys(matched, sampled));
  const [known, newKeys] = [new Map([...sampled, ...rare.known]), rare.newKeys];
  const mapped = withEmail(withKnownKeys(withStyles(matched, styles), known, newKeys), samples);
  const columns = withTypes(mapped, known, newKeys);
  const choices = { encoding, hasHeader, hasEmailFirst };
  return { file, delimiter, ...choices, encodingFound, guessedText, columns, samples, rows, known, newKeys, fault };
}

/** Reads the whole file, or what comes before its fault. */
async function readSamples(
  file: File,
  {
    encoding,
    hasHeader,
    signal,
  }: { readonly encoding: string | undefined; readonly hasHeader: boolean; readonly signal: AbortSignal },
) {
  const decoded = readText(file, { encoding });
  const samples: (readonly string[])[] = [];
  const styles: ReturnType<typeof createCellStyle>[] = [];
  let firstLine: readonly string[] | undefined;
  let delimiter = '';
  let rows = 0;
  let otherLetters: string | undefined;
  let fault: UnreadableFile | undefined;
  async function* watched(): AsyncGenerator<string> {
    for await (const chunk of decoded.text) {
      otherLetters ??= otherWord.exec(chunk)?.[0];
      yield chunk;
    }
  }
  try {
    const csv = await openCsv(watched());
    delimiter = csv.delimiter;
    for await (const records of readRecords(csv)) {
      signal.throwIfAborted();
      for (const { cells: written } of records) {
        const cells = written.map(withoutApostrophe);
        if (firstLine === undefined) {
          firstLine = written;
          styles.push(...written.map(createCellStyle));
          if (hasHeader) continue;
        }
        if (++rows <= sampleRowsMax) samples.push(cells);
        for (const [index, style] of styles.entries()) style.add(cells[index] ?? '');
      }
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    fault = error;
  }
  return {
    firstLine,
    samples,
    styles: styles.map((style) => style.result()),
    rows,
    otherLetters,
    fault,
    delimiter,
    encodingFound: decoded.encoding(),
  };
}

function withStyles(columns: readonly Column[], styles: readonly CellStyle[]): readonly Column[] {
  return columns.map((column, index) => ({ ...column, style: styles[index] ?? unknownStyle }));
}

function isNotUtf8(fault: UnreadableFile | undefined): boolean {
  return fault instanceof WrongEncoding && !fault.suggestion.startsWith('utf-16');
}

/** `start` has one character for each byte. */
function startsWith(bytes: Uint8Array, start: string): boolean {
  return [...start].every((character, index) => bytes[index] === character.charCodeAt(0));
}

/** Throws if a file that is not UTF-8 is not text in an encoding of one byte a letter. */
function refuseZeros(file: File, sample: Uint8Array): void {
  const zero = sample.indexOf(0);
  if (zero === 0 || zero === 1) throw new WrongEncoding('it is not UTF-8', 1, zero === 0 ? 'utf-16be' : 'utf-16le');
  if (zero > 0) throw new NotCsv(file);
}

/** Whether no known user has a value of the attribute, except null. */
function lacksType(known: KnownAttributes, key: string): boolean {
  return (known.get(key) ?? 'null') === 'null';
}

/** The keys of attributes that columns may mean, except those with a known type. */
function unknownKeys(columns: readonly Column[], known: KnownAttributes): string[] {
  const isAttribute = ({ field, isIgnored }: Column) =>
    !isIgnored && (field === '' || attributeKeyOf(field) !== undefined);
  const meant = withKnownKeys(columns, known).map(({ field }) => attributeKeyOf(field) ?? '');
  const keys = [...columns.filter(isAttribute).map(keyForColumn), ...meant];
  return [...new Set(keys)].filter((key) => key !== '' && lacksType(known, key));
}

/** The columns whose key the user has just entered, so that it was not looked up yet. */
export function columnsToLookUp({ columns, known, newKeys }: FilePreview, before: FilePreview): readonly Column[] {
  const fields = new Set(before.columns.map(({ field }) => field));
  return columns.filter(({ field }) => {
    const key = attributeKeyOf(field);
    return key !== undefined && !fields.has(field) && !newKeys.has(key) && lacksType(known, key);
  });
}

/** Gives these columns their types, except those that the user has changed meanwhile. */
export function withLookedUp(preview: FilePreview, asked: readonly Column[], found: RareAttributes): FilePreview {
  const known = new Map([...preview.known, ...found.known]);
  const newKeys = new Set([...preview.newKeys, ...found.newKeys]);
  const columns = preview.columns.flatMap((column) => {
    const isOpen = column.type === undefined && asked.includes(column);
    return isOpen ? withTypes([column], known, newKeys) : [column];
  });
  return { ...preview, known, newKeys, columns };
}

/** If no column is the email, but the first cells of exactly one unknown column all look like emails, this column is. */
export function withEmail(columns: readonly Column[], samples: readonly (readonly string[])[]): readonly Column[] {
  if (samples.length === 0 || columns.some(({ field }) => field === 'email')) return columns;
  const isEmail = (column: Column, index: number) =>
    column.field === '' &&
    !column.isIgnored &&
    !loginName.test(column.name) &&
    samples.every((cells) => looksLikeEmail(cells[index] ?? ''));
  const [found, ...others] = columns.filter(isEmail);
  if (found === undefined || others.length > 0) return columns;
  return columns.map((column) => (column === found ? { ...column, field: 'email' } : column));
}

/**
 * Without a column for the first or the last name, a column that is named as whole names is both. “Name” alone is the last name
 * in some files, so its first cells must look like whole names too.
 */
export function withFullName(columns: readonly Column[], samples: readonly (readonly string[])[]): readonly Column[] {
  if (columns.some(({ field }) => field === 'first_name' || field === 'last_name')) return columns;
  const isNamed = ({ name, field, isIgnored }: Column, form: RegExp) => field === '' && !isIgnored && form.test(name);
  const isWhole = (index: number) => {
    const cells = samples.map((cells) => cells[index]?.trim() ?? '').filter((cell) => cell !== '');
    return cells.filter((cell) => splitFullName(cell).lastName !== '').length > cells.length / 2;
  };
  const found =
    columns.find((column) => isNamed(column, fullNameHeader)) ??
    columns.find((column, index) => isNamed(column, nameHeader) && isWhole(index));
  return columns.map((column) => (column === found ? { ...column, field: fullNameColumn } : column));
}

/** Says why the file cannot be imported. Returns undefined if it can. */
export function validatePreview(
  { columns, fault, rows }: FilePreview,
  onTaken: OnTaken,
  canKeepNames: boolean,
): string | undefined {
  if (fault instanceof WrongEncoding) return describeFault(fault);
  return (
    refuseColumns(columns, onTaken, canKeepNames) ?? (rows === 0 ? 'The file has no rows after its header.' : undefined)
  );
}

export function describeFault(fault: unknown): string {
  if (!(fault instanceof UnreadableFile || fault instanceof NotCsv)) return 'The file cannot be read.';
  if (!(fault instanceof WrongEncoding)) return fault.message;
  return `${fault.message} Choose the encoding that it was saved in, such as ${labelOfEncoding(fault.suggestion)}.`;
}

/** The key of an attribute that is named as the column is. Empty if the file does not name the column. */
export function keyForColumn({ name, isUnnamed }: Column): string {
  return isUnnamed ? '' : (attributeKeyOf(name) ?? name);
}

/** Imports the columns that match no field as attributes, except those without a name or with one that is taken. */
export function withAttributes(
  columns: readonly Column[],
  known: KnownAttributes,
  newKeys: ReadonlySet<string> = new Set(),
): readonly Column[] {
  const matched = withKnownKeys(columns, known, newKeys);
  const taken = new Set(matched.map(({ field }) => field));
  return matched.map((column) => {
    const key = keyForColumn(column);
    const field = attributePath(key);
    if (column.field !== '' || column.isIgnored || key === '' || taken.has(field)) return column;
    taken.add(field);
    return withField(column, field, known, newKeys);
  });
}
