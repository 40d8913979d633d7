/** The formats of an export, and its columns: fields of a user by their paths, and attributes as attributes.KEY. */
import type { User } from '../../generated/users/v1/user.js';
import { attributeKeyOf, userFields } from '../../src/fields.js';
import { exportCells, exportColumns, withApostrophe } from '../../src/user-files/columns.js';
import { excelDelimiter, formatLine } from '../text/csv-line.js';

export type ExportFormat = 'csv' | 'excel' | 'json';

export const exportFormats: readonly (readonly [ExportFormat, string])[] = [
  ['csv', 'CSV, for a later import'],
  ['excel', 'CSV for Excel'],
  ['json', 'JSON'],
];

export interface ExportFile {
  readonly extension: string;
  readonly type: string;
  readonly header: string;
  readonly footer: string;
  format(users: readonly User[]): string;
}

/** `format` of the result must be called with all users in order, because JSON has commas between them. */
export function createExportFile(
  format: ExportFormat,
  columns: readonly string[],
  delimiter = format === 'excel' ? excelDelimiter() : ',',
): ExportFile {
  if (format === 'json') return jsonFile(columns);
  const isExcel = format === 'excel';
  const textOf = (cell: string | number) => {
    if (typeof cell === 'string') return isExcel ? withoutFormula(cell) : cell;
    // Where Excel separates cells by semicolons, it would read 1.5 as a day, and 1.234 as 1234.
    return isExcel && delimiter === ';' ? String(cell).replace('.', ',') : String(cell);
  };
  return {
    extension: 'csv',
    type: 'text/csv',
    // Excel reads a CSV file as UTF-8 only if it begins with a byte order mark.
    header: (isExcel ? '\ufeff' : '') + formatLine(columns, delimiter),
    footer: '',
    format: (users) => users.map((user) => formatLine(cellsOf(user, columns).map(textOf), delimiter)).join(''),
  };
}

function cellsOf(user: User, columns: readonly string[]): (string | number)[] {
  const cells = exportCells(user);
  return columns.map((column) => {
    const key = attributeKeyOf(column);
    if (key === undefined) return cells[exportColumns.indexOf(column)] ?? '';
    const value: unknown = Object.hasOwn(user.attributes ?? {}, key) ? user.attributes?.[key] : undefined;
    if (typeof value === 'number') return value;
    // A cell with null would become the text null in an import.
    if (value === undefined || value === null) return '';
    return typeof value === 'string' ? withApostrophe(value) : JSON.stringify(value);
  });
}

/** Spreadsheets run such a cell as a formula, unless it begins with an apostrophe. */
export function withoutFormula(cell: string): string {
  return /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
}

function jsonFile(columns: readonly string[]): ExportFile {
  const keys = columns.flatMap((column) => attributeKeyOf(column) ?? []);
  let separator = '\n';
  return {
    extension: 'json',
    type: 'application/json',
    header: '[',
    footer: '\n]\n',
    format(users) {
      let text = '';
      for (const user of users) {
        text += separator + JSON.stringify(chosenFields(user, columns, keys));
        separator = ',\n';
      }
      return text;
    },
  };
}

function chosenFields(user: User, columns: readonly string[], keys: readonly string[]): Record<string, unknown> {
  const fields = columns.flatMap((column) => userFields.find(({ path }) => path === column) ?? []);
  const chosen: Record<string, unknown> = Object.fromEntries(fields.map(({ name }) => [name, user[name]]));
  if (keys.length === 0 || columns.includes('attributes')) return chosen;
  const attributes = Object.entries(user.attributes ?? {}).filter(([key]) => keys.includes(key));
  return { ...chosen, attributes: Object.fromEntries(attributes) };
}

const labels: Readonly<Record<string, string>> = {
  id: 'ID',
  attributes: 'Attributes, as JSON',
  display_name: 'Display name',
  create_time: 'Created',
  update_time: 'Updated',
  etag: 'Etag',
};

/** The fields that an export can have as columns, with their names on the page. */
export const exportFields: readonly (readonly [string, string])[] = userFields.map((field) => [
  field.path,
  ('label' in field ? field.label : labels[field.path]) ?? field.path,
]);

/** The columns of an export for those of the list. An import can read the two parts of a name, but not the whole. */
export function exportColumnsOf(columnIds: readonly string[]): string[] {
  return [...new Set(columnIds.flatMap((id) => (id === 'name' ? ['first_name', 'last_name'] : [id])))];
}
