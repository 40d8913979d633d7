/**
 * Pages of users in any order, by keyset: a page starts after the last row of the previous page.
 *
 * The SQL consists of closed lists of expressions. Values from callers are always parameters. It is hand-written because
 * each order needs its own index (docs/decisions/0020-indexes-for-lists.md).
 */
import { attributesText, type Column, decodeUser, type Row, userColumns, userColumnsOf } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { UserRow } from '../database/entities/user-row.js';
import type { OrderField } from '../fields.js';
import type { Filter } from '../model/filter.js';
import type { OrderTerm } from '../model/order-by.js';
import type { PagePosition } from '../model/page-token.js';
import type { User } from '../model/user.js';
import { type Bind, createBinder, filterSql, whereOf } from './filter-sql.js';
import { searchText } from './search-index.js';

export interface ListedUser {
  user: User;
  /** Empty unless the order contains the email. */
  emailKey: string;
  /** The size of the attributes as Postgres' JSON text. */
  attributesBytes: number;
}

export interface UserListing {
  filter: Filter | undefined;
  words: readonly string[];
  orderBy: readonly OrderTerm[];
  /** Only rows after this position; undefined for the first page. */
  after: PagePosition | undefined;
  rowsMax: number;
}

/** The column of an order field, which has the same name. */
function columnOf(field: OrderField): Column<keyof User> {
  const column = userColumns.find(({ name }) => name === field);
  if (column === undefined) throw new Error(`The table of users has no column ${field}.`);
  return column;
}

function orderExpression(field: OrderField): string {
  return field === 'email' ? 'email_key(u.email)' : `u.${field}`;
}

// Each index also contains the id, except for the email, which is unique. update_time has no index, because each update
// would then write to every index (docs/decisions/0020-indexes-for-lists.md).
const indexedFields: readonly OrderField[] = ['create_time', 'first_name', 'last_name', 'email'];

// Statements of these shapes are planned once for each connection. Filters and searches have unlimited shapes, and with
// the limit as a parameter, Postgres would plan each page again. So only lists in the order of an index with a common
// page size are named. Each has one row more than the page, which shows whether a next page exists.
const plannedRows = [10, 20, 25, 50, 100, 200, 250, 500, 1000].map((pageSize) => pageSize + 1);

/** The only field of the order, if it has an index. */
function indexedTerm(orderBy: readonly OrderTerm[]): OrderTerm | undefined {
  const [term, ...others] = orderBy;
  return term !== undefined && others.length === 0 && indexedFields.includes(term.field) ? term : undefined;
}

function nameOf({ orderBy, after, rowsMax }: UserListing): string {
  const term = indexedTerm(orderBy);
  if (term === undefined || !plannedRows.includes(rowsMax)) return '';
  return `list-users-${term.field}${term.descending ? '-desc' : ''}-${rowsMax}${after === undefined ? '' : '-after'}`;
}

interface ListStatement {
  statement: Statement;
  values: readonly unknown[];
}

// How many users are read along the index for each requested user, before all matches are collected and sorted. So if
// one in 40 users matches, a page reads about 2,000 users; if fewer match, at most 25,000 of a million are sorted.
// Postgres' own choice assumes that names are evenly spread over the order: it read 800,000 users in name order before
// the first Smith.
const windowShare = 40;
// If no index can find the matches because all words have one or two letters: a wider window before the whole table.
const wideWindowShare = 400;
const windowRowsMax = 40_000;

/**
 * The statements for a page, with their values. If a statement returns fewer rows than requested, the next one replaces
 * it. The last one is always complete.
 */
export function listStatements(listing: UserListing): [...ListStatement[], ListStatement] {
  const { filter, words, orderBy, rowsMax } = listing;
  const term = indexedTerm(orderBy);
  const shares: number[] = [];
  if (term !== undefined && words.length > 0) {
    shares.push(windowShare);
    if (!words.some(hasTrigram)) shares.push(wideWindowShare);
  } else if (filter !== undefined && !isWalked(orderBy)) {
    shares.push(windowShare);
  }
  const windows = shares.map((share) => windowStatement(listing, Math.min(rowsMax * share, windowRowsMax)));
  return [...windows, wholeStatement(listing)];
}

/**
 * Whether Postgres alone chooses how to combine a filter and an order. In the other orders its choice was bad: along
 * the index, a filter without matches took 7 s by last_name, and one with many took 20 s by create_time desc, if a
 * million users had the same time.
 */
function isWalked(orderBy: readonly OrderTerm[]): boolean {
  const term = indexedTerm(orderBy);
  return term === undefined || term.field === 'email' || (term.field === 'create_time' && !term.descending);
}

/** Whether pg_trgm can index a part of the word, as far as this code can know. */
function hasTrigram(word: string): boolean {
  return /[\p{L}\p{N}]{3}/u.test(word);
}

/** The matches among the first `windowRows` users of the order. */
function windowStatement(listing: UserListing, windowRows: number): ListStatement {
  const { bind, values } = createBinder();
  const first = inOrder({ ...listing, rowsMax: windowRows }, [], bind);
  const from = `(${first}) as u ${whereOf(conditionsOf(listing, bind))}`;
  return { statement: { name: '', text: selectPage(listing, from) }, values };
}

function wholeStatement(listing: UserListing): ListStatement {
  const { bind, values } = createBinder();
  const conditions = conditionsOf(listing, bind);
  if (listing.words.length === 0 && (conditions.length === 0 || isWalked(listing.orderBy))) {
    const name = conditions.length === 0 ? nameOf(listing) : '';
    return { statement: { name, text: selectPage(listing, `(${inOrder(listing, conditions, bind)}) as u`) }, values };
  }
  // OFFSET 0 prevents Postgres from walking the order's index in the hope of early matches.
  const all = `select u.* from users u ${whereOf([...conditions, ...positionConditions(listing, bind)])} offset 0`;
  return { statement: { name: '', text: selectPage(listing, `(${all}) as u`) }, values };
}

/** Formats only the page's rows as text, which costs more than finding them. */
function selectPage({ orderBy, rowsMax }: UserListing, from: string): string {
  // This column costs more than all others together.
  const emailKey = orderBy.some(({ field }) => field === 'email') ? orderExpression('email') : "''";
  const rows = `select u.* from ${from} order by ${orderSql(orderBy)} limit ${rowsMax}`;
  return `select ${userColumnsOf('u')}, ${emailKey} from (${rows}) as u order by ${orderSql(orderBy)}`;
}

function orderSql(orderBy: readonly OrderTerm[]): string {
  const order = orderBy.map(({ field, descending }) => `${orderExpression(field)} ${descending ? 'DESC' : 'ASC'}`);
  return [...order, 'u.id ASC'].join(', ');
}

/** The first rows of the order that meet the conditions. */
function inOrder(listing: UserListing, conditions: readonly string[], bind: Bind): string {
  const { orderBy, after, rowsMax } = listing;
  const term = indexedTerm(orderBy);
  if (term?.descending && term.field !== 'email' && conditions.length === 0)
    return downwards(term, after, rowsMax, bind);
  const where = whereOf([...conditions, ...positionConditions(listing, bind)]);
  return `select u.* from users u ${where} order by ${orderSql(orderBy)} limit ${rowsMax}`;
}

/**
 * Reads an index backwards whose ids ascend. Neither direction has that order, and all users of one import share a
 * create_time, so Postgres would sort all of them for each page (750 ms for a million). So it reads three pieces of at
 * most `rowsMax` users: the rest of the ties with the previous page's last user; all users below them, down to the key
 * that the page may end in; and the first users of that key by id.
 */
function downwards({ field }: OrderTerm, after: PagePosition | undefined, rowsMax: number, bind: Bind): string {
  const key = orderExpression(field);
  const last = after && { key: keySql(field, after.keys[0], bind), id: `CAST(${bind(after.id)} AS uuid)` };
  const below = last === undefined ? [] : [`${key} < ${last.key}`];
  const edge = '(select edge.key from edge)';
  // Orders by both columns although ties share the key, so that the planner recognizes the index order.
  const upwards = `order by ${key}, u.id limit ${rowsMax}`;
  const tied = `(select u.* from users u where ${key} = ${last?.key} and u.id > ${last?.id} ${upwards}) union all`;
  return `
    with edge as materialized (
      select min(passed.key) as key
      from (select ${key} as key from users u ${whereOf(below)} order by ${key} desc limit ${rowsMax}) as passed
    )
    select u.* from (
      ${last === undefined ? '' : tied}
      (select u.* from users u ${whereOf([...below, `${key} > ${edge}`])} order by ${key} desc limit ${rowsMax}) union all
      (select u.* from users u where ${key} = ${edge} ${upwards})
    ) as u order by ${key} desc, u.id limit ${rowsMax}`;
}

/** The rows are parsed one by one as they are taken, so that those beyond the page cost nothing. */
export function listUsers(
  database: Database,
  listing: UserListing,
  signal: AbortSignal,
): Promise<Iterable<ListedUser>> {
  return database.withConnection(signal, async (run) => {
    let rows: Row[] = [];
    for (const { statement, values } of listStatements(listing)) {
      rows = await run(statement, values);
      if (rows.length === listing.rowsMax) break;
    }
    return listedUsers(rows);
  });
}

/** Counts the matching users over all pages. */
export function countUsers(
  database: Database,
  listing: Pick<UserListing, 'filter' | 'words'>,
  signal: AbortSignal,
): Promise<number> {
  return database.withConnection(signal, async (run) => {
    const { bind, values } = createBinder();
    const query = database.dataSource.createQueryBuilder(UserRow, 'u').select('count(*)');
    const conditions = conditionsOf(listing, bind);
    if (conditions.length > 0) query.where(conditions.join(' and '));
    const [row] = await run({ name: '', text: query.getQuery() }, values);
    return Number(row?.[0]);
  });
}

function conditionsOf({ filter, words }: Pick<UserListing, 'filter' | 'words'>, bind: Bind): string[] {
  const conditions = words.map((word) => wordSql(word, bind));
  if (filter !== undefined) conditions.push(filterSql(filter, bind));
  return conditions;
}

/** The condition that a word occurs, in the form that the index users_search supports. */
function wordSql(word: string, bind: Bind): string {
  const folded = (text: string) => `lower(normalize(CAST(${bind(text)} AS text), NFC) collate "und-x-icu")`;
  const [name = ''] = word.split('@', 1);
  // Most users have the trigrams of a large domain, and the index would read all of those entries: 90 ms for an email.
  if (name !== word && hasTrigram(name))
    return `(${wordSql(name, bind)} and strpos(${searchText('u')}, ${folded(word)}) > 0)`;
  // LIKE's wildcards and escape are ordinary letters here. Folding comes first, so that it cannot affect the escapes.
  const literal = String.raw`replace(replace(replace(${folded(word)}, '\', '\\'), '%', '\%'), '_', '\_')`;
  // In the collation of the columns and so of the index.
  return `${searchText('u')} like ('%' || ${literal} || '%') collate "C"`;
}

function keySql(field: OrderField, key: string | number | undefined, bind: Bind): string {
  return `CAST(${bind(typeof key === 'number' ? new Date(key).toISOString() : key)} AS ${columnOf(field).type})`;
}

function positionConditions({ orderBy, after }: UserListing, bind: Bind): string[] {
  return after === undefined ? [] : [afterPosition(orderBy, after, bind)];
}

/** The condition for rows after a position in an order. */
function afterPosition(orderBy: readonly OrderTerm[], after: PagePosition, bind: Bind): string {
  const columns = orderBy.map(({ field, descending }, index) => ({
    expression: orderExpression(field),
    value: keySql(field, after.keys[index], bind),
    descending,
  }));
  columns.push({ expression: 'u.id', value: `CAST(${bind(after.id)} AS uuid)`, descending: false });

  // One direction throughout: a row comparison, which can use an index over these columns directly.
  if (columns.every((column) => !column.descending)) {
    const list = (parts: string[]) => `(${parts.join(', ')})`;
    return `${list(columns.map((column) => column.expression))} > ${list(columns.map((column) => column.value))}`;
  }
  // Both directions: a > x or (a = x and (b < y or (b = y and ...))).
  const condition = columns.reduceRight((rest, { expression, value, descending }) => {
    const further = `${expression} ${descending ? '<' : '>'} ${value}`;
    return rest === '' ? further : `(${further} OR (${expression} = ${value} AND ${rest}))`;
  }, '');
  // Repeats the bound of the first column, because only a separate bound lets an index scan start at the right place.
  const [first] = columns;
  return first === undefined
    ? condition
    : `(${first.expression} ${first.descending ? '<=' : '>='} ${first.value} AND ${condition})`;
}

function* listedUsers(rows: readonly Row[]): Generator<ListedUser> {
  for (const row of rows) {
    yield { user: decodeUser(row), emailKey: row.at(-1) as string, attributesBytes: attributesText(row).length };
  }
}

/** The position of a user in the order of its list. */
export function positionOf({ user, emailKey }: ListedUser, orderBy: readonly OrderTerm[]): PagePosition {
  const keyOf = ({ field }: OrderTerm): string | number => {
    const value = user[columnOf(field).property];
    return field === 'email' ? emailKey : value instanceof Date ? value.getTime() : String(value);
  };
  return { keys: orderBy.map(keyOf), id: user.id };
}
