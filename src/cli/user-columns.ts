/**
 * Which column or member of a row is which field of a user, and the user that a row's values make.
 *
 * What a field may hold is the server's to say: only what could not be sent as it stands is refused here. The web page
 * imports this too, so that it takes the same files: nothing of Node may come in.
 */
import type { DeepPartial, User } from '../client/index.js';
import { inexactNumberText } from '../json.js';
import { isBlank } from './csv-rules.js';
import { hasInfinity, isObject, readJson } from './json.js';
import { safeJson } from './text.js';

/** Why one row is not in the directory; `field` is empty where it is the row as a whole. */
export interface RowProblem {
  field: string;
  /** The contract's INVALID_FIELD or EMAIL_TAKEN, or INVALID_ROW for a row that could not be sent. */
  reason: string;
  message: string;
}

/** What a row's values make: a user, or why they make none. */
export type Draft =
  | { readonly user: DeepPartial<User>; readonly problem?: undefined }
  | { readonly user?: undefined; readonly problem: RowProblem };

export type Row = Draft & {
  /** Of its beginning in the file, counted from 1. */
  readonly line: number;
  /** As it stood there, for the format that read it. */
  readonly original: string | readonly string[];
};

export const writableFields = {
  first_name: 'firstName',
  last_name: 'lastName',
  email: 'email',
  profile_image_url: 'profileImageUrl',
  attributes: 'attributes',
} as const;

// What an export writes and nobody may set, and what a file of rejected rows says of each: both can be imported.
export const ignoredFields = ['id', 'display_name', 'create_time', 'update_time', 'etag'];
export const errorColumns = ['error_field', 'error_reason', 'error_message'] as const;
export const errorMember = 'error';

const attributePrefix = 'attributes.';

type Field = (typeof writableFields)[keyof typeof writableFields];

/** What a value is for: a field, one attribute, or nothing; undefined where nobody knows. */
export type Target = { field: Field } | { attribute: string } | 'ignored' | undefined;

export interface ColumnOptions {
  /** From `--column`: the names in the file and the fields that they stand for. */
  column?: ReadonlyMap<string, string>;
  ignoreUnknownColumns?: boolean;
}

/** The target of a member of a JSON object. A field that `--column` gives to another name is not known by its own. */
export function targetOf(name: string, { column = new Map() }: ColumnOptions): Target {
  const mapped = column.get(name);
  if (mapped !== undefined) return targetOfField(mapped);
  const field = snakeCase(name);
  if ([...column.values()].includes(field)) return undefined;
  if (isWritable(field)) return targetOfField(field);
  const ignored = ignoredFields.includes(field) || (errorColumns as readonly string[]).includes(name);
  return ignored ? 'ignored' : undefined;
}

/** Of a writable field's name in snake_case, or of attributes.KEY. */
export function targetOfField(field: string): Target {
  if (field.startsWith(attributePrefix)) return { attribute: field.slice(attributePrefix.length) };
  return { field: writableFields[field as keyof typeof writableFields] };
}

/** Whether a name in snake_case is a field that callers may write. */
export function isWritable(field: string): boolean {
  return (
    Object.hasOwn(writableFields, field) || (field.startsWith(attributePrefix) && field.length > attributePrefix.length)
  );
}

/** The part behind "attributes." is data, and stays. */
export function snakeCase(name: string): string {
  return /\./.test(name) ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Collects a row's values; what is empty stays unset. */
export function createUserDraft() {
  const user: DeepPartial<User> = {};
  let whole: Record<string, unknown> | undefined;
  // No object, because a key may be "__proto__".
  const single: [string, unknown][] = [];
  let problem: RowProblem | undefined;

  return {
    /** A cell's text. `attributes` is JSON, a single attribute the text itself. */
    setText(target: Target, text: string): void {
      if (text === '' || target === undefined || target === 'ignored') return;
      if ('attribute' in target || target.field !== 'attributes') this.setValue(target, text);
      else {
        const value = readJson(text);
        if (isObject(value)) whole = value;
        else problem ??= { field: 'attributes', reason: 'INVALID_FIELD', message: 'It must be a JSON object.' };
      }
    },
    /** A JSON value of the right type; null is unset. */
    setValue(target: Target, value: unknown): void {
      if (value === null || target === undefined || target === 'ignored') return;
      if ('attribute' in target) {
        single.push([target.attribute, value]);
      } else if (target.field === 'attributes') {
        if (isObject(value)) whole = value;
        else problem ??= { field: 'attributes', reason: 'INVALID_FIELD', message: 'It must be an object.' };
      } else if (typeof value === 'string') {
        user[target.field] = value;
      } else {
        problem ??= { field: snakeCase(target.field), reason: 'INVALID_FIELD', message: 'It must be a text.' };
      }
    },
    /** The attributes' own columns go before the same keys in `attributes`. */
    finish(): Draft {
      if (problem !== undefined) return { problem };
      if (whole !== undefined || single.length > 0) {
        user.attributes = Object.fromEntries([...Object.entries(whole ?? {}), ...single]);
      }
      if (hasInfinity(user.attributes)) {
        return { problem: { field: 'attributes', reason: 'INVALID_FIELD', message: inexactNumberText } };
      }
      return { user };
    },
  };
}

/** What an export writes, in this order. */
export const exportColumns = [
  'id',
  'first_name',
  'last_name',
  'email',
  'profile_image_url',
  'attributes',
  'display_name',
  'create_time',
  'update_time',
  'etag',
] as const;

/** A user's cells under those. JSON's own escapes keep what a terminal would obey out of attributes; no other field may hold it. */
export function exportCells(user: User): string[] {
  return [
    user.id,
    user.firstName,
    user.lastName,
    user.email,
    user.profileImageUrl,
    user.attributes === undefined ? '' : safeJson(user.attributes),
    user.displayName,
    user.createTime?.toISOString() ?? '',
    user.updateTime?.toISOString() ?? '',
    user.etag,
  ];
}

/** What the cells of a row make, each under its column. Blank cells after the last column are ignored. */
export function draftOf(cells: readonly string[], targets: readonly Target[]): Draft {
  if (cells.length < targets.length || !isBlank(cells.slice(targets.length))) {
    const message = `The row has ${cells.length} cells, the header has ${targets.length}.`;
    return { problem: { field: '', reason: 'INVALID_ROW', message } };
  }
  const draft = createUserDraft();
  for (const [index, cell] of cells.entries()) draft.setText(targets[index], cell);
  return draft.finish();
}
