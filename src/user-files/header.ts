/**
 * Matches the columns of a file to the fields of a user, and finds duplicate columns and missing fields.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { textFields, writablePaths } from '../fields.js';
import type { CellStyle } from './cell-style.js';
import type { CellType } from './cell-types.js';
import { errorColumns, ignoredFields, type Target, targetOfField } from './columns.js';
import { fullNameColumn } from './full-name.js';

export interface Column {
  readonly name: string;
  /** The file has no header, so that the name is only a number. */
  readonly isUnnamed?: true;
  /** In snake_case, or attributes.KEY, or full_name, which is both names. Empty if the column is not imported. */
  readonly field: string;
  /** Whether it is not imported because clients cannot write the field, as in an export. */
  readonly isIgnored: boolean;
  /** The type of the cells, if the field is attributes.KEY. A cell that does not have it stays text, which is the default. */
  readonly type?: CellType;
  /** Undefined if the cells were not read. */
  readonly style?: CellStyle;
}

export const requiredFields: readonly string[] = textFields
  .filter((field) => 'isRequired' in field)
  .map(({ path }) => path);

/**
 * Names of the fields in other systems: Google Workspace (`First Name [Required]`), Microsoft Entra ID (`givenName`,
 * `mail`), LDAP (`sn`), Okta (`Primary email`), Outlook (`E-mail Address`, and in German `Vorname`), SCIM
 * (`name.familyName`). `login` and `userPrincipalName` are missing on purpose: they look like email addresses but often
 * receive no mail.
 */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  first_name: ['givenname', 'forename', 'firstnames', 'fname', 'namegivenname', 'userfirstname', 'vorname', 'prénom'],
  last_name: ['surname', 'familyname', 'lname', 'sn', 'namefamilyname', 'userlastname', 'nachname', 'familienname'],
  email: [
    'mail',
    'emailaddress',
    'mailaddress',
    'primaryemail',
    'useremail',
    'emailprimary',
    'email1value',
    'emailsvalue',
  ],
  profile_image_url: ['imageurl', 'photourl', 'avatarurl', 'pictureurl'],
};

// Only for guesses. The server validates emails.
const emailForm = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

export function looksLikeEmail(cell: string): boolean {
  return emailForm.test(cell.trim());
}

/** Columns for a file whose first line is a user like all others. */
export function unnamedColumns(firstLine: readonly string[]): Column[] {
  return firstLine.map((_, index) => ({ name: `Column ${index + 1}`, field: '', isIgnored: false, isUnnamed: true }));
}

/** The name of the column in a file that is written for a later import. */
export function nameForFile({ name, field, isUnnamed }: Column): string {
  return isUnnamed && field !== '' ? field : name;
}

/** Returns the same text for spellings of a name that differ only in case, spaces or punctuation. */
function normalize(name: string): string {
  return name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');
}

const ownNames = new Map(writablePaths.map((path) => [normalize(path), path]));
// Includes the fields' own names, because a remark may follow them. Not `attributes`: in attributes[KEY], the brackets
// contain no remark.
const fieldsByOtherName = new Map([
  ...[...ownNames].filter(([, field]) => field !== 'attributes'),
  ...Object.entries(otherNames).flatMap(([field, names]) => names.map((name) => [name, field] as const)),
]);
const ignoredNames = new Set(ignoredFields.map(normalize));

/** Returns the field for a spelling of its name, such as first_name for `First Name`, or undefined. */
export function fieldNamed(name: string): string | undefined {
  const [isAttribute, key] = /^\s*attributes\.(.*)$/is.exec(name) ?? [];
  if (isAttribute === undefined) return ownNames.get(normalize(name));
  return key === '' ? undefined : `attributes.${key}`;
}

/** Matches columns to fields by `given`, which maps names in the file to fields, and otherwise by the names. */
export function matchHeader(header: readonly string[], given: ReadonlyMap<string, string> = new Map()): Column[] {
  const names = header.map((name) => name.trim());
  // A delimiter at the end of each line adds a column without a name.
  while (names.at(-1) === '') names.pop();
  const fields: (string | undefined)[] = names.map(() => undefined);
  for (const [name, field] of given) for (const index of findColumns(names, name)) fields[index] = field;

  const taken = new Set(given.values());
  function addNamed(fieldOf: (name: string) => string | undefined): void {
    const found = names.map((name, index) => (fields[index] === undefined ? fieldOf(name) : undefined));
    for (const [index, field] of found.entries()) if (field !== undefined && !taken.has(field)) fields[index] = field;
    for (const field of found) if (field !== undefined) taken.add(field);
  }
  addNamed(fieldNamed);
  addNamed((name) => (isIgnored(name) ? undefined : fieldsByOtherName.get(normalize(withoutRemarks(name)))));

  return names.map((name, index) => {
    const field = fields[index] ?? '';
    return { name, field, isIgnored: field === '' && isIgnored(name) };
  });
}

function isIgnored(name: string): boolean {
  return ignoredNames.has(normalize(name)) || errorColumns.includes(name);
}

/** Google Workspace writes `First Name [Required]`. */
function withoutRemarks(name: string): string {
  return name.replaceAll(/\[[^\]]*\]|\(required\)/gi, '');
}

/** Returns the indexes of the columns with a name. Ignores case if no column matches exactly. */
export function findColumns(names: readonly string[], name: string): number[] {
  const indexes = [...names.keys()].filter((index) => names[index] === name);
  if (indexes.length > 0) return indexes;
  const lower = name.trim().toLowerCase();
  return [...names.keys()].filter((index) => names[index]?.toLowerCase() === lower);
}

/** The targets of the cells under each column. */
export function targetsOf(columns: readonly Column[]): Target[] {
  return columns.map(({ field, type }) => {
    const target = field === '' ? 'ignored' : targetOfField(field);
    return typeof target === 'object' && 'attribute' in target && type !== undefined ? { ...target, type } : target;
  });
}

/** Returns the first field that several columns are for, with the indexes of these columns. */
export function findDuplicate(columns: readonly Column[]): { field: string; indexes: number[] } | undefined {
  for (const { field } of columns) {
    if (field === '') continue;
    const indexes = [...columns.keys()].filter((index) => columns[index]?.field === field);
    if (indexes.length > 1) return { field, indexes };
  }
  return undefined;
}

export function missingFields(columns: readonly Column[]): string[] {
  return requiredFields.filter((field) => !columns.some((column) => isColumnOf(column, field)));
}

/** Whether the cells of a column contain the value of the field. */
export function isColumnOf({ field }: Pick<Column, 'field'>, path: string): boolean {
  return field === path || (field === fullNameColumn && (path === 'first_name' || path === 'last_name'));
}
