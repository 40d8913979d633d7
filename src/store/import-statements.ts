/**
 * The SQL statements of an import. They stage its rows in a temporary table, and then merge all of them into `users`
 * together.
 *
 * They are hand-written because TypeORM does not support COPY and would send one statement for each row.
 */
import { type Column, fieldColumnNames, fieldList } from '../database/columns.js';
import { logChanges } from './changes.js';
import { timeAfter } from './update-users.js';

// The value of a field that a row does not set, by the type of the column.
const unsetValues: Readonly<Record<string, string>> = { text: `''`, jsonb: `'{}'` };

function unsetOf({ name, type }: Pick<Column<string>, 'name' | 'type'>): string {
  const value = unsetValues[type];
  if (value === undefined) throw new Error(`Imports need the value of an unset ${name}, which has the type ${type}.`);
  return value;
}

/** Builds a piece of SQL for each column that clients can write, and joins the pieces. */
function parts(part: (name: string, unset: string) => string, separator = ', '): string {
  return fieldList((column) => part(column.name, unsetOf(column)), separator);
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
 * Finds the user that has a row's email. It is a lateral join, which looks up each row, because the planner does not
 * know how expensive email_key is.
 */
const holderOf = (rows: string, columns: string) =>
  `lateral (select ${columns} from users where email_key(users.email) = ${rows}.key limit 1) as holder`;

// Inserts in the order of the keys, as single creates do, to avoid deadlocks with them. If several rows have the same
// key, the first one is inserted.
const insertStatement = (onTaken: string) => `
  with inserted as (
    insert into users (id, ${fieldColumnNames})
    select id, ${fieldColumnNames} from staged_users order by key, row ${onTaken}
    returning id, create_time
  ), logged as (${logChanges('created', 'inserted')})
  select count(*)::integer from inserted`;

export const insertFreeStagedUsers = insertStatement('on conflict (email_key(email)) do nothing');

// Fails at the first taken email. If a taken email ends the import anyway, this statement runs first, because ON
// CONFLICT takes an eighth of the merge: it checks each email before the insert, and marks each row after it.
export const insertStagedUsers = insertStatement('');

export const findRowsNotInserted = `
  select row::integer from staged_users where not exists (select from users where users.id = staged_users.id)
  order by row limit $1`;

export const findTakenRows = `
  with taken as materialized (
    select row from (
      select row, key, row_number() over (partition by key order by row) > 1 as is_late from staged_users
    ) as numbered
    where is_late or exists (select from ${holderOf('numbered', 'id')})
  )
  select (select count(*)::integer from taken), array(select row::integer from taken order by row limit $1)`;

// Computes what each row changes if rows with the same key are applied one after the other. A row changes a field if
// the previous row that sets the field has a different value. If no previous row sets it, the step keeps the value, so
// that `countSteps` can compare it with the user's. Otherwise the value is null.
export const createSteps = (rows: 'all' | 'repeated') => `
  create temp table import_steps as
  select key, is_first,
    ${parts((name, unset) => `coalesce(${name} <> ${unset} and ${name}_before <> ${name}, false)`, ' or ')} as changes,
    ${parts((name, unset) => `case when ${name} <> ${unset} and ${name}_before is null then ${name} end as ${name}`)}
  from (
    select key, ${fieldColumnNames}, row_number() over (partition by key order by row) = 1 as is_first,
      ${parts((name, unset) => `lag(${name}) over (partition by key, ${name} = ${unset} order by row) as ${name}_before`)}
    from staged_users
    ${rows === 'all' ? '' : 'where key in (select key from staged_users group by key having count(*) > 1)'}
  ) as numbered`;

export const analyzeSteps = 'analyze import_steps (key, is_first)';

export const countSteps = `
  select count(*) filter (where creates)::integer, count(*) filter (where not creates and changes)::integer
  from (
    select is_first and holder.id is null as creates,
      changes or ${parts((name) => `steps.${name} is not null and steps.${name} is distinct from holder.${name}`, ' or ')} as changes
    from import_steps as steps left join ${holderOf('steps', `id, ${fieldColumnNames}`)} on true
  ) as judged`;

// Combines rows with the same key into one row. Each field has the last value that one of the rows sets.
export const joinRepeatedRows = `
  with ends as (
    select key, min(row) as first, ${parts((name, unset) => `max(row) filter (where ${name} <> ${unset}) as ${name}_row`)}
    from staged_users where key in (select key from import_steps where is_first) group by key
  ), removed as (
    delete from staged_users using ends where staged_users.key = ends.key
  )
  insert into staged_users (row, id, ${fieldColumnNames}, repeated)
  select first.row, first.id, ${parts((name) => `coalesce(last_${name}.${name}, first.${name})`)}, true
  from ends join staged_users as first on first.row = ends.first
    ${parts((name) => `left join staged_users as last_${name} on last_${name}.row = ends.${name}_row`, '\n    ')}`;

// Locks the users in the order of their ids, as updates do.
export const lockHolders = `
  with locked as (
    select from users where id in (select holder.id from staged_users cross join ${holderOf('staged_users', 'id')})
    order by id for update
  )
  select count(*)::integer from locked`;

const mergedValue = (name: string, unset: string) => `coalesce(nullif(excluded.${name}, ${unset}), held.${name})`;

// Skips users that would not change. A returned version of 1 means that this statement created the user, because every
// update raises the version.
export const upsertStagedUsers = `
  with upserted as (
    insert into users as held (id, ${fieldColumnNames})
    select id, ${fieldColumnNames} from staged_users where repeated = $1 order by key
    on conflict (email_key(email)) do update set
      ${parts((name, unset) => `${name} = ${mergedValue(name, unset)}`)},
      update_time = ${timeAfter('held.update_time')},
      version = held.version + 1
    where (${parts(mergedValue)}) is distinct from (${parts((name) => `held.${name}`)})
    returning id, create_time, update_time, version = 1 as is_new
  ), created as (
    select id, create_time from upserted where is_new
  ), updated as (
    select id, update_time from upserted where not is_new
  ), logged_created as (${logChanges('created', 'created')}
  ), logged_updated as (${logChanges('updated', 'updated')})
  select (select count(*)::integer from created), (select count(*)::integer from updated)`;
