/**
 * Pages of users in any order, by keyset: a page starts behind the last one's last row, wherever that is by now.
 *
 * Built with TypeORM's query builder from closed lists of expressions; what a caller sent is only ever a parameter.
 */
import type { SelectQueryBuilder } from 'typeorm';
import { parseJson } from '../json.js';
import type { Filter } from '../model/filter.js';
import type { OrderField, OrderTerm } from '../model/order-by.js';
import type { PagePosition } from '../model/page-token.js';
import type { JsonObject, User } from '../model/user.js';
import type { Database } from './database.js';
import { filterSql } from './filter-sql.js';
import { UserRow } from './rows.js';

export interface ListedUser {
  user: User;
  position: PagePosition;
  /** Bytes of the attributes as Postgres' JSON text. */
  attributesBytes: number;
}

export interface UserListing {
  filter: Filter | undefined;
  words: readonly string[];
  orderBy: readonly OrderTerm[];
  /** Rows behind this one only; undefined for the first page. */
  after: PagePosition | undefined;
  rowsMax: number;
}

const orderExpressions: Record<OrderField, string> = {
  create_time: 'u.create_time',
  update_time: 'u.update_time',
  first_name: 'u.first_name',
  last_name: 'u.last_name',
  email: 'email_key(u.email)',
};

// A word has no white space in it, so it never matches across the line break between two fields.
const searchText = `lower(normalize(u.first_name || chr(10) || u.last_name || chr(10) || u.email, NFC) collate "und-x-icu")`;

interface ListedRow {
  id: string;
  first_name: string;
  last_name: string;
  email: string;
  email_key: string;
  profile_image_url: string;
  attributes: string;
  create_time: Date;
  update_time: Date;
  version: number;
}

export async function listUsers(database: Database, listing: UserListing, signal: AbortSignal): Promise<ListedUser[]> {
  return database.withRunner(signal, async (runner) => {
    const query = runner.manager.createQueryBuilder(UserRow, 'u').select([]);
    for (const column of [
      'id',
      'first_name',
      'last_name',
      'email',
      'profile_image_url',
      'create_time',
      'update_time',
      'version',
    ]) {
      query.addSelect(`u.${column}`, column);
    }
    query.addSelect('email_key(u.email)', 'email_key').addSelect('CAST(u.attributes AS text)', 'attributes');
    restrict(query, listing);
    if (listing.after !== undefined) query.andWhere(behind(listing.orderBy, listing.after, binder(query)));
    for (const { field, descending } of listing.orderBy) {
      query.addOrderBy(orderExpressions[field], descending ? 'DESC' : 'ASC');
    }
    const rows = await query.addOrderBy('u.id', 'ASC').limit(listing.rowsMax).getRawMany<ListedRow>();
    return rows.map((row) => listedUser(row, listing.orderBy));
  });
}

/** How many users match, over all pages. */
export async function countUsers(
  database: Database,
  listing: Pick<UserListing, 'filter' | 'words'>,
  signal: AbortSignal,
): Promise<number> {
  return database.withRunner(signal, async (runner) => {
    const query = runner.manager.createQueryBuilder(UserRow, 'u').select('count(*)', 'count');
    restrict(query, listing);
    const row = await query.getRawOne<{ count: string }>();
    return Number(row?.count);
  });
}

/** Gives each value a parameter of its own, and back the text that stands for it. */
function binder(query: SelectQueryBuilder<UserRow>): (value: unknown) => string {
  return (value) => {
    const name = `p${Object.keys(query.getParameters()).length}`;
    query.setParameter(name, value);
    return `:${name}`;
  };
}

function restrict(query: SelectQueryBuilder<UserRow>, { filter, words }: Pick<UserListing, 'filter' | 'words'>): void {
  const bind = binder(query);
  if (filter !== undefined) query.andWhere(filterSql(filter, bind));
  for (const word of words) {
    query.andWhere(`strpos(${searchText}, lower(normalize(CAST(${bind(word)} AS text), NFC) collate "und-x-icu")) > 0`);
  }
}

const keyTypes: Record<OrderField, string> = {
  create_time: 'timestamptz(3)',
  update_time: 'timestamptz(3)',
  first_name: 'text',
  last_name: 'text',
  email: 'text',
};

/** The condition for the rows behind a position in an order. */
function behind(orderBy: readonly OrderTerm[], after: PagePosition, bind: (value: unknown) => string): string {
  const columns = orderBy.map(({ field, descending }, index) => {
    const key = after.keys[index];
    const value = typeof key === 'number' ? new Date(key).toISOString() : key;
    return { expression: orderExpressions[field], value: `CAST(${bind(value)} AS ${keyTypes[field]})`, descending };
  });
  columns.push({ expression: 'u.id', value: `CAST(${bind(after.id)} AS uuid)`, descending: false });

  // One direction throughout: a comparison of rows, which an index over these columns serves as it is.
  if (columns.every((column) => !column.descending)) {
    const list = (parts: string[]) => `(${parts.join(', ')})`;
    return `${list(columns.map((column) => column.expression))} > ${list(columns.map((column) => column.value))}`;
  }
  // Both directions: a > x or (a = x and (b < y or (b = y and ...))).
  const condition = columns.reduceRight((rest, { expression, value, descending }) => {
    const further = `${expression} ${descending ? '<' : '>'} ${value}`;
    return rest === '' ? further : `(${further} OR (${expression} = ${value} AND ${rest}))`;
  }, '');
  // The first column's bound stands alone once more, because only so an index is entered at the right place.
  const [first] = columns;
  return first === undefined
    ? condition
    : `(${first.expression} ${first.descending ? '<=' : '>='} ${first.value} AND ${condition})`;
}

function listedUser(row: ListedRow, orderBy: readonly OrderTerm[]): ListedUser {
  const keys: Record<OrderField, string | number> = {
    create_time: row.create_time.getTime(),
    update_time: row.update_time.getTime(),
    first_name: row.first_name,
    last_name: row.last_name,
    email: row.email_key,
  };
  return {
    user: {
      id: row.id,
      firstName: row.first_name,
      lastName: row.last_name,
      email: row.email,
      profileImageUrl: row.profile_image_url,
      attributes: parseJson(row.attributes) as JsonObject,
      createTime: row.create_time,
      updateTime: row.update_time,
      version: row.version,
    },
    position: { keys: orderBy.map(({ field }) => keys[field]), id: row.id },
    attributesBytes: row.attributes.length,
  };
}
