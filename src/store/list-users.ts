/**
 * Reads pages of users in any order, with keyset pagination: a page starts after the last row of the previous page.
 *
 * Values from callers are always parameters of the SQL. It is hand-written because it must use the index of each order
 * (docs/decisions/0020-indexes-for-lists.md).
 */
import { type Column, decodeStoredUser, userColumns, userColumnsOf } from '../database/columns.js';
import type { Database, RunStatement, Statement } from '../database/database.js';
import { UserRow } from '../database/entities/user-row.js';
import { type OrderField, sortedCharactersMax } from '../fields.js';
import type { Filter } from '../model/filter.js';
import type { AttributeTerm, FieldTerm, OrderTerm } from '../model/order-by.js';
import type { PagePosition } from '../model/page-token.js';
import { cellAfterUser, type StoredUser, storedText } from '../model/stored-user.js';
import type { User } from '../model/user.js';
import { attributeSql, type Bind, createBinder, filterSql, whereOf } from './filter-sql.js';
import type { ListIndexName } from './list-indexes.js';
import { searchText } from './search-index.js';
import { resolveIds } from './searched-ids.js';

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

/** One column of an ORDER BY. */
interface SortKey {
  readonly expression: string;
  readonly type: string;
  readonly descending: boolean;
  /** Whether positionOf() needs the value in a cell of its own, because the columns of users do not contain it. */
  readonly isSelected: boolean;
}

function sortKeysOf(orderBy: readonly OrderTerm[], bind: Bind): SortKey[] {
  return orderBy.flatMap((term) => ('field' in term ? [fieldKey(term)] : attributeKeys(term, bind)));
}

function fieldKey({ field, descending }: FieldTerm): SortKey {
  const isSelected = field === 'email';
  return { expression: orderExpression(field), type: columnOf(field).type, descending, isSelected };
}

/**
 * Booleans, then numbers, then texts, or the reverse if descending. All other users are last in both directions. Postgres
 * has an order of JSON values, but it depends on the collation of the database.
 */
function attributeKeys({ attribute, descending }: AttributeTerm, bind: Bind): SortKey[] {
  const { json, text } = attributeSql({ kind: 'attribute', path: attribute }, bind);
  const byType = (values: Readonly<Record<string, string>>, otherwise: string) => {
    const whens = Object.entries(values).map(([type, value]) => `WHEN '${type}' THEN ${value}`);
    return `(CASE jsonb_typeof(${json}) ${whens.join(' ')} ELSE ${otherwise} END)`;
  };
  const types = ['boolean', 'number', 'string'];
  const ranks = Object.fromEntries((descending ? types.toReversed() : types).map((type, rank) => [type, String(rank)]));
  const number = { number: `CAST(${text} AS numeric)`, boolean: `CAST(${text} = 'true' AS integer)` };
  const start = `left(${text}, ${sortedCharactersMax})`;
  return [
    { expression: byType(ranks, String(types.length)), type: 'integer', descending: false, isSelected: true },
    { expression: byType(number, '0'), type: 'numeric', descending, isSelected: true },
    { expression: `${byType({ string: start }, "''")} COLLATE "C"`, type: 'text', descending, isSelected: true },
  ];
}

// Each index also contains the id, except for the one on emails, which are unique. update_time has no index, because
// each update would then write to every index (docs/decisions/0020-indexes-for-lists.md).
const indexedFields: readonly OrderField[] = ['create_time', 'email'];
// These indexes are built when they are needed (docs/decisions/0030-indexes-follow-use.md).
const nameIndexes: Partial<Record<OrderField, ListIndexName>> = {
  first_name: 'users_first_name_id',
  last_name: 'users_last_name_id',
};

export type ExistingIndexes = ReadonlySet<ListIndexName>;

/** Knows which of the indexes that lists can do without exist. */
export interface ListIndexLookup {
  /** The indexes that existed at the last check. */
  readonly known: ExistingIndexes;
  /** Returns the existing indexes. `wanted` are those that the list would use, and `run` runs on its connection. */
  existing(wanted: readonly ListIndexName[], run: RunStatement): Promise<ExistingIndexes>;
}

/** The indexes that a list would use if they existed. */
function wantedIndexes({ words, orderBy }: UserListing): ListIndexName[] {
  const [term, ...others] = orderBy;
  const byName = term !== undefined && 'field' in term && others.length === 0 ? nameIndexes[term.field] : undefined;
  const wanted: ListIndexName[] = byName === undefined ? [] : [byName];
  if (words.some(hasTrigram)) wanted.push('users_search');
  return wanted;
}

// The limits of statements with names, which each connection plans only once. Only lists in the order of an index with
// a common page size have names: filters and searches vary without end, and with the limit as a parameter, Postgres
// would plan each page again. Each limit is one more than the page size, to show whether a next page exists.
const namedLimits = [10, 20, 25, 50, 100, 200, 250, 500, 1000].map((pageSize) => pageSize + 1);

/** A listing, and the only field of its order if that has an index. */
interface PlannedListing extends UserListing {
  readonly term: FieldTerm | undefined;
}

function indexedTerm({ orderBy }: Pick<UserListing, 'orderBy'>, existing: ExistingIndexes): FieldTerm | undefined {
  const [term, ...others] = orderBy;
  if (term === undefined || !('field' in term) || others.length > 0) return undefined;
  const index = nameIndexes[term.field];
  const isIndexed = index === undefined ? indexedFields.includes(term.field) : existing.has(index);
  return isIndexed ? term : undefined;
}

/** Whether a page of a list sorts all users, or may have to search all of them without an index. */
export function readsTable(listing: Pick<UserListing, 'orderBy' | 'words'>, existing: ExistingIndexes): boolean {
  if (listing.words.length === 0) return indexedTerm(listing, existing) === undefined;
  return !canUseSearchIndex(listing, existing);
}

function canUseSearchIndex({ words }: Pick<UserListing, 'words'>, existing: ExistingIndexes): boolean {
  return existing.has('users_search') && words.some(hasTrigram);
}

/** Empty for a list that sorts the whole table, because statements with names must not read whole tables. */
function nameOf({ term, after, rowsMax }: PlannedListing): string {
  if (term === undefined || !namedLimits.includes(rowsMax)) return '';
  return `list-users-${term.field}${term.descending ? '-desc' : ''}-${rowsMax}${after === undefined ? '' : '-after'}`;
}

interface ListStatement {
  statement: Statement;
  values: readonly unknown[];
  /** Only worth running if the previous statement returned at least this many rows. */
  rowsBefore?: number;
}

// How many users are first read along the index of the order for each requested user. Only if they have too few
// matches, all matches are collected and sorted. A page of 50 thus reads 2,000 users if one in 40 matches. If fewer
// match, at most 25,000 of a million are sorted. Postgres' planner assumes that matches are evenly spread over the
// order: it read 800,000 users in name order before the first Smith.
const windowFactor = 40;
// Read next if the first window has a quarter of the page. To collect all matches of a name that one in 64 of a million
// users has takes 65 ms, and to read this window 10 ms.
const secondWindowFactor = 200;
// Used before the whole table is read if no index can find the matches, because all words have one or two letters or
// because the index is missing.
const wideWindowFactor = 400;
const windowRowsMax = 40_000;

/**
 * The statements for a page, with their values. If a statement returns fewer rows than requested, its result may be
 * incomplete, and the next one that is worth running must run. The result of the last one is always complete.
 */
export function listStatements(
  userListing: UserListing,
  existing: ExistingIndexes,
): [...ListStatement[], ListStatement] {
  const listing = { ...userListing, term: indexedTerm(userListing, existing) };
  const { filter, words, term, rowsMax } = listing;
  const windows: ListStatement[] = [];
  let previousRows = 0;
  const addWindow = (factor: number, rowsBefore?: number) => {
    const windowRows = Math.min(rowsMax * factor, windowRowsMax);
    // Large pages reach the maximum with the first window, and must not read it twice.
    if (windowRows > previousRows) windows.push({ ...windowStatement(listing, windowRows), rowsBefore });
    previousRows = windowRows;
  };
  if (term !== undefined && words.length > 0) {
    addWindow(windowFactor);
    if (canUseSearchIndex(listing, existing)) addWindow(secondWindowFactor, rowsMax / 4);
    else addWindow(wideWindowFactor);
  } else if (filter !== undefined && !trustsPlanner(term)) {
    addWindow(windowFactor);
  }
  return [...windows, wholeStatement(listing)];
}

/**
 * Whether Postgres' planner decides how to combine a filter with this order. In the other orders it chose to read along
 * the index, which was slow: with a million users, a filter without matches took 7 s by last_name, and a filter with
 * many matches took 20 s by create_time desc if all users had the same time.
 */
function trustsPlanner(term: FieldTerm | undefined): boolean {
  return term === undefined || term.field === 'email' || (term.field === 'create_time' && !term.descending);
}

/** Whether pg_trgm can probably index a part of the word. Which characters are letters depends on the database. */
function hasTrigram(word: string): boolean {
  return /[\p{L}\p{N}]{3}/u.test(word);
}

/** The matches among the first `windowRows` users of the order. */
function windowStatement(listing: PlannedListing, windowRows: number): ListStatement {
  const { bind, values } = createBinder();
  const keys = sortKeysOf(listing.orderBy, bind);
  const first = firstRows({ ...listing, rowsMax: windowRows }, keys, [], bind);
  const from = `(${first}) as u ${whereOf(conditionsOf(listing, bind))}`;
  return { statement: { name: '', text: selectPage(listing, keys, from) }, values };
}

// The statements with names that have been used, at most 144. Building the text of a statement takes 3 % of a list's CPU.
const namedStatements = new Map<string, Statement>();

function wholeStatement(listing: PlannedListing): ListStatement {
  const { filter, words, after } = listing;
  const name = filter === undefined && words.length === 0 ? nameOf(listing) : '';
  const named = namedStatements.get(name);
  if (named !== undefined) return { statement: named, values: positionValues(after) };

  const { bind, values } = createBinder();
  const keys = sortKeysOf(listing.orderBy, bind);
  const conditions = conditionsOf(listing, bind);
  if (words.length === 0 && (conditions.length === 0 || trustsPlanner(listing.term))) {
    const statement = { name, text: selectPage(listing, keys, `(${firstRows(listing, keys, conditions, bind)}) as u`) };
    if (name !== '') namedStatements.set(name, statement);
    return { statement, values };
  }
  // OFFSET 0 prevents Postgres from reading along the order's index in the hope of early matches.
  const all = `select u.* from users u ${whereOf([...conditions, ...afterPosition(keys, listing.after, bind)])} offset 0`;
  return { statement: { name: '', text: selectPage(listing, keys, `(${all}) as u`) }, values };
}

const pageColumns = userColumnsOf('u');

/** Selects the columns after the limit, because to format a row costs Postgres more than to find it. */
function selectPage({ rowsMax }: UserListing, keys: readonly SortKey[], from: string): string {
  // positionOf() reads them.
  const selected = keys.filter(({ isSelected }) => isSelected).map(({ expression }) => `, CAST(${expression} AS text)`);
  const rows = `select u.* from ${from} order by ${orderSql(keys)} limit ${rowsMax}`;
  return `select ${pageColumns}${selected.join('')} from (${rows}) as u order by ${orderSql(keys)}`;
}

function orderSql(keys: readonly SortKey[]): string {
  const order = keys.map(({ expression, descending }) => `${expression} ${descending ? 'DESC' : 'ASC'}`);
  return [...order, 'u.id ASC'].join(', ');
}

/** The first rows of the order that meet the conditions. */
function firstRows(
  { after, rowsMax, term }: PlannedListing,
  keys: readonly SortKey[],
  conditions: readonly string[],
  bind: Bind,
): string {
  if (term?.descending && term.field !== 'email' && conditions.length === 0)
    return descendingRows(term, after, rowsMax, bind);
  const where = whereOf([...conditions, ...afterPosition(keys, after, bind)]);
  return `select u.* from users u ${where} order by ${orderSql(keys)} limit ${rowsMax}`;
}

/**
 * The first rows if the field descends and the ids of equal keys ascend. The index has this order in neither direction.
 * All users of one import have the same create_time, so Postgres would sort all of them for each page (750 ms for a
 * million). So this combines three parts of at most `rowsMax` users: the remaining users with the key of the previous
 * page's last user; the users with a lower key, down to the key in which the page may end; and the first users with
 * that key, by id.
 */
function descendingRows({ field }: FieldTerm, after: PagePosition | undefined, rowsMax: number, bind: Bind): string {
  const key = orderExpression(field);
  const last = after && {
    key: keySql(columnOf(field).type, after.keys[0], bind),
    id: `CAST(${bind(after.id)} AS uuid)`,
  };
  const below = last === undefined ? [] : [`${key} < ${last.key}`];
  const endKey = '(select page_end.key from page_end)';
  // Orders by both columns although the keys are equal, so that the planner recognizes the index order.
  const byId = `order by ${key}, u.id limit ${rowsMax}`;
  const ties = `(select u.* from users u where ${key} = ${last?.key} and u.id > ${last?.id} ${byId}) union all`;
  return `
    with page_end as materialized (
      select min(page.key) as key
      from (select ${key} as key from users u ${whereOf(below)} order by ${key} desc limit ${rowsMax}) as page
    )
    select u.* from (
      ${last === undefined ? '' : ties}
      (select u.* from users u ${whereOf([...below, `${key} > ${endKey}`])} order by ${key} desc limit ${rowsMax}) union all
      (select u.* from users u where ${key} = ${endKey} ${byId})
    ) as u order by ${key} desc, u.id limit ${rowsMax}`;
}

/** Reads the users of a page. */
export function listUsers(
  database: Database,
  indexes: ListIndexLookup,
  listing: UserListing,
  signal: AbortSignal,
): Promise<StoredUser[]> {
  return database.withConnection(signal, async (run, runBinary) => {
    const resolved = await resolveIds(run, listing);
    const existing = await indexes.existing(wantedIndexes(resolved), run);
    let rows: StoredUser[] = [];
    for (const { statement, values, rowsBefore = 0 } of listStatements(resolved, existing)) {
      if (rows.length < rowsBefore) continue;
      rows = await runBinary(statement, values);
      if (rows.length === listing.rowsMax) break;
    }
    return rows;
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
    const conditions = conditionsOf(await resolveIds(run, listing), bind);
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

/** The condition that the searched text contains a word, in a form that can use the index users_search. */
function wordSql(word: string, bind: Bind): string {
  const folded = (text: string) => `fold_text(CAST(${bind(text)} AS text))`;
  const [name = ''] = word.split('@', 1);
  // For an email, the index searches only the part before the @. Many users may have the trigrams of the domain, and to
  // read all of their entries took 90 ms.
  if (name !== word && hasTrigram(name))
    return `(${wordSql(name, bind)} and strpos(${searchText('u')}, ${folded(word)}) > 0)`;
  // Escapes LIKE's special characters after fold_text, which can return them for other characters, such as ％.
  const literal = String.raw`replace(replace(replace(${folded(word)}, '\', '\\'), '%', '\%'), '_', '\_')`;
  // The index has the collation of the columns, so the pattern needs the same.
  return `${searchText('u')} like ('%' || ${literal} || '%') collate "C"`;
}

function keySql(type: string, key: string | number | undefined, bind: Bind): string {
  return `CAST(${bind(keyValue(key))} AS ${type})`;
}

function keyValue(key: string | number | undefined): string | undefined {
  return typeof key === 'number' ? new Date(key).toISOString() : key;
}

/** The values of a position, in the order in which the functions below and above bind them. */
function positionValues(after: PagePosition | undefined): unknown[] {
  return after === undefined ? [] : [...after.keys.map(keyValue), after.id];
}

/** The conditions for rows after the position. Empty for the first page. */
function afterPosition(keys: readonly SortKey[], after: PagePosition | undefined, bind: Bind): string[] {
  if (after === undefined) return [];
  const columns = keys.map(({ expression, type, descending }, index) => ({
    expression,
    value: keySql(type, after.keys[index], bind),
    descending,
  }));
  columns.push({ expression: 'u.id', value: `CAST(${bind(after.id)} AS uuid)`, descending: false });

  // If all columns ascend: a row comparison, which can use an index on these columns directly.
  if (columns.every((column) => !column.descending)) {
    const list = (items: string[]) => `(${items.join(', ')})`;
    return [`${list(columns.map((column) => column.expression))} > ${list(columns.map((column) => column.value))}`];
  }
  // Otherwise: a > x or (a = x and (b < y or (b = y and ...))).
  const condition = columns.reduceRight((rest, { expression, value, descending }) => {
    const isAfter = `${expression} ${descending ? '<' : '>'} ${value}`;
    return rest === '' ? isAfter : `(${isAfter} OR (${expression} = ${value} AND ${rest}))`;
  }, '');
  // Repeats the bound of the first column, because only a separate bound lets an index scan start at the right place.
  const [first] = columns;
  return first === undefined
    ? [condition]
    : [`${first.expression} ${first.descending ? '<=' : '>='} ${first.value}`, condition];
}

/** The position in the order of a list of a user that it returned. */
export function positionOf(stored: StoredUser, orderBy: readonly OrderTerm[]): PagePosition {
  const user = decodeStoredUser(stored);
  let cell = cellAfterUser;
  const selectedText = () => storedText(stored, cell++);
  const keys = orderBy.flatMap((term): (string | number)[] => {
    // The rank, the number and the text of attributeKeys().
    if ('attribute' in term) return [selectedText(), selectedText(), selectedText()];
    if (term.field === 'email') return [selectedText()];
    const value = user[columnOf(term.field).property];
    return [value instanceof Date ? value.getTime() : String(value)];
  });
  return { keys, id: user.id };
}
