/**
 * Pages of users in any order, by keyset: a page starts behind the last one's last row, wherever that is by now.
 *
 * Built from closed lists of expressions; what a caller sent is only ever a parameter.
 */
import { parseJson } from '../json.js';
import type { Filter } from '../model/filter.js';
import type { OrderField, OrderTerm } from '../model/order-by.js';
import type { PagePosition } from '../model/page-token.js';
import type { JsonObject, User } from '../model/user.js';
import type { Database, Row, Statement } from './database.js';
import { type Bind, createBinder, filterSql, whereOf } from './filter-sql.js';
import { columns, userOf } from './users.js';

export interface ListedUser {
  user: User;
  /** Where the order is by email; else empty. */
  emailKey: string;
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

const indexedFields: readonly OrderField[] = ['create_time', 'email'];

// A word has no white space in it, so it never matches across the line break between two fields.
const searchText = `lower(normalize(u.first_name || chr(10) || u.last_name || chr(10) || u.email, NFC) collate "und-x-icu")`;

// The same columns with the attributes as text, whose length is that of what the driver would parse.
const textColumns = columns.replace('attributes', 'attributes::text');

// Statements of one shape are planned once for each connection. Filters and searches have no end of shapes, and where the
// limit were a parameter, Postgres would not trust a plan without knowing it and plan each page anew: so these are lists
// with one of the usual page sizes, and in the order that an index has. One more than the page, which tells of the next.
const plannedRows = [10, 20, 25, 50, 100, 200, 250, 500, 1000].map((pageSize) => pageSize + 1);

function nameOf({ filter, words, orderBy, after, rowsMax }: UserListing): string {
  if (filter !== undefined || words.length > 0 || !plannedRows.includes(rowsMax)) return '';
  const [term, ...others] = orderBy;
  if (term === undefined || others.length > 0 || term.descending || !indexedFields.includes(term.field)) return '';
  return `list-users-${term.field}-${rowsMax}${after === undefined ? '' : '-after'}`;
}

/** The statement for a page, and its values. */
export function listStatement(listing: UserListing): { statement: Statement; values: readonly unknown[] } {
  const { orderBy, after, rowsMax } = listing;
  const { bind, values } = createBinder();
  const conditions = conditionsOf(listing, bind);
  if (after !== undefined) conditions.push(behind(orderBy, after, bind));
  const order = orderBy.map(({ field, descending }) => `${orderExpressions[field]} ${descending ? 'DESC' : 'ASC'}`);
  // It costs more than all other columns together.
  const emailKey = orderBy.some(({ field }) => field === 'email') ? orderExpressions.email : "''";
  const text = `select ${textColumns}, ${emailKey} from users u ${whereOf(conditions)}
    order by ${[...order, 'u.id ASC'].join(', ')} limit ${rowsMax}`;
  return { statement: { name: nameOf(listing), text }, values };
}

export function listUsers(database: Database, listing: UserListing, signal: AbortSignal): Promise<ListedUser[]> {
  return database.withConnection(signal, async (run) => {
    const { statement, values } = listStatement(listing);
    const rows = await run(statement, values);
    return rows.map(listedUser);
  });
}

/** How many users match, over all pages. */
export function countUsers(
  database: Database,
  listing: Pick<UserListing, 'filter' | 'words'>,
  signal: AbortSignal,
): Promise<number> {
  return database.withConnection(signal, async (run) => {
    const { bind, values } = createBinder();
    const text = `select count(*) from users u ${whereOf(conditionsOf(listing, bind))}`;
    const [row] = await run({ name: '', text }, values);
    return Number(row?.[0]);
  });
}

function conditionsOf({ filter, words }: Pick<UserListing, 'filter' | 'words'>, bind: Bind): string[] {
  const conditions = words.map(
    (word) => `strpos(${searchText}, lower(normalize(CAST(${bind(word)} AS text), NFC) collate "und-x-icu")) > 0`,
  );
  if (filter !== undefined) conditions.push(filterSql(filter, bind));
  return conditions;
}

const keyTypes: Record<OrderField, string> = {
  create_time: 'timestamptz(3)',
  update_time: 'timestamptz(3)',
  first_name: 'text',
  last_name: 'text',
  email: 'text',
};

/** The condition for the rows behind a position in an order. */
function behind(orderBy: readonly OrderTerm[], after: PagePosition, bind: Bind): string {
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

function listedUser(row: Row): ListedUser {
  const [attributes, emailKey] = row.slice(-2) as [string, string];
  const user = { ...userOf(row), attributes: parseJson(attributes) as JsonObject };
  return { user, emailKey, attributesBytes: attributes.length };
}

/** Where a user stands in the order that it was listed in. */
export function positionOf({ user, emailKey }: ListedUser, orderBy: readonly OrderTerm[]): PagePosition {
  const keys: Record<OrderField, string | number> = {
    create_time: user.createTime.getTime(),
    update_time: user.updateTime.getTime(),
    first_name: user.firstName,
    last_name: user.lastName,
    email: emailKey,
  };
  return { keys: orderBy.map(({ field }) => keys[field]), id: user.id };
}
