/** Reads a file before its import, to show its columns and to find its errors before the page sends anything. */
import { openCsv, readRecords } from '../src/user-files/csv.js';
import { UnreadableFile, WrongEncoding } from '../src/user-files/file-text.js';
import { fullNameColumn, splitFullName } from '../src/user-files/full-name.js';
import { type Column, matchHeader } from '../src/user-files/header.js';
import { readText, refuseColumns } from './csv.js';
import { labelOfEncoding } from './encodings.js';
import { attributePrefix, withField, withKnownKeys, withTypes } from './import-attributes.js';
import type { OnTaken } from './import-messages.js';
import type { KnownAttributes } from './use-attribute-types.js';

// Enough to recognize what a column contains.
const sampleRowsMax = 3;

// They look like email addresses but often receive no mail, as in header.ts.
const loginName = /login|principal/i;
const fullNameHeader = /^(?:full|whole|complete)[\s_-]*name$/i;
const nameHeader = /^(?:employee|person|contact)?[\s_-]*names?$/i;
// Only for a guess. The server validates emails.
const emailForm = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

export interface FilePreview {
  readonly file: File;
  readonly delimiter: string;
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  readonly encodingFound: string;
  readonly columns: readonly Column[];
  readonly samples: readonly (readonly string[])[];
  readonly rows: number;
  /** The attributes of other users, the most frequent first. */
  readonly known: KnownAttributes;
  /** Why the file cannot be read to its end. */
  readonly fault: UnreadableFile | undefined;
}

export interface PreviewOptions {
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  /** Never rejects. */
  readonly known: Promise<KnownAttributes>;
  /** Reads the attributes with these keys that some users have. */
  readRare(keys: readonly string[]): Promise<KnownAttributes>;
  readonly signal: AbortSignal;
}

/** Reads the whole file. Throws UnreadableFile if it has no header. */
export async function readPreview(
  file: File,
  { encoding, known: reading, readRare, signal }: PreviewOptions,
): Promise<FilePreview> {
  const decoded = readText(file, { encoding: encoding || undefined });
  const csv = await openCsv(decoded.text);
  let header: readonly string[] | undefined;
  const samples: (readonly string[])[] = [];
  let rows = 0;
  let fault: UnreadableFile | undefined;
  try {
    for await (const records of readRecords(csv)) {
      signal.throwIfAborted();
      for (const { cells } of records) {
        if (header === undefined) header = cells;
        else if (++rows <= sampleRowsMax) samples.push(cells);
      }
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile) || header === undefined) throw error;
    fault = error;
  }
  if (header === undefined) throw new UnreadableFile('it is empty; its first line must name the columns');
  const { delimiter } = csv;
  const encodingFound = decoded.encoding();
  const matched = withFullName(matchHeader(header), samples);
  const sampled = await reading;
  const known = new Map([...sampled, ...(await readRare(unknownKeys(matched, sampled)))]);
  const columns = withTypes(withEmail(withKnownKeys(matched, known), samples), known);
  return { file, delimiter, encoding, encodingFound, columns, samples, rows, known, fault };
}

/** The keys of attributes that columns may mean, except those that are known. */
function unknownKeys(columns: readonly Column[], known: KnownAttributes): string[] {
  const isAttribute = ({ field, isIgnored }: Column) =>
    !isIgnored && (field === '' || field.startsWith(attributePrefix));
  const keys = columns.filter(isAttribute).map(attributeKeyOf);
  return [...new Set(keys)].filter((key) => key !== '' && !known.has(key));
}

/** If no column is the email, but the first cells of exactly one unknown column all look like emails, this column is. */
export function withEmail(columns: readonly Column[], samples: readonly (readonly string[])[]): readonly Column[] {
  if (samples.length === 0 || columns.some(({ field }) => field === 'email')) return columns;
  const isEmail = (column: Column, index: number) =>
    column.field === '' &&
    !column.isIgnored &&
    !loginName.test(column.name) &&
    samples.every((cells) => emailForm.test(cells[index]?.trim() ?? ''));
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
export function validatePreview({ columns, fault, rows }: FilePreview, onTaken: OnTaken): string | undefined {
  if (fault instanceof WrongEncoding) return describeFault(fault);
  return refuseColumns(columns, onTaken) ?? (rows === 0 ? 'The file has no rows after its header.' : undefined);
}

export function describeFault(fault: UnreadableFile): string {
  if (!(fault instanceof WrongEncoding)) return fault.message;
  return `${fault.message} Choose the encoding that it was saved in, such as ${labelOfEncoding(fault.suggestion)}.`;
}

/** The key of an attribute that is named as the column is. */
export function attributeKeyOf({ name }: Column): string {
  return name.replace(/^attributes\./, '');
}

/** Imports the columns that match no field as attributes, except those without a name or with one that is taken. */
export function withAttributes(columns: readonly Column[], known: KnownAttributes): readonly Column[] {
  const matched = withKnownKeys(columns, known);
  const taken = new Set(matched.map(({ field }) => field));
  return matched.map((column) => {
    const key = attributeKeyOf(column);
    const field = attributePrefix + key;
    if (column.field !== '' || column.isIgnored || key === '' || taken.has(field)) return column;
    taken.add(field);
    return withField(column, field, known);
  });
}
