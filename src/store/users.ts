/**
 * All statements on the users' table except lists. Each takes a set of rows and returns one outcome for each row, by
 * index.
 *
 * Each is one statement and so one transaction. A Fault for one row does not affect the other rows. Rows are locked in
 * a fixed order (emails by key, then request ids; users by id) to avoid deadlocks between batches. After a deadlock
 * anyway, as in a swap of emails, `run` runs the loser again.
 */
import { createPause } from '../concurrency/event-loop.js';
import type { Database, Row, Statement } from '../database/database.js';
import { isLockTimeout } from '../database/errors.js';
import { parseJson } from '../json.js';
import {
  emailTaken,
  emailTakenText,
  etagMismatch,
  Fault,
  invalid,
  userNotFound,
  type Violation,
} from '../model/fault.js';
import type { JsonObject, User, UserFields } from '../model/user.js';
import { logChanges } from './changes.js';

/**
 * The columns that callers write, with their types. Every statement takes its lists from here, so a missing field is a
 * type error and no statement can forget one.
 */
export const writable = {
  firstName: ['first_name', 'text'],
  lastName: ['last_name', 'text'],
  email: ['email', 'text'],
  profileImageUrl: ['profile_image_url', 'text'],
  attributes: ['attributes', 'jsonb'],
} as const satisfies Record<keyof UserFields, readonly [column: string, type: string]>;

export const fieldNames = Object.keys(writable) as (keyof UserFields)[];

/** A list in SQL with one entry for each writable column. */
function columnList(entry: (column: string) => string): string {
  return fieldNames.map((name) => entry(writable[name][0])).join(', ');
}

export const written = columnList((column) => column);

/**
 * An array parameter as a subquery, to hide its length from the planner. Otherwise the plan for the known length seems
 * cheaper than the generic plan, and Postgres plans every statement again: two thirds of an update's cost.
 */
function array(parameter: number, type: string): string {
  return `(select $${parameter}::${type}[])`;
}

/** The parameters from `$first` on, as arrays of the writable columns' types. */
function arrays(first: number): string {
  return fieldNames.map((name, index) => array(first + index, writable[name][1])).join(', ');
}

/** In the order that `userOf` reads. Not `*`, so that a column from a later migration changes nothing here. */
export const columns = `id, create_time, update_time, version, ${written}`;
export const qualifiedColumns = columns.replaceAll(/\w+/g, 'users.$&');

/** Reads the user in a row, from column `start` on. */
export function userOf(row: Row, start = 0): User {
  // In the order of `columns`.
  return {
    id: row[start] as string,
    createTime: row[start + 1] as Date,
    updateTime: row[start + 2] as Date,
    version: row[start + 3] as number,
    firstName: row[start + 4] as string,
    lastName: row[start + 5] as string,
    email: row[start + 6] as string,
    profileImageUrl: row[start + 7] as string,
    attributes: parseJson(attributesText(row, start)) as JsonObject,
  };
}

/** The attributes of the user in a row, as the JSON text that Postgres writes. */
export function attributesText(row: Row, start = 0): string {
  return row[start + 8] as string;
}

/** The values for `arrays`; null for a field that is not written. */
function valuesOf(rows: readonly Partial<UserFields>[]): unknown[][] {
  return fieldNames.map((name) =>
    rows.map((row) => {
      const value = row[name];
      return typeof value === 'object' ? JSON.stringify(value) : (value ?? null);
    }),
  );
}

/** Identifies a repeated call: a UUID, and a digest of the request. */
export interface RequestKey {
  id: string;
  digest: Buffer;
}

export interface NewUser {
  id: string;
  fields: UserFields;
  request: RequestKey | undefined;
}

/** Users that an earlier call with the same request id created. */
export interface Repeated {
  readonly repeatedUserIds: readonly string[];
}

/** The outcome for a row that another transaction has locked, in a statement that does not wait. */
export const locked = Symbol('locked');

/**
 * How a statement handles locks. `wait` waits up to the connection's lock_timeout. `skip` skips locked users; if it
 * must wait because another transaction is taking an email, it fails soon and changes nothing.
 */
export type Locking = 'wait' | 'skip';

const forUpdate: Record<Locking, string> = { wait: 'for update of users', skip: 'for update of users skip locked' };

// Well above the time for which Roster's statements hold a lock. The setting is local to the statement's transaction,
// and the statement reads from it so that it applies before any lock is taken.
const lockSetting: Record<Locking, string> = {
  wait: 'select',
  skip: `select set_config('lock_timeout', '200ms', true)`,
};

const insertStatement = (locking: Locking): Statement => ({
  name: `insert-users-${locking}`,
  text: `
    with lock_setting as materialized (${lockSetting[locking]}), inserted as (
      insert into users (id, ${written})
      select id, ${written}
      from unnest(${array(1, 'uuid')}, ${arrays(2)}) with ordinality as input(id, ${written}, ord) cross join lock_setting
      order by email_key(email) collate "C", ord
      on conflict (email_key(email)) do nothing
      returning id, create_time
    ), logged as (${logChanges('created', 'inserted', 'create_time')})
    select id, create_time from inserted`,
});
const insertStatements = { wait: insertStatement('wait'), skip: insertStatement('skip') };

// How long a request id is kept: the contract's 24 hours.
const requestAge = `interval '24 hours'`;

// If another transaction has used the request id since this statement's snapshot, this sets a null that violates a
// constraint and undoes the whole statement: a user must not exist without its request id. `lostRace` recognizes the
// error.
const rememberRequest = `
  on conflict (request_id) do update set
    digest = excluded.digest,
    create_time = excluded.create_time,
    user_ids = case when request_ids.create_time <= now() - ${requestAge} then excluded.user_ids end`;

const insertOnceStatement = (locking: Locking): Statement => ({
  name: `insert-users-once-${locking}`,
  text: `
    with lock_setting as materialized (${lockSetting[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'uuid')}, ${array(3, 'bytea')}, ${arrays(4)})
        with ordinality as input(id, request_id, digest, ${written}, ord)
    ), known as (
      select input.id, request_ids.digest = input.digest as same, request_ids.user_ids
      from input join request_ids using (request_id)
      where request_ids.create_time > now() - ${requestAge}
    ), inserted as (
      insert into users (id, ${written})
      select id, ${written}
      from input cross join lock_setting where not exists (select from known where known.id = input.id)
      order by email_key(email) collate "C", ord
      on conflict (email_key(email)) do nothing
      returning id, create_time
    ), remembered as (
      insert into request_ids (request_id, digest, user_ids)
      select input.request_id, input.digest, array[input.id]
      from inserted join input using (id) where input.request_id is not null
      order by input.request_id
      ${rememberRequest}
    ), logged as (${logChanges('created', 'inserted', 'create_time')})
    select input.id, inserted.create_time, known.same, known.user_ids
    from input left join inserted using (id) left join known using (id)`,
});
const insertOnceStatements = { wait: insertOnceStatement('wait'), skip: insertOnceStatement('skip') };

const findRequestsStatement: Statement = {
  name: 'find-requests',
  text: `
    select input.id, request_ids.digest = input.digest, request_ids.user_ids
    from unnest(${array(1, 'uuid')}, ${array(2, 'uuid')}, ${array(3, 'bytea')}) as input(id, request_id, digest) join request_ids using (request_id)
    where request_ids.create_time > now() - ${requestAge}`,
};

function idsOf(rows: readonly { id: string }[]): string[] {
  return rows.map((row) => row.id);
}

function created(user: Omit<NewUser, 'request'>, createTime: Date): User {
  return { id: user.id, ...user.fields, createTime, updateTime: createTime, version: 1 };
}

function requestOutcome(same: boolean, userIds: readonly string[]): Repeated | Fault {
  return same ? { repeatedUserIds: userIds } : requestIdReused();
}

function requestIdReused(): Fault {
  const description = 'must not be the request_id of an earlier call with different users';
  return invalid([{ field: 'request_id', description }], 'REQUEST_ID_REUSED');
}

/**
 * Adds each user whose email is free. Request ids must be unique. Outcomes: the user, Repeated, `locked`, EMAIL_TAKEN,
 * REQUEST_ID_REUSED.
 */
export function insertUsers(
  database: Database,
  users: readonly NewUser[],
  locking?: 'wait',
): Promise<(User | Repeated | Fault)[]>;
export function insertUsers(
  database: Database,
  users: readonly NewUser[],
  locking: Locking,
): Promise<(User | Repeated | typeof locked | Fault)[]>;
export function insertUsers(
  database: Database,
  users: readonly NewUser[],
  locking: Locking = 'wait',
): Promise<(User | Repeated | typeof locked | Fault)[]> {
  return orLocked(locking, users, () => insertOrWait(database, users, locking));
}

/**
 * If a skipping statement reached its lock timeout, returns `locked` for all rows, because the blocked row is unknown.
 */
async function orLocked<Outcome>(
  locking: Locking,
  rows: readonly unknown[],
  run: () => Promise<Outcome[]>,
): Promise<(Outcome | typeof locked)[]> {
  try {
    return await run();
  } catch (error) {
    if (locking === 'skip' && isLockTimeout(error)) return rows.map(() => locked);
    throw error;
  }
}

async function insertOrWait(
  database: Database,
  users: readonly NewUser[],
  locking: Locking,
): Promise<(User | Repeated | Fault)[]> {
  const fieldValues = valuesOf(users.map((user) => user.fields));
  const requests = users.filter((user) => user.request !== undefined);
  if (requests.length === 0) {
    const rows = await database.run(insertStatements[locking], [idsOf(users), ...fieldValues]);
    const times = new Map(rows.map((row) => [row[0] as string, row[1] as Date]));
    return users.map((user) => {
      const time = times.get(user.id);
      return time === undefined ? emailTaken('user.email') : created(user, time);
    });
  }
  const rows = await database.run(insertOnceStatements[locking], [
    idsOf(users),
    users.map((user) => user.request?.id ?? null),
    users.map((user) => user.request?.digest ?? null),
    ...fieldValues,
  ]);
  const outcomes = new Map<string, User | Repeated | Fault>();
  const byId = new Map(users.map((user) => [user.id, user]));
  for (const [id, createTime, same, userIds] of rows as [string, Date | null, boolean | null, string[] | null][]) {
    const user = byId.get(id);
    if (user !== undefined && createTime !== null) outcomes.set(id, created(user, createTime));
    else if (same !== null && userIds !== null) outcomes.set(id, requestOutcome(same, userIds));
  }
  // The email may be taken by an earlier attempt of the same call, which committed after this statement began.
  const late = requests.filter((user) => !outcomes.has(user.id));
  // The other users already exist, even if this lookup fails.
  const found = await findRequests(database, late).catch((cause: unknown) => {
    const fault = cause instanceof Fault ? cause : new Fault('INTERNAL', 'An internal error.', [], { cause });
    return new Map(late.map((user) => [user.id, fault]));
  });
  for (const [id, outcome] of found) outcomes.set(id, outcome);
  return users.map((user) => outcomes.get(user.id) ?? emailTaken('user.email'));
}

async function findRequests(
  database: Database,
  users: readonly Pick<NewUser, 'id' | 'request'>[],
): Promise<Map<string, Repeated | Fault>> {
  if (users.length === 0) return new Map();
  const rows = await database.run(findRequestsStatement, [
    idsOf(users),
    users.map((user) => user.request?.id),
    users.map((user) => user.request?.digest),
  ]);
  return new Map(
    (rows as [string, boolean, string[]][]).map(([id, same, userIds]) => [id, requestOutcome(same, userIds)]),
  );
}

// Returns no rows if the request id is known. A call that lost a race for it would otherwise lose again and again.
const insertAllStatement: Statement = {
  name: 'insert-all-users',
  text: `
    with known as (
      select from request_ids where request_id = $2::uuid and create_time > now() - ${requestAge}
    ), remembered as (
      insert into request_ids (request_id, digest, user_ids)
      select $2::uuid, $3::bytea, ${array(1, 'uuid')} where $2::uuid is not null and not exists (select from known)
      ${rememberRequest}
    ), inserted as (
      insert into users (id, ${written})
      select id, ${written}
      from unnest(${array(1, 'uuid')}, ${arrays(4)}) as input(id, ${written})
      where not exists (select from known)
      order by email_key(email) collate "C"
      returning id, create_time
    ), logged as (${logChanges('created', 'inserted', 'create_time')})
    select create_time from inserted`,
};

const takenEmailsStatement: Statement = {
  name: 'find-taken-emails',
  text: `
    select ord from (
      select ord, row_number() over (partition by email_key(email) order by ord) > 1
        or exists (select from users where email_key(users.email) = email_key(input.email)) as taken
      from unnest(${array(1, 'text')}) with ordinality as input(email, ord)
    ) as input where taken order by ord`,
};

// Other calls may take or free emails during the lookup, but hardly this often.
const insertAllAttemptsMax = 5;

/**
 * Adds all of the users or none. Returns them, or those that an earlier call created. Throws EMAIL_TAKEN with a
 * violation for each taken email, or REQUEST_ID_REUSED.
 */
export async function insertAllUsers(
  database: Database,
  users: readonly Omit<NewUser, 'request'>[],
  request: RequestKey | undefined,
): Promise<User[] | Repeated> {
  const fieldValues = valuesOf(users.map((user) => user.fields));
  const marker = { id: users[0]?.id ?? '', request };
  for (let attempts = 1; ; attempts++) {
    if (request !== undefined) {
      const known = (await findRequests(database, [marker])).get(marker.id);
      if (known instanceof Fault) throw known;
      if (known !== undefined) return known;
    }
    try {
      const inserted = await database.run(insertAllStatement, [
        idsOf(users),
        request?.id ?? null,
        request?.digest ?? null,
        ...fieldValues,
      ]);
      const [first] = inserted;
      if (first === undefined && users.length > 0) continue;
      return users.map((user) => created(user, first?.[0] as Date));
    } catch (error) {
      if (!(error instanceof Fault) || error.reason !== 'EMAIL_TAKEN') throw error;
      // An earlier attempt of the same call may have succeeded, or the user with the email has just been deleted.
      if (attempts < insertAllAttemptsMax && request !== undefined) {
        if ((await findRequests(database, [marker])).size > 0) continue;
      }
      const taken = await database.run(takenEmailsStatement, [users.map((user) => user.fields.email)]);
      if (taken.length === 0 && attempts < insertAllAttemptsMax) continue;
      throw emailsTaken(taken.map((row) => Number(row[0]) - 1));
    }
  }
}

function emailsTaken(indexes: readonly number[]): Fault {
  const violations = indexes.map(
    (index): Violation => ({ field: `users[${index}].email`, description: emailTakenText }),
  );
  return new Fault('EMAIL_TAKEN', `${indexes.length} of the emails are taken. No user was created.`, violations);
}

const selectStatement: Statement = {
  name: 'select-users',
  text: `select ${columns} from users where id = any(${array(1, 'uuid')}::uuid[])`,
};

/** Outcomes: the user, or undefined. Ids may repeat. */
export async function selectUsers(database: Database, ids: readonly string[]): Promise<(User | undefined)[]> {
  const rows = await database.run(selectStatement, [ids]);
  const users = new Map<string, User>();
  const pause = createPause();
  for (const row of rows) {
    users.set(row[0] as string, userOf(row));
    await pause();
  }
  return ids.map((id) => users.get(id));
}

// With a plain join, the planner reads the whole table for many emails, because it does not know what email_key costs:
// 257 ms instead of 11 ms for 1000 of 100,000 users.
const selectByEmailStatement: Statement = {
  name: 'select-users-by-email',
  text: `
    select ord, ${qualifiedColumns}
    from unnest(${array(1, 'text')}) with ordinality as input(email, ord)
      cross join lateral (select ${columns} from users where email_key(email) = email_key(input.email) limit 1) as users`,
};

/** Outcomes: the user, or undefined. */
export async function selectUsersByEmail(database: Database, emails: readonly string[]): Promise<(User | undefined)[]> {
  const rows = await database.run(selectByEmailStatement, [emails]);
  const users = new Map<number, User>();
  const pause = createPause();
  for (const row of rows) {
    users.set(Number(row[0]) - 1, userOf(row, 1));
    await pause();
  }
  return emails.map((_, index) => users.get(index));
}

/** The changes to one user; undefined leaves a field unchanged. */
export interface UserUpdate {
  id: string;
  /** The required version; undefined accepts any version. */
  version: number | undefined;
  fields: Partial<UserFields>;
}

// Writes nothing if nothing changes. `found` contains the rows as of the lock, not as of the statement's start. An
// email that was free then may be taken at the write, which fails the whole statement.
const updateStatement = (locking: Locking): Statement => ({
  name: `update-users-${locking}`,
  text: `
    with lock_setting as materialized (${lockSetting[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'integer')}, ${arrays(3)}) as input(id, version, ${written})
    ), found as (
      select ${qualifiedColumns} from users join input using (id) cross join lock_setting order by users.id
      ${forUpdate[locking]}
    ), next as (
      select found.id, found.create_time, found.update_time, found.version,
        input.version is not null and input.version <> found.version as stale,
        input.email is not null and email_key(input.email) <> email_key(found.email) and exists (
          select from users as other where email_key(other.email) = email_key(input.email) and other.id <> found.id
        ) as taken,
        (${columnList((column) => `coalesce(input.${column}, found.${column})`)}) is distinct from
          (${columnList((column) => `found.${column}`)}) as changed,
        ${columnList((column) => `coalesce(input.${column}, found.${column}) as ${column}`)}
      from found join input using (id)
    ), updated as (
      update users set
        ${columnList((column) => `${column} = next.${column}`)},
        -- Later than before, even if the clock goes back or stands still.
        update_time = greatest(now()::timestamptz(3), next.update_time + interval '1 millisecond'),
        version = next.version + 1
      from next
      where users.id = next.id and next.changed and not next.stale and not next.taken
      returning users.id, users.update_time, users.version
    ), logged as (${logChanges('updated', 'updated', 'update_time')})
    select input.id, next.id is not null, next.stale, next.taken, next.id, next.create_time,
      coalesce(updated.update_time, next.update_time), coalesce(updated.version, next.version), ${columnList((column) => `next.${column}`)}
    from input join users using (id) left join next using (id) left join updated using (id)`,
});
const updateStatements = { wait: updateStatement('wait'), skip: updateStatement('skip') };

/** Ids must be unique. Outcomes: the user as it is now, `locked`, USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN. */
export function updateUsers(
  database: Database,
  updates: readonly UserUpdate[],
  locking?: 'wait',
): Promise<(User | Fault)[]>;
export function updateUsers(
  database: Database,
  updates: readonly UserUpdate[],
  locking: Locking,
): Promise<(User | typeof locked | Fault)[]>;
export function updateUsers(
  database: Database,
  updates: readonly UserUpdate[],
  locking: Locking = 'wait',
): Promise<(User | typeof locked | Fault)[]> {
  return orLocked(locking, updates, () => updateOrWait(database, updates, locking));
}

async function updateOrWait(
  database: Database,
  updates: readonly UserUpdate[],
  locking: Locking,
): Promise<(User | typeof locked | Fault)[]> {
  const rows = await database.run(updateStatements[locking], [
    idsOf(updates),
    updates.map((update) => update.version ?? null),
    ...valuesOf(updates.map((update) => update.fields)),
  ]);
  const outcomes = new Map<string, User | typeof locked | Fault>();
  for (const row of rows) {
    const [id, isFound, stale, taken] = row as [string, boolean, boolean, boolean];
    if (!isFound) outcomes.set(id, notFound(locking));
    else outcomes.set(id, stale ? etagMismatch() : taken ? emailTaken('user.email') : userOf(row, 4));
  }
  return updates.map((update) => outcomes.get(update.id) ?? userNotFound());
}

/** The outcome for a user that existed when the statement began but could not be locked. */
function notFound(locking: Locking): typeof locked | Fault {
  return locking === 'skip' ? locked : userNotFound();
}

export interface UserDeletion {
  id: string;
  /** The required version; undefined accepts any version. */
  version: number | undefined;
}

const deleteStatement = (locking: Locking): Statement => ({
  name: `delete-users-${locking}`,
  text: `
    with lock_setting as materialized (${lockSetting[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'integer')}) as input(id, version)
    ), found as (
      select users.id, users.version from users join input using (id) cross join lock_setting order by users.id
      ${forUpdate[locking]}
    ), deleted as (
      delete from users using found join input using (id)
      where users.id = found.id and (input.version is null or input.version = found.version)
      returning users.id
    ), logged as (${logChanges('deleted', 'deleted', 'now()')})
    select input.id, found.id is not null, deleted.id is not null
    from input join users using (id) left join found using (id) left join deleted using (id)`,
});
const deleteStatements = { wait: deleteStatement('wait'), skip: deleteStatement('skip') };

/** Ids must be unique. Outcomes: undefined if the user was deleted, `locked`, USER_NOT_FOUND, ETAG_MISMATCH. */
export function deleteUsers(
  database: Database,
  deletions: readonly UserDeletion[],
  locking?: 'wait',
): Promise<(undefined | Fault)[]>;
export function deleteUsers(
  database: Database,
  deletions: readonly UserDeletion[],
  locking: Locking,
): Promise<(undefined | typeof locked | Fault)[]>;
export function deleteUsers(
  database: Database,
  deletions: readonly UserDeletion[],
  locking: Locking = 'wait',
): Promise<(undefined | typeof locked | Fault)[]> {
  return orLocked(locking, deletions, () => deleteOrWait(database, deletions, locking));
}

async function deleteOrWait(
  database: Database,
  deletions: readonly UserDeletion[],
  locking: Locking,
): Promise<(undefined | typeof locked | Fault)[]> {
  const rows = await database.run(deleteStatements[locking], [
    idsOf(deletions),
    deletions.map((deletion) => deletion.version ?? null),
  ]);
  const outcomes = new Map<string, undefined | typeof locked | Fault>();
  for (const [id, isFound, isDeleted] of rows as [string, boolean, boolean][]) {
    if (!isFound) outcomes.set(id, notFound(locking));
    else outcomes.set(id, isDeleted ? undefined : etagMismatch());
  }
  return deletions.map(({ id }) => (outcomes.has(id) ? outcomes.get(id) : userNotFound()));
}

const forgetRequestsStatement: Statement = {
  name: 'forget-requests',
  text: `
    delete from request_ids where request_id in (
      select request_id from request_ids where create_time <= now() - ${requestAge} order by create_time limit $1
      for update skip locked
    ) returning request_id`,
};

/** Deletes up to `rowsMax` expired request ids. Returns the number of deleted ids. */
export async function deleteExpiredRequests(database: Database, rowsMax: number): Promise<number> {
  return (await database.run(forgetRequestsStatement, [rowsMax])).length;
}
