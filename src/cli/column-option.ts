/** The `--column` option, and what the command says of a header that it cannot use as it stands. */
import { InvalidArgumentError } from 'commander';
import { UsageError } from './failure.js';
import { isWritable, snakeCase, writableFields } from './user-columns.js';
import { type Column, fieldNamed } from './user-header.js';

/** `first_name=Given name`, for commander; a repeated flag adds to the ones before. */
export function parseColumn(text: string, before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const [, field = '', name = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  const known = fieldNamed(field) ?? snakeCase(field);
  if (!isWritable(known)) {
    throw new InvalidArgumentError(
      `It must be field=name, with a field of ${Object.keys(writableFields).join(', ')} or attributes.KEY.`,
    );
  }
  if (before.has(name) || [...before.values()].includes(known)) {
    throw new InvalidArgumentError('A field and a column can be named once.');
  }
  return new Map(before).set(name, known);
}

/** Whether nobody knows what a column is. */
export function isUnknown({ field, isIgnored }: Column): boolean {
  return field === '' && !isIgnored;
}

/** Says which columns are unknown, and one thing to do with them that works. */
export function unknownColumns(columns: readonly Column[]): UsageError {
  const unknown = columns.filter(isUnknown);
  // An attribute that another column is already would be taken away from that column.
  const example = unknown.find((column) => {
    const isTaken = columns.some(({ field }) => field === `attributes.${column.name}`);
    return canBeGiven(column, columns) && !column.name.includes('=') && !isTaken;
  });
  const option = example && optionOf(`attributes.${example.name}`, example.name);
  const advice = option
    ? `Keep them as attributes, as with ${option}, or leave them out (--ignore-unknown-columns).`
    : 'Leave them out (--ignore-unknown-columns).';
  const known = [...Object.keys(writableFields), 'attributes.KEY'].join(', ');
  return new UsageError(
    `Unknown columns: ${unknown.map((column) => describe(column, columns)).join(', ')}. Known are ${known} ` +
      `and usual spellings of them. ${advice}`,
  );
}

/** Says which fields have no column, and how to name one. */
export function missingColumns(columns: readonly Column[], missing: readonly string[]): UsageError {
  const [field = ''] = missing;
  const example = columns.find((column) => isUnknown(column) && canBeGiven(column, columns));
  const others = columns.filter(({ name }) => name !== '').map((column) => describe(column, columns));
  const advice = example && ` If one of them is ${field}, say so, as with ${optionOf(field, example.name)}.`;
  return new UsageError(
    `No column is ${missing.join(' or ')}, which every user needs. The columns are ${others.join(', ')}.${advice ?? ''}`,
  );
}

/** Says which columns are the same field, and how to choose one of them. */
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

/** A column without a name is called by its place. */
function describe(column: Column, columns: readonly Column[]): string {
  return column.name === '' ? `column ${columns.indexOf(column) + 1}, which has no name` : JSON.stringify(column.name);
}

/** Whether --column can name a column: it is the only one of its name, and a terminal shows the name as it is. */
function canBeGiven({ name }: Column, columns: readonly Column[]): boolean {
  const isAlone = columns.filter((column) => column.name === name).length === 1;
  return isAlone && /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(name);
}

function optionOf(field: string, name: string): string {
  const assignment = `${field}=${name}`;
  const isBare = /^[\w@%+=:,./-]+$/.test(assignment);
  return `--column ${isBare ? assignment : `'${assignment.replaceAll("'", "'\\''")}'`}`;
}
