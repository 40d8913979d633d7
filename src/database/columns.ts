/**
 * Column lists, SQL types and the row decoder for hand-written statements on users, derived from the entity UserRow.
 * docs/decisions/0025-typeorm-owns-the-tables.md explains why those statements are hand-written.
 *
 * A new column of UserRow is part of every statement automatically. The type checker reports the places that must
 * handle it: the model, and the decoder below.
 */
import { getMetadataArgsStorage } from 'typeorm';
import { parseJson } from '../json.js';
import type { JsonObject, User, UserFields } from '../model/user.js';
import { UserRow } from './entities/user-row.js';
import { parseTime } from './parse-time.js';

/** A row as an array of columns, in the order of the statement. */
export type Row = readonly unknown[];

export interface Column<Property extends PropertyKey> {
  /** The entity's property. */
  readonly property: Property;
  /** The column's name in SQL. */
  readonly name: string;
  /** The SQL type: `text`, `timestamptz(3)`, `uuid[]`. */
  readonly type: string;
}

/** The columns of an entity, in the order of its properties. */
function columnsOf<Entity extends object>(entity: new () => Entity): Column<keyof Entity>[] {
  return getMetadataArgsStorage()
    .filterColumns(entity)
    .map(({ propertyName, options: { name = propertyName, type, precision, array } }) => ({
      property: propertyName as keyof Entity,
      name,
      type: `${type}${precision == null ? '' : `(${precision})`}${array ? '[]' : ''}`,
    }));
}

// The statements compute these columns. Clients write all others.
const computed = ['id', 'createTime', 'updateTime', 'version'] as const satisfies (keyof UserRow)[];
type Computed = (typeof computed)[number];

/** All columns of a user. */
export const userColumns: readonly Column<keyof UserRow>[] = columnsOf(UserRow);

/** The columns that clients write. A column that is missing from UserFields is a type error here. */
export const fieldColumns: readonly Column<keyof UserFields>[] = userColumns.filter(
  (column): column is Column<Exclude<keyof UserRow, Computed>> => !computed.some((name) => name === column.property),
);

/** A list in SQL with one entry for each column that clients write. */
export function fieldList(entry: (column: Column<keyof UserFields>) => string, separator = ', '): string {
  return fieldColumns.map(entry).join(separator);
}

/** The names of the columns that clients write: `first_name, last_name, …`. */
export const fieldColumnNames = fieldList(({ name }) => name);

/** All columns of a user, for a SELECT from this table. Not `*`, which includes columns of later migrations. */
export function userColumnsOf(table: string): string {
  return userColumns.map(({ name }) => `${table}.${name}`).join(', ');
}

/**
 * An array parameter as a subquery, to hide its length from the planner. Otherwise the plan for the known length seems
 * cheaper than the generic plan, and Postgres plans every statement again, which is two thirds of an update's cost.
 */
export function arrayParameter(parameter: number, type: string): string {
  return `(select $${parameter}::${type}[])`;
}

/** The array parameters from `$first` on, one for each column that clients write. */
export function fieldArrays(first: number): string {
  return fieldColumns.map(({ type }, index) => arrayParameter(first + index, type)).join(', ');
}

/** The values for `fieldArrays`; null for a field that a row does not have. */
export function fieldValues(rows: readonly Partial<UserFields>[]): unknown[][] {
  return fieldColumns.map(({ property }) =>
    rows.map((row) => {
      const value = row[property];
      return typeof value === 'object' ? JSON.stringify(value) : (value ?? null);
    }),
  );
}

const positions = Object.fromEntries(userColumns.map(({ property }, index) => [property, index])) as Record<
  keyof UserRow,
  number
>;

/** Parses the cells whose form depends on how the row was read. */
interface CellParsers {
  timestamptz(cell: unknown): Date;
  integer(cell: unknown): number;
}

/**
 * Creates a decoder for rows with all of `userColumns`, in that order, from column `start` on. It lists the fields
 * because a loop over the columns takes twice as long.
 */
function createUserDecoder({ timestamptz, integer }: CellParsers): (row: Row, start?: number) => User {
  return (row, start = 0) => ({
    id: row[start + positions.id] as string,
    firstName: row[start + positions.firstName] as string,
    lastName: row[start + positions.lastName] as string,
    email: row[start + positions.email] as string,
    profileImageUrl: row[start + positions.profileImageUrl] as string,
    attributes: parseJson(attributesText(row, start)) as JsonObject,
    createTime: timestamptz(row[start + positions.createTime]),
    updateTime: timestamptz(row[start + positions.updateTime]),
    version: integer(row[start + positions.version]),
  });
}

/** Decodes the user in a row that the driver has parsed. */
export const decodeUser = createUserDecoder({ timestamptz: (cell) => cell as Date, integer: (cell) => cell as number });

/** Decodes the user in a row of unparsed cells, which are Postgres' texts. */
export const decodeUserText = createUserDecoder({ timestamptz: (cell) => parseTime(cell as string), integer: Number });

/** The attributes of the user in a row, as the JSON text that Postgres writes. */
export function attributesText(row: Row, start = 0): string {
  return row[start + positions.attributes] as string;
}
