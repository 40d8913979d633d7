/**
 * Maps the columns or members of a row to the fields of a user, and builds the user from the row's values.
 *
 * The server validates the fields. This file rejects only values that cannot be sent unchanged. The web page imports
 * it, so it must not import Node modules.
 */
import type { DeepPartial, User } from '../client/index.js';
import { attributeKeyOf, userFields, writableFields, writablePaths } from '../fields.js';
import { inexactNumberText } from '../json.js';
import { safeJson } from '../safe-text.js';
import { type CellType, valueOfCell } from './cell-types.js';
import { fullNameColumn, splitFullName } from './full-name.js';
import { hasInfinity, isObject, readJson } from './read-json.js';

/** The reason why a row was rejected. `field` is empty if the whole row is invalid. */
export interface RowProblem {
  field: string;
  /** The contract's INVALID_FIELD or EMAIL_TAKEN, or INVALID_ROW for a row that could not be sent. */
  reason: string;
  message: string;
}

/** The user of a row, or the problem of the row. */
export type Draft =
  | { readonly user: DeepPartial<User>; readonly problem?: undefined }
  | { readonly user?: undefined; readonly problem: RowProblem };

export type Row = Draft & {
  /** The line where the row begins, counted from 1. */
  readonly line: number;
  /** The row as it was in the file: its cells in CSV, or its line in NDJSON. */
  readonly original: string | readonly string[];
};

/** The columns of an export, in order. */
export const exportColumns: readonly string[] = userFields.map(({ path }) => path);
// Exports and files of rejected rows have these columns. An import ignores them, so it can read both kinds of files.
export const ignoredFields = exportColumns.filter((path) => !writablePaths.includes(path));
export const errorColumns: readonly string[] = ['error_field', 'error_reason', 'error_message'];
export const errorMember = 'error';

type Field = (typeof writableFields)[number]['name'];

const namesByPath = new Map<string, Field>(writableFields.map(({ path, name }) => [path, name]));

/** The target of a value: a field, one attribute, both names, or nothing. Undefined if the name is unknown. */
export type Target = { field: Field } | { attribute: string; type?: CellType } | 'fullName' | 'ignored' | undefined;

export interface ColumnOptions {
  /** From `--column`: maps names in the file to fields. */
  column?: ReadonlyMap<string, string>;
  ignoreUnknownColumns?: boolean;
}

/** The target of a member of a JSON object. If `--column` maps another name to a field, its own name is unknown. */
export function targetOf(name: string, { column = new Map() }: ColumnOptions): Target {
  const mapped = column.get(name);
  if (mapped !== undefined) return targetOfField(mapped);
  const field = snakeCase(name);
  if ([...column.values()].includes(field)) return undefined;
  if (isWritable(field)) return targetOfField(field);
  const ignored = ignoredFields.includes(field) || errorColumns.includes(name);
  return ignored ? 'ignored' : undefined;
}

/** The target of a writable field's name in snake_case, of attributes.KEY, or of full_name. */
export function targetOfField(field: string): Target {
  if (field === fullNameColumn) return 'fullName';
  const attribute = attributeKeyOf(field);
  if (attribute !== undefined) return { attribute };
  const name = namesByPath.get(field);
  return name && { field: name };
}

/** Whether a name in snake_case is a field that clients can write. */
export function isWritable(field: string): boolean {
  return namesByPath.has(field) || Boolean(attributeKeyOf(field));
}

/** Does not change the part after "attributes.", because it is data. */
export function snakeCase(name: string): string {
  return /\./.test(name) ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Collects a row's values. Empty values stay unset, and so do cells of white space for a text. */
export function createUserDraft() {
  const user: DeepPartial<User> = {};
  let attributes: Record<string, unknown> | undefined;
  // Not an object, because a key may be "__proto__".
  const singleAttributes: [string, unknown][] = [];
  let problem: RowProblem | undefined;

  return {
    /** Sets the text of a cell: JSON for `attributes`, a value of the column's type for one attribute, or else the text. */
    setText(target: Target, text: string): void {
      if (text === '' || target === undefined || target === 'ignored') return;
      if (target === 'fullName') {
        const { firstName, lastName } = splitFullName(text);
        this.setText({ field: 'firstName' }, firstName);
        this.setText({ field: 'lastName' }, lastName);
      } else if ('attribute' in target) this.setValue(target, valueOfCell(text, target.type));
      // A cell with the text `null` is invalid. A JSON member that is null is unset.
      else if (target.field === 'attributes') this.setValue(target, readJson(text) ?? undefined);
      // Spreadsheets and other programs often leave a space around a text.
      else if (text.trim() !== '') this.setValue(target, text.trim());
    },
    /** Sets a JSON value. null means unset. */
    setValue(target: Target, value: unknown): void {
      if (value === null || typeof target !== 'object') return;
      if ('attribute' in target) {
        singleAttributes.push([target.attribute, value]);
      } else if (target.field === 'attributes') {
        if (isObject(value)) attributes = value;
        else problem ??= { field: 'attributes', reason: 'INVALID_FIELD', message: 'It must be a JSON object.' };
      } else if (typeof value === 'string') {
        // The server would refuse an email with a space around it. Names in JSON stay as they were exported.
        user[target.field] = target.field === 'email' ? value.trim() : value;
      } else {
        problem ??= { field: snakeCase(target.field), reason: 'INVALID_FIELD', message: 'It must be a string.' };
      }
    },
    /** A column for one attribute overrides the same key in `attributes`. */
    finish(): Draft {
      if (problem !== undefined) return { problem };
      if (attributes !== undefined || singleAttributes.length > 0) {
        user.attributes = Object.fromEntries([...Object.entries(attributes ?? {}), ...singleAttributes]);
      }
      if (hasInfinity(user.attributes)) {
        return { problem: { field: 'attributes', reason: 'INVALID_FIELD', message: inexactNumberText } };
      }
      return { user };
    },
  };
}

/** Adds an apostrophe that the import removes, so that importing an export creates the same text. */
export function withApostrophe(cell: string): string {
  return quotedFormula.test(cell) ? `'${cell}` : cell;
}

// Spreadsheets run a cell that begins with one of these characters as a formula, unless an apostrophe is before it.
const quotedFormula = /^'+[=+\-@\t\r]/;

/** Removes the apostrophe that an export, or another program, has put before a text that looks like a formula. */
export function withoutApostrophe(cell: string): string {
  return quotedFormula.test(cell) ? cell.slice(1) : cell;
}

/** The cells of a user in an export. JSON escapes control characters in attributes. Other fields cannot have any. */
export function exportCells(user: User): string[] {
  return userFields.map(({ name }) => {
    const value = user[name];
    if (value === undefined) return '';
    if (value instanceof Date) return value.toISOString();
    return typeof value === 'string' ? withApostrophe(value) : safeJson(value);
  });
}

/** Spreadsheets write rows of empty cells after the last used row. */
export function isBlank(cells: readonly string[]): boolean {
  return cells.every((cell) => cell.trim() === '');
}

/** Builds a user from the cells of a row. Blank cells after the last column are ignored. */
export function draftOf(cells: readonly string[], targets: readonly Target[]): Draft {
  if (cells.length < targets.length || !isBlank(cells.slice(targets.length))) {
    const message = `The row has ${cells.length} cells, the header has ${targets.length}.`;
    return { problem: { field: '', reason: 'INVALID_ROW', message } };
  }
  const draft = createUserDraft();
  for (const [index, cell] of cells.entries()) draft.setText(targets[index], withoutApostrophe(cell));
  return draft.finish();
}
