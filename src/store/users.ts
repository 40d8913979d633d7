/**
 * Every statement on the users' table but lists: sets of rows in, one outcome for each row out, by index.
 *
 * Each is one statement and so one transaction. Where one row's outcome is a Fault, its neighbours' are not touched.
 * Rows are locked in one order (emails by their key, then request ids; users by id), so that two batches seldom wait for
 * each other in a ring; where they do, as in a swap of emails, `run` runs the loser again.
 */
import { createPause } from '../event-loop.js';
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
import type { Database, Row, Statement } from './database.js';
import { waitedTooLong } from './faults.js';

/**
 * The columns that callers write, with their types. Every statement takes its lists from here: a field that is not in
 * it is a type error, and none is forgotten in one of them.
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
function each(entry: (column: string) => string): string {
  return fieldNames.map((name) => entry(writable[name][0])).join(', ');
}

export const written = each((column) => column);

/**
 * A parameter that is an array, as a subquery, so that the planner cannot see how long it is: else it finds a plan for
 * just this one cheaper than the one that it keeps for all, and plans every statement anew. That was two thirds of what
 * an update cost Postgres.
 */
function array(parameter: number, type: string): string {
  return `(select $${parameter}::${type}[])`;
}

/** The parameters from `$first` on, as arrays of the writable columns' types. */
function arrays(first: number): string {
  return fieldNames.map((name, index) => array(first + index, writable[name][1])).join(', ');
}

/** In the order that `userOf` reads. Written out, never `*`: a column that a later migration adds changes nothing here. */
export const columns = `id, create_time, update_time, version, ${written}`;
export const qualifiedColumns = columns.replaceAll(/\w+/g, 'users.$&');

/** The user in a row, from column `start` on. */
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

/** The values for `arrays`; null for a field that is not to be written. */
function valuesOf(rows: readonly Partial<UserFields>[]): unknown[][] {
  return fieldNames.map((name) =>
    rows.map((row) => {
      const value = row[name];
      return typeof value === 'object' ? JSON.stringify(value) : (value ?? null);
    }),
  );
}

/** What makes a repeated call the same call: a UUID, and a digest of what it asked for. */
export interface RequestKey {
  id: string;
  digest: Buffer;
}

export interface NewUser {
  id: string;
  fields: UserFields;
  request: RequestKey | undefined;
}

/** Users that an earlier call with the same request id has made. */
export interface Repeated {
  readonly repeatedUserIds: readonly string[];
}

/** Stands for a row that somebody else's transaction has locked, in a statement that does not wait for it. */
export const locked = Symbol('locked');

/**
 * What a statement does about locks: `wait` for the connection's lock_timeout, or `skip`. Then it passes over users who
 * are locked; and where it must wait all the same, for whoever is about to take an email, it gives up soon and has done
 * nothing.
 */
export type Locking = 'wait' | 'skip';

const forUpdate: Record<Locking, string> = { wait: 'for update of users', skip: 'for update of users skip locked' };

// Well above what a statement of ours holds a lock for. A setting of the one transaction that the statement is; what
// reads from it is evaluated before anything is locked.
const patience: Record<Locking, string> = {
  wait: 'select',
  skip: `select set_config('lock_timeout', '200ms', true)`,
};

const insertStatement = (locking: Locking): Statement => ({
  name: `insert-users-${locking}`,
  text: `
    with patience as materialized (${patience[locking]}), inserted as (
      insert into users (id, ${written})
      select id, ${written}
      from unnest(${array(1, 'uuid')}, ${arrays(2)}) with ordinality as input(id, ${written}, ord) cross join patience
      order by email_key(email) collate "C", ord
      on conflict (email_key(email)) do nothing
      returning id, create_time
    ), logged as (${logChanges('created', 'inserted', 'create_time')})
    select id, create_time from inserted`,
});
const insertStatements = { wait: insertStatement('wait'), skip: insertStatement('skip') };

// How long a request id is remembered: the contract's 24 hours.
const requestAge = `interval '24 hours'`;

// A request id that somebody else has taken since this statement's snapshot sets a null where none may be, which
// undoes the whole statement: the user must not be there without it. `lostRace` knows that error.
const rememberRequest = `
  on conflict (request_id) do update set
    digest = excluded.digest,
    create_time = excluded.create_time,
    user_ids = case when request_ids.create_time <= now() - ${requestAge} then excluded.user_ids end`;

const insertOnceStatement = (locking: Locking): Statement => ({
  name: `insert-users-once-${locking}`,
  text: `
    with patience as materialized (${patience[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'uuid')}, ${array(3, 'bytea')}, ${arrays(4)})
        with ordinality as input(id, request_id, digest, ${written}, ord)
    ), known as (
      select input.id, request_ids.digest = input.digest as same, request_ids.user_ids
      from input join request_ids using (request_id)
      where request_ids.create_time > now() - ${requestAge}
    ), inserted as (
      insert into users (id, ${written})
      select id, ${written}
      from input cross join patience where not exists (select from known where known.id = input.id)
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
  const description = 'must be another one than that of an earlier call with other users';
  return invalid([{ field: 'request_id', description }], 'REQUEST_ID_REUSED');
}

/**
 * Adds each user whose email is free. No request id may come twice. Outcomes: the user, Repeated, `locked`, EMAIL_TAKEN,
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

/** In a statement that skips, gives `locked` for all of the rows where it gave up: it is not known for which. */
async function orLocked<Outcome>(
  locking: Locking,
  rows: readonly unknown[],
  run: () => Promise<Outcome[]>,
): Promise<(Outcome | typeof locked)[]> {
  try {
    return await run();
  } catch (error) {
    if (locking === 'skip' && waitedTooLong(error)) return rows.map(() => locked);
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
  // An email may be taken by the same call, sent before and committed after this statement had begun.
  const late = requests.filter((user) => !outcomes.has(user.id));
  // The others' users are there by now, whatever becomes of this second look.
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

// Gives no rows where the request id is known: that is all that one which lost a race for it would see again and again.
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

// Somebody may take one email after the other, or free it, while we look; not this often.
const insertAllAttemptsMax = 5;

/**
 * Adds all of the users or none. Answers with them or with those that an earlier call made; throws EMAIL_TAKEN with a
 * violation for each user who is too late, or REQUEST_ID_REUSED.
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
      // The same call may have got there first, or whoever had the email has just been deleted.
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
  return new Fault('EMAIL_TAKEN', `${indexes.length} of the emails are taken; no user was created.`, violations);
}

const selectStatement: Statement = {
  name: 'select-users',
  text: `select ${columns} from users where id = any(${array(1, 'uuid')}::uuid[])`,
};

/** Outcomes: the user, or undefined. Ids may come twice. */
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

// As a plain join the planner reads the whole table for many emails, because it does not know what email_key costs:
// 257 ms in place of 11 for 1000 among 100,000 users.
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

/** What to write of one user; a field that is undefined stays. */
export interface UserUpdate {
  id: string;
  /** The only version that may be changed; undefined for any. */
  version: number | undefined;
  fields: Partial<UserFields>;
}

// A change of nothing writes nothing. `found` holds the rows as they are once they are locked, not as they were when
// the statement began; an email that is free then may still be taken at the write, which fails the whole statement.
const updateStatement = (locking: Locking): Statement => ({
  name: `update-users-${locking}`,
  text: `
    with patience as materialized (${patience[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'integer')}, ${arrays(3)}) as input(id, version, ${written})
    ), found as (
      select ${qualifiedColumns} from users join input using (id) cross join patience order by users.id
      ${forUpdate[locking]}
    ), next as (
      select found.id, found.create_time, found.update_time, found.version,
        input.version is not null and input.version <> found.version as stale,
        input.email is not null and email_key(input.email) <> email_key(found.email) and exists (
          select from users as other where email_key(other.email) = email_key(input.email) and other.id <> found.id
        ) as taken,
        (${each((column) => `coalesce(input.${column}, found.${column})`)}) is distinct from
          (${each((column) => `found.${column}`)}) as changed,
        ${each((column) => `coalesce(input.${column}, found.${column}) as ${column}`)}
      from found join input using (id)
    ), updated as (
      update users set
        ${each((column) => `${column} = next.${column}`)},
        -- Never back, whatever the clock does, and never the same twice.
        update_time = greatest(now()::timestamptz(3), next.update_time + interval '1 millisecond'),
        version = next.version + 1
      from next
      where users.id = next.id and next.changed and not next.stale and not next.taken
      returning users.id, users.update_time, users.version
    ), logged as (${logChanges('updated', 'updated', 'update_time')})
    select input.id, next.id is not null, next.stale, next.taken, next.id, next.create_time,
      coalesce(updated.update_time, next.update_time), coalesce(updated.version, next.version), ${each((column) => `next.${column}`)}
    from input join users using (id) left join next using (id) left join updated using (id)`,
});
const updateStatements = { wait: updateStatement('wait'), skip: updateStatement('skip') };

/** No id may come twice. Outcomes: the user as it is now, `locked`, USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN. */
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

/** What has become of a user who was there when the statement began, and whom it could not lock. */
function notFound(locking: Locking): typeof locked | Fault {
  return locking === 'skip' ? locked : userNotFound();
}

export interface UserDeletion {
  id: string;
  /** The only version that may be deleted; undefined for any. */
  version: number | undefined;
}

const deleteStatement = (locking: Locking): Statement => ({
  name: `delete-users-${locking}`,
  text: `
    with patience as materialized (${patience[locking]}), input as (
      select * from unnest(${array(1, 'uuid')}, ${array(2, 'integer')}) as input(id, version)
    ), found as (
      select users.id, users.version from users join input using (id) cross join patience order by users.id
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

/** No id may come twice. Outcomes: undefined where the user has been deleted, `locked`, USER_NOT_FOUND, ETAG_MISMATCH. */
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

/** Deletes up to `rowsMax` request ids that are too old to count, and says how many it was. */
export async function forgetRequests(database: Database, rowsMax: number): Promise<number> {
  return (await database.run(forgetRequestsStatement, [rowsMax])).length;
}
