/**
 * The SQL statements of an import. They stage its rows in a temporary table, and then merge them into `users` together.
 *
 * They are hand-written because TypeORM does not support COPY and would send one statement for each row.
 */
import { type Column, fieldColumnNames, fieldList } from '../database/columns.js';
import { logChanges, oneAuthor } from './changes.js';
import { timeAfter } from './update-users.js';

// The value of a field that a row does not set, by the type of the column.
const unsetValues: Readonly<Record<string, string>> = { text: `''`, jsonb: `'{}'` };

function unsetValueOf({ name, type }: Pick<Column<string>, 'name' | 'type'>): string {
  const value = unsetValues[type];
  if (value === undefined) throw new Error(`Imports need the value of an unset ${name}, which has the type ${type}.`);
  return value;
}

/** Like `fieldList`, but `entry` receives the column's name and the value that means that the field is not set. */
function fieldListWithUnset(entry: (name: string, unset: string) => string, separator?: string): string {
  return fieldList((column) => entry(column.name, unsetValueOf(column)), separator);
}

// Each import replaces `staged_users` and `import_steps` with unique names (staged-rows.ts explains why). Postgres
// computes `key` once for each row, while the client is still sending. It has the C collation, like the index.
export const createStagedUsers = `
  create temp table staged_users (
    row bigint not null,
    id uuid not null,
    ${fieldList(({ name, type }) => `${name} ${type} ${type === 'text' ? 'collate "C" ' : ''}not null`)},
    repeated boolean not null default false,
    key text collate "C" not null generated always as (email_key(email)) stored
  )`;

/** The target of the COPY statement. The rows have these columns, in this order. */
export const copyTarget = `staged_users (row, id, ${fieldColumnNames})`;

// Only these columns are used to find or join rows, so the planner needs no statistics on the others.
export const analyzeStagedUsers = 'analyze staged_users (row, id, key, repeated)';

/**
 * The existing user that has the email of a row of `rows`. A lateral join looks up each row, because the planner does
 * not know how expensive email_key is.
 */
const existingUser = (rows: string, columns: string) =>
  `lateral (select ${columns} from users where email_key(users.email) = ${rows}.key limit 1) as existing`;

// The ids of new users ascend, so their entries go to the end of the index changes_user_id. In the order of the keys, each
// would go to another page of it (docs/decisions/0039-the-audit-log-does-not-stop-the-service.md).
const inIdOrder = (rows: string) => `${rows} order by id`;

// Inserts in the order of the keys, as single creates do, to avoid deadlocks with them. If several rows have the same
// key, the first one is inserted.
const insertStatement = (onTaken: string) => `
  with inserted as (
    insert into users (id, ${fieldColumnNames})
    select id, ${fieldColumnNames} from staged_users order by key, row ${onTaken}
    returning id, create_time
  ), logged as (${logChanges('created', inIdOrder('inserted'), oneAuthor(1))})
  select count(*)::integer from inserted`;

export const insertStagedUsersSkippingTaken = insertStatement('on conflict (email_key(email)) do nothing');

// Fails at the first taken email. An import that a taken email ends anyway runs this statement first, because ON
// CONFLICT takes an eighth of the merge: it checks each email before the insert, and marks each row after it.
export const insertStagedUsers = insertStatement('');

export const findRowsNotInserted = `
  select row::integer from staged_users where not exists (select from users where users.id = staged_users.id)
  order by row limit $1`;

export const findTakenRows = `
  with taken as materialized (
    select row from (
      select row, key, row_number() over (partition by key order by row) > 1 as is_repeat from staged_users
    ) as numbered
    where is_repeat or exists (select from ${existingUser('numbered', 'id')})
  )
  select (select count(*)::integer from taken), array(select row::integer from taken order by row limit $1)`;

const repeatedKeys = 'select key from staged_users group by key having count(*) > 1';

// The attributes that the rows of one user set together: of each key the last value. They are null if they are far too large.
// Sorts the pairs of keys and values, so it takes little memory for any number of rows.
export const createMergedUsers = `
  create temp table merged_users as
  with repeated as (
    select key, min(row) as first_row from staged_users group by key having count(*) > 1
  ), pairs as (
    select distinct on (first_row, pair.key) first_row, pair.key as name, pair.value
    from repeated join staged_users using (key) cross join jsonb_each(attributes) as pair
    order by first_row, pair.key, row desc
  ), sizes as (
    select first_row, sum(octet_length(name) + pg_column_size(value)) <= 400000 as fits from pairs group by first_row
  )
  select key, jsonb_object_agg(name, value) filter (where fits) as attributes
  from repeated join sizes using (first_row) join pairs using (first_row) group by key`;

/**
 * Opens a cursor over the keys of users that may have attributes of more than `bytesMax` bytes, with these attributes.
 * Postgres' text has spaces, and digits instead of exponents, so some users are still valid. The text is null if it is far
 * too large.
 */
export const findLargeUsers = (bytesMax: number) => `
  declare merged_users_cursor no scroll cursor with hold for
  select key, merged from (
    select sums.key, (coalesce(existing.attributes, '{}') || sums.attributes)::text as merged
    from (
      select key, attributes from merged_users
      union all
      select key, attributes from staged_users where attributes <> '{}' and key not in (select key from merged_users)
    ) as sums left join ${existingUser('sums', 'attributes')} on true
    offset 0
  ) as users
  where merged is null or octet_length(merged) > ${bytesMax}`;

// Few, because the texts are in memory together.
export const fetchLargeUsers = 'fetch 4 from merged_users_cursor';
export const closeLargeUsers = 'close merged_users_cursor';

export const createRefusedUsers = 'create temp table refused_users (key text collate "C" not null)';
export const refuseUsers = 'insert into refused_users select unnest($1::text[])';

// Deletes the rows that set attributes of refused users. Returns their number, and the first $1 of them.
export const deleteRefusedRows = `
  with removed as (
    delete from staged_users using refused_users
    where staged_users.key = refused_users.key and attributes <> '{}' returning row
  ), forgotten as (
    delete from merged_users using refused_users where merged_users.key = refused_users.key
  )
  select (select count(*)::integer from removed), array(select row::integer from removed order by row limit $1)`;

/** Whether the attributes of a row are added to those of the user, instead of replacing them. */
export type AttributesMode = 'merge' | 'replace';

const isMerged = (column: string, attributes: AttributesMode) => column === 'attributes' && attributes === 'merge';

// Computes what each row changes if rows with the same key are applied one after the other. A row changes a field if
// the previous row that sets the field has a different value. If no previous row sets it, the step keeps the value, so
// that `countSteps` can compare it with the existing user's. Otherwise the value is null.
//
// If attributes are merged, this applies to each key of them. Two users with the same hash would only be counted wrongly.
export const createSteps = (rows: 'all' | 'repeated', attributes: AttributesMode) => {
  const merges = attributes === 'merge';
  const changes = (name: string, unset: string) =>
    isMerged(name, attributes)
      ? 'coalesce(pairs_change, false)'
      : `coalesce(${name} <> ${unset} and ${name}_before <> ${name}, false)`;
  const values = (name: string, unset: string) =>
    isMerged(name, attributes)
      ? `case when is_single then attributes else first_pairs end as ${name}`
      : `case when ${name} <> ${unset} and ${name}_before is null then ${name} end as ${name}`;
  const pairs = `
  with pairs as (
    select row, pair.key as name, pair.value,
      lag(pair.value) over (partition by hashtextextended(staged.key, 0), pair.key order by row) as before
    from staged_users as staged cross join jsonb_each(attributes) as pair where staged.key in (${repeatedKeys})
  ), merged as (
    select row, bool_or(before <> value) as pairs_change,
      jsonb_object_agg(name, value) filter (where before is null) as first_pairs
    from pairs group by row
  )`;
  return `
  create temp table import_steps as ${merges ? pairs : ''}
  select key, is_first,
    ${fieldListWithUnset(changes, ' or ')} as changes,
    ${fieldListWithUnset(values)}
  from (
    select row, key, ${fieldColumnNames}, row_number() over (partition by key order by row) = 1 as is_first,
      ${merges ? 'count(*) over (partition by key) = 1 as is_single,' : ''}
      ${fieldListWithUnset((name, unset) => `lag(${name}) over (partition by key, ${name} = ${unset} order by row) as ${name}_before`)}
    from staged_users
    ${rows === 'all' ? '' : `where key in (${repeatedKeys})`}
  ) as numbered ${merges ? 'left join merged using (row)' : ''}`;
};

export const analyzeSteps = 'analyze import_steps (key, is_first)';

export const countSteps = (attributes: AttributesMode) => {
  const changes = (name: string) => {
    if (!isMerged(name, attributes))
      return `steps.${name} is not null and steps.${name} is distinct from existing.${name}`;
    const own = `coalesce(existing.${name}, '{}')`;
    return `steps.${name} is not null and ${own} || steps.${name} <> ${own}`;
  };
  return `
  select count(*) filter (where creates)::integer, count(*) filter (where not creates and changes)::integer
  from (
    select is_first and existing.id is null as creates,
      changes or ${fieldList(({ name }) => changes(name), ' or ')} as changes
    from import_steps as steps left join ${existingUser('steps', `id, ${fieldColumnNames}`)} on true
  ) as compared`;
};

// Combines rows with the same key into one row. Each field has the last value that one of the rows sets.
export const joinRepeatedRows = (attributes: AttributesMode) => {
  const lastValue = (name: string) => (isMerged(name, attributes) ? 'merged.attributes' : `last_${name}.${name}`);
  const lastRow = (name: string) =>
    isMerged(name, attributes)
      ? 'left join merged_users as merged on merged.key = sources.key'
      : `left join staged_users as last_${name} on last_${name}.row = sources.${name}_row`;
  return `
  with sources as (
    select key, min(row) as first_row, ${fieldListWithUnset((name, unset) => `max(row) filter (where ${name} <> ${unset}) as ${name}_row`)}
    from staged_users where key in (select key from import_steps where is_first) group by key
  ), removed as (
    delete from staged_users using sources where staged_users.key = sources.key
  )
  insert into staged_users (row, id, ${fieldColumnNames}, repeated)
  select first.row, first.id, ${fieldList(({ name }) => `coalesce(${lastValue(name)}, first.${name})`)}, true
  from sources join staged_users as first on first.row = sources.first_row
    ${fieldList(({ name }) => lastRow(name), '\n    ')}`;
};

// Locks the users in the order of their ids, as updates do.
export const lockExistingUsers = `
  with locked as (
    select from users where id in (select existing.id from staged_users cross join ${existingUser('staged_users', 'id')})
    order by id for update
  )
  select count(*)::integer from locked`;

const updatedValue = (attributes: AttributesMode) => (name: string, unset: string) =>
  isMerged(name, attributes)
    ? `existing.${name} || excluded.${name}`
    : `coalesce(nullif(excluded.${name}, ${unset}), existing.${name})`;

// Skips users that would not change. A returned version of 1 means that this statement created the user, because every
// update raises the version.
export const upsertStagedUsers = (attributes: AttributesMode) => {
  const value = updatedValue(attributes);
  return `
  with upserted as (
    insert into users as existing (id, ${fieldColumnNames})
    select id, ${fieldColumnNames} from staged_users where repeated = $1 order by key
    on conflict (email_key(email)) do update set
      ${fieldListWithUnset((name, unset) => `${name} = ${value(name, unset)}`)},
      update_time = ${timeAfter('existing.update_time')},
      version = existing.version + 1
    where (${fieldListWithUnset(value)}) is distinct from (${fieldList(({ name }) => `existing.${name}`)})
    returning id, create_time, update_time, version = 1 as is_new
  ), created as (
    select id, create_time from upserted where is_new
  ), updated as (
    select id, update_time from upserted where not is_new
  ), logged_created as (${logChanges('created', inIdOrder('created'), oneAuthor(2))}
  ), logged_updated as (${logChanges('updated', 'updated', oneAuthor(2))})
  select (select count(*)::integer from created), (select count(*)::integer from updated)`;
};
