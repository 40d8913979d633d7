/**
 * Pages of users in any order, by keyset: a page starts behind the last one's last row, wherever that is by now.
 *
 * Built from closed lists of expressions; what a caller sent is only ever a parameter.
 */
import type { Filter } from '../model/filter.js';
import type { OrderField, OrderTerm } from '../model/order-by.js';
import type { PagePosition } from '../model/page-token.js';
import type { User } from '../model/user.js';
import type { Database, Row, Statement } from './database.js';
import { type Bind, createBinder, filterSql, whereOf } from './filter-sql.js';
import { attributesText, columns, userOf } from './users.js';

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

// Each with the id behind it, but the email, which no two users share. None on update_time: each update would then have
// to write into every index there is (docs/decisions/0020-indexes-for-lists.md).
const indexedFields: readonly OrderField[] = ['create_time', 'first_name', 'last_name', 'email'];

// A word has no white space in it, so it never matches across the line break that search_text has between two fields.
const searchText = 'search_text(u.first_name, u.last_name, u.email)';

// Statements of one shape are planned once for each connection. Filters and searches have no end of shapes, and where the
// limit were a parameter, Postgres would not trust a plan without knowing it and plan each page anew: so these are lists
// with one of the usual page sizes, and in the order that an index has. One more than the page, which tells of the next.
const plannedRows = [10, 20, 25, 50, 100, 200, 250, 500, 1000].map((pageSize) => pageSize + 1);

/** The one field of an order that an index has. */
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

// How many users are looked at along the index for each that is asked for, before all that match are gathered and sorted.
// So who types what one in forty has gets a page from some 2,000 users, wherever in the order the others are, and what
// fewer have is at most 25,000 of a million to sort. Postgres' own choice between the two takes names for evenly spread over
// the order, which they are not where that is by name: it read 800,000 users on the way to the first Smith.
const windowShare = 40;
// Where no index can gather them, because all words have one or two letters: before the whole table is read.
const wideWindowShare = 400;
const windowRowsMax = 40_000;

/**
 * The statements for a page, each with its values. Where one gives fewer rows than were asked for, the next one counts in
 * its place; the last one always does.
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
 * Whether Postgres decides alone how a filter and an order go together. Not where it has tried: a filter that nobody meets
 * took 7 s by last_name, along the index, and one that many meet 20 s by create_time desc, where a million had one.
 */
function isWalked(orderBy: readonly OrderTerm[]): boolean {
  const term = indexedTerm(orderBy);
  return term === undefined || term.field === 'email' || (term.field === 'create_time' && !term.descending);
}

/** Whether pg_trgm has an index entry for some part of a word, so far as can be told without it. */
function hasTrigram(word: string): boolean {
  return /[\p{L}\p{N}]{3}/u.test(word);
}

/** What matches among the first `windowRows` users of the order. */
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
  // OFFSET 0 keeps Postgres from walking an order's index in the hope of meeting enough of them soon.
  const all = `select u.* from users u ${whereOf([...conditions, ...behindAll(listing, bind)])} offset 0`;
  return { statement: { name: '', text: selectPage(listing, `(${all}) as u`) }, values };
}

/** Only the rows of the page are written out as text, which costs more than to find them. */
function selectPage({ orderBy, rowsMax }: UserListing, from: string): string {
  // It costs more than all other columns together.
  const emailKey = orderBy.some(({ field }) => field === 'email') ? orderExpressions.email : "''";
  const rows = `select u.* from ${from} order by ${orderSql(orderBy)} limit ${rowsMax}`;
  return `select ${columns}, ${emailKey} from (${rows}) as u order by ${orderSql(orderBy)}`;
}

function orderSql(orderBy: readonly OrderTerm[]): string {
  const order = orderBy.map(({ field, descending }) => `${orderExpressions[field]} ${descending ? 'DESC' : 'ASC'}`);
  return [...order, 'u.id ASC'].join(', ');
}

/** The first rows of the order that meet the conditions. */
function inOrder(listing: UserListing, conditions: readonly string[], bind: Bind): string {
  const { orderBy, after, rowsMax } = listing;
  const term = indexedTerm(orderBy);
  if (term?.descending && term.field !== 'email' && conditions.length === 0)
    return downwards(term, after, rowsMax, bind);
  const where = whereOf([...conditions, ...behindAll(listing, bind)]);
  return `select u.* from users u ${where} order by ${orderSql(orderBy)} limit ${rowsMax}`;
}

/**
 * Down an index whose ids go up: no direction of it has that order, and all users of an import have one create_time, all
 * of whom Postgres would sort for each page (750 ms where they are a million). So it reads the page in three pieces of at
 * most `rowsMax` users: the rest of those who tie with the last page's last user; all below them down to the key that the
 * page may end in; and of that key the first by id.
 */
function downwards({ field }: OrderTerm, after: PagePosition | undefined, rowsMax: number, bind: Bind): string {
  const key = orderExpressions[field];
  const last = after && { key: keySql(field, after.keys[0], bind), id: `CAST(${bind(after.id)} AS uuid)` };
  const below = last === undefined ? [] : [`${key} < ${last.key}`];
  const edge = '(select edge.key from edge)';
  // Both columns throughout, although a tie has one key: so the planner sees at once that the index has this order.
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
  const conditions = words.map((word) => wordSql(word, bind));
  if (filter !== undefined) conditions.push(filterSql(filter, bind));
  return conditions;
}

/** The condition that a word occurs, in the form that users_search serves where it is there. */
function wordSql(word: string, bind: Bind): string {
  const folded = (text: string) => `lower(normalize(CAST(${bind(text)} AS text), NFC) collate "und-x-icu")`;
  const [name = ''] = word.split('@', 1);
  // Nearly everybody has the trigrams of a large domain, and the index would read all of their entries: 90 ms for an email.
  if (name !== word && hasTrigram(name))
    return `(${wordSql(name, bind)} and strpos(${searchText}, ${folded(word)}) > 0)`;
  // LIKE's wildcards and its escape are letters like any other here. Folded first, so that nothing depends on them.
  const literal = String.raw`replace(replace(replace(${folded(word)}, '\', '\\'), '%', '\%'), '_', '\_')`;
  // In the collation that the columns have, and from them the index.
  return `${searchText} like ('%' || ${literal} || '%') collate "C"`;
}

const keyTypes: Record<OrderField, string> = {
  create_time: 'timestamptz(3)',
  update_time: 'timestamptz(3)',
  first_name: 'text',
  last_name: 'text',
  email: 'text',
};

function keySql(field: OrderField, key: string | number | undefined, bind: Bind): string {
  return `CAST(${bind(typeof key === 'number' ? new Date(key).toISOString() : key)} AS ${keyTypes[field]})`;
}

function behindAll({ orderBy, after }: UserListing, bind: Bind): string[] {
  return after === undefined ? [] : [behind(orderBy, after, bind)];
}

/** The condition for the rows behind a position in an order. */
function behind(orderBy: readonly OrderTerm[], after: PagePosition, bind: Bind): string {
  const columns = orderBy.map(({ field, descending }, index) => ({
    expression: orderExpressions[field],
    value: keySql(field, after.keys[index], bind),
    descending,
  }));
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

function* listedUsers(rows: readonly Row[]): Generator<ListedUser> {
  for (const row of rows) {
    yield { user: userOf(row), emailKey: row.at(-1) as string, attributesBytes: attributesText(row).length };
  }
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
