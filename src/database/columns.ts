/**
 * Column lists, SQL types and the row decoder for hand-written statements on users, derived from the entity UserRow.
 * docs/decisions/0025-typeorm-owns-the-tables.md explains why those statements are hand-written.
 *
 * A new column of UserRow is part of every statement automatically. The type checker reports the places that must
 * handle it: the model, and the decoder below.
 */
import { getMetadataArgsStorage } from 'typeorm';
import { parseJson } from '../json.js';
import {
  attributesAt,
  type StoredUser,
  storedCells,
  storedId,
  storedInteger,
  storedText,
  storedTime,
} from '../model/stored-user.js';
import type { JsonObject, User, UserFields } from '../model/user.js';
import { UserRow } from './entities/user-row.js';

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

const storedColumns = userColumns.toSorted((a, b) => storedCells[a.property] - storedCells[b.property]);

/**
 * All columns of a user in the order of `storedCells`, for a SELECT from this table. Not `*`, which includes columns of
 * later migrations.
 */
export function userColumnsOf(table: string): string {
  return storedColumns.map(({ name }) => `${table}.${name}`).join(', ');
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

/** Decodes the user in a row with all columns of `userColumnsOf`, in that order, from column `start` on. */
export function decodeUser(row: Row, start = 0): User {
  return {
    id: row[start + storedCells.id] as string,
    firstName: row[start + storedCells.firstName] as string,
    lastName: row[start + storedCells.lastName] as string,
    email: row[start + storedCells.email] as string,
    profileImageUrl: row[start + storedCells.profileImageUrl] as string,
    attributes: parseJson(attributesText(row, start)) as JsonObject,
    createTime: row[start + storedCells.createTime] as Date,
    updateTime: row[start + storedCells.updateTime] as Date,
    version: row[start + storedCells.version] as number,
  };
}

/** The attributes of the user in a row, as the JSON text that Postgres writes. */
export function attributesText(row: Row, start = 0): string {
  return row[start + storedCells.attributes] as string;
}

/** Decodes a user that was selected with `userColumnsOf` in the binary format. */
export function decodeStoredUser(stored: StoredUser): User {
  const { from, to } = attributesAt(stored);
  return {
    id: storedId(stored),
    firstName: storedText(stored, storedCells.firstName),
    lastName: storedText(stored, storedCells.lastName),
    email: storedText(stored, storedCells.email),
    profileImageUrl: storedText(stored, storedCells.profileImageUrl),
    attributes: parseJson(stored.bytes.toString('utf8', from, to)) as JsonObject,
    createTime: storedTime(stored, storedCells.createTime),
    updateTime: storedTime(stored, storedCells.updateTime),
    version: storedInteger(stored, storedCells.version),
  };
}
