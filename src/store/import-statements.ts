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

// Computes what each row changes if rows with the same key are applied one after the other. A row changes a field if
// the previous row that sets the field has a different value. If no previous row sets it, the step keeps the value, so
// that `countSteps` can compare it with the existing user's. Otherwise the value is null.
export const createSteps = (rows: 'all' | 'repeated') => `
  create temp table import_steps as
  select key, is_first,
    ${fieldListWithUnset((name, unset) => `coalesce(${name} <> ${unset} and ${name}_before <> ${name}, false)`, ' or ')} as changes,
    ${fieldListWithUnset((name, unset) => `case when ${name} <> ${unset} and ${name}_before is null then ${name} end as ${name}`)}
  from (
    select key, ${fieldColumnNames}, row_number() over (partition by key order by row) = 1 as is_first,
      ${fieldListWithUnset((name, unset) => `lag(${name}) over (partition by key, ${name} = ${unset} order by row) as ${name}_before`)}
    from staged_users
    ${rows === 'all' ? '' : 'where key in (select key from staged_users group by key having count(*) > 1)'}
  ) as numbered`;

export const analyzeSteps = 'analyze import_steps (key, is_first)';

export const countSteps = `
  select count(*) filter (where creates)::integer, count(*) filter (where not creates and changes)::integer
  from (
    select is_first and existing.id is null as creates,
      changes or ${fieldList(({ name }) => `steps.${name} is not null and steps.${name} is distinct from existing.${name}`, ' or ')} as changes
    from import_steps as steps left join ${existingUser('steps', `id, ${fieldColumnNames}`)} on true
  ) as compared`;

// Combines rows with the same key into one row. Each field has the last value that one of the rows sets.
export const joinRepeatedRows = `
  with sources as (
    select key, min(row) as first_row, ${fieldListWithUnset((name, unset) => `max(row) filter (where ${name} <> ${unset}) as ${name}_row`)}
    from staged_users where key in (select key from import_steps where is_first) group by key
  ), removed as (
    delete from staged_users using sources where staged_users.key = sources.key
  )
  insert into staged_users (row, id, ${fieldColumnNames}, repeated)
  select first.row, first.id, ${fieldList(({ name }) => `coalesce(last_${name}.${name}, first.${name})`)}, true
  from sources join staged_users as first on first.row = sources.first_row
    ${fieldList(({ name }) => `left join staged_users as last_${name} on last_${name}.row = sources.${name}_row`, '\n    ')}`;

// Locks the users in the order of their ids, as updates do.
export const lockExistingUsers = `
  with locked as (
    select from users where id in (select existing.id from staged_users cross join ${existingUser('staged_users', 'id')})
    order by id for update
  )
  select count(*)::integer from locked`;

const mergedValue = (name: string, unset: string) => `coalesce(nullif(excluded.${name}, ${unset}), existing.${name})`;

// Skips users that would not change. A returned version of 1 means that this statement created the user, because every
// update raises the version.
export const upsertStagedUsers = `
  with upserted as (
    insert into users as existing (id, ${fieldColumnNames})
    select id, ${fieldColumnNames} from staged_users where repeated = $1 order by key
    on conflict (email_key(email)) do update set
      ${fieldListWithUnset((name, unset) => `${name} = ${mergedValue(name, unset)}`)},
      update_time = ${timeAfter('existing.update_time')},
      version = existing.version + 1
    where (${fieldListWithUnset(mergedValue)}) is distinct from (${fieldList(({ name }) => `existing.${name}`)})
    returning id, create_time, update_time, version = 1 as is_new
  ), created as (
    select id, create_time from upserted where is_new
  ), updated as (
    select id, update_time from upserted where not is_new
  ), logged_created as (${logChanges('created', inIdOrder('created'), oneAuthor(2))}
  ), logged_updated as (${logChanges('updated', 'updated', oneAuthor(2))})
  select (select count(*)::integer from created), (select count(*)::integer from updated)`;
