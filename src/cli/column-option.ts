/** Parses the `--column` option, and creates the errors for headers that need it. */
import { InvalidArgumentError } from 'commander';
import { attributePath, writablePaths } from '../fields.js';
import { isWritable, snakeCase } from '../user-files/columns.js';
import { type Column, fieldNamed, looksLikeEmail } from '../user-files/header.js';
import { UsageError } from './failure.js';

/** Parses `first_name=Given name` for commander. A repeated flag adds to the previous ones. */
export function parseColumn(text: string, before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const [, field = '', name = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  const known = fieldNamed(field) ?? snakeCase(field);
  if (!isWritable(known)) {
    throw new InvalidArgumentError(
      `It must be field=name. The field must be ${writablePaths.join(', ')} or attributes.KEY.`,
    );
  }
  if (before.has(name) || [...before.values()].includes(known)) {
    throw new InvalidArgumentError('Name each field and each column only once.');
  }
  return new Map(before).set(name, known);
}

/** Whether the meaning of a column is unknown. */
export function isUnknown({ field, isIgnored }: Column): boolean {
  return field === '' && !isIgnored;
}

/** The error names the unknown columns, and suggests an option that works. */
export function unknownColumns(columns: readonly Column[]): UsageError {
  const unknown = columns.filter(isUnknown);
  // Do not suggest an attribute that another column already has.
  const example = unknown.find((column) => {
    const isTaken = columns.some(({ field }) => field === attributePath(column.name));
    return canBeGiven(column, columns) && !column.name.includes('=') && !isTaken;
  });
  const option = example && optionOf(attributePath(example.name), example.name);
  const advice = option
    ? `Keep them as attributes, for example with ${option}, or leave them out (--ignore-unknown-columns).`
    : 'Leave them out (--ignore-unknown-columns).';
  const known = [...writablePaths, 'attributes.KEY'].join(', ');
  return new UsageError(
    `Unknown columns: ${unknown.map((column) => describe(column, columns)).join(', ')}. The known columns are ${known} ` +
      `and common spellings of them. ${advice}`,
  );
}

/** The error names the fields without a column, and says how to choose a column. */
export function missingColumns(columns: readonly Column[], missing: readonly string[]): UsageError {
  const [field = ''] = missing;
  const example = columns.find((column) => isUnknown(column) && canBeGiven(column, columns));
  const others = columns.filter(({ name }) => name !== '').map((column) => describe(column, columns));
  const isUser = columns.some(({ name }) => looksLikeEmail(name));
  const advice = isUser
    ? ' The first line must name the columns, but it contains an email address, like a user.'
    : example && ` If one of them is ${field}, name it, for example with ${optionOf(field, example.name)}.`;
  return new UsageError(
    `There is no column for ${missing.join(' or ')}, which every user needs. The columns are ${others.join(', ')}.${advice ?? ''}`,
  );
}

/** The error names the columns for the same field, and says how to choose one of them. */
export function duplicateColumns(
  columns: readonly Column[],
  { field, indexes }: { field: string; indexes: readonly number[] },
): UsageError {
  const same = indexes.flatMap((index) => columns[index] ?? []);
  const places = indexes.map((index) => `${JSON.stringify(columns[index]?.name)} (column ${index + 1})`);
  const example = same.find((column) => canBeGiven(column, columns));
  const advice = example
    ? `Choose one of them (${optionOf(field, example.name)} --ignore-unknown-columns).`
    : 'Rename or remove all but one of them in the file.';
  return new UsageError(`The header names ${field} twice: ${places.join(' and ')}. ${advice}`);
}

/** Returns the name of a column, or its number if it has no name. */
function describe(column: Column, columns: readonly Column[]): string {
  return column.name === '' ? `column ${columns.indexOf(column) + 1}, which has no name` : JSON.stringify(column.name);
}

/** Whether --column can name a column: the name must be unique and printable. */
function canBeGiven({ name }: Column, columns: readonly Column[]): boolean {
  const isUnique = columns.filter((column) => column.name === name).length === 1;
  return isUnique && /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(name);
}

function optionOf(field: string, name: string): string {
  const assignment = `${field}=${name}`;
  const isBare = /^[\w@%+=:,./-]+$/.test(assignment);
  return `--column ${isBare ? assignment : `'${assignment.replaceAll("'", "'\\''")}'`}`;
}
