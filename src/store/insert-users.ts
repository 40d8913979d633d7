/**
 * Adds the users of many calls with one statement. Each user is added or rejected independently of the others.
 *
 * The SQL is hand-written because this path is hot: a call that shares a statement with 15 others costs an eighth of
 * TypeORM's insert, which writes no change log (docs/decisions/0025-typeorm-owns-the-tables.md). The statement locks
 * emails in the order of their keys, and then request ids, to avoid deadlocks between statements.
 */
import { arrayParameter, fieldArrays, fieldColumnNames, fieldValues } from '../database/columns.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { Fault } from '../model/fault.js';
import type { User, UserFields } from '../model/user.js';
import { authorArrays, authorColumns, authorValues, logChanges } from './changes.js';
import { type Locking, type locked, outcomesOrLocked, statementsFor } from './locking.js';
import {
  findRequests,
  type RepeatOutcome,
  type RequestKey,
  rememberRequest,
  repeatOutcome,
  storedRequest,
} from './request-ids.js';

export interface NewUser {
  id: string;
  fields: UserFields;
  request: RequestKey | undefined;
  author?: ChangeAuthor;
}

/** Adds the rows whose email is free. */
const insertFree = (rows: string) => `
      insert into users (id, ${fieldColumnNames})
      select id, ${fieldColumnNames} from ${rows}
      order by email_key(email) collate "C", ord
      on conflict (email_key(email)) do nothing
      returning id, create_time`;

const insertStatements = statementsFor('insert-users', () => {
  const input = `unnest(${arrayParameter(1, 'uuid')}, ${fieldArrays(4)}) with ordinality as input(id, ${fieldColumnNames}, ord)`;
  const authors = `unnest(${arrayParameter(1, 'uuid')}, ${authorArrays(2)}) as authors(id, ${authorColumns})`;
  return `
    inserted as (${insertFree(`${input} cross join lock_setting`)}
    ), logged as (${logChanges('created', `inserted join ${authors} using (id)`, authorColumns)})
    select id, create_time from inserted`;
});

const insertOnceStatements = statementsFor('insert-users-once', () => {
  const unknown = 'input cross join lock_setting where not exists (select from known where known.id = input.id)';
  return `
    input as (
      select * from unnest(${arrayParameter(1, 'uuid')}, ${authorArrays(2)}, ${arrayParameter(4, 'uuid')}, ${arrayParameter(5, 'bytea')}, ${fieldArrays(6)})
        with ordinality as input(id, ${authorColumns}, request_id, digest, ${fieldColumnNames}, ord)
    ), known as (
      select input.id, stored.digest = input.digest as same, stored.user_ids from input cross join ${storedRequest('input')}
    ), inserted as (${insertFree(unknown)}
    ), remembered as (
      insert into request_ids (request_id, digest, user_ids)
      select input.request_id, input.digest, array[input.id]
      from inserted join input using (id) where input.request_id is not null
      order by input.request_id
      ${rememberRequest}
    ), logged as (${logChanges('created', 'inserted join input using (id)', authorColumns)})
    select input.id, inserted.create_time, known.same, known.user_ids
    from input left join inserted using (id) left join known using (id)`;
});

export type InsertOutcome = User | RepeatOutcome | 'EMAIL_TAKEN' | typeof locked;

/** Adds each user whose email is free. Request ids must be unique; a Fault means that the lookup of one failed. */
export function insertUsers(
  database: Database,
  users: readonly NewUser[],
  locking: Locking = 'wait',
): Promise<(InsertOutcome | Fault)[]> {
  // The statement with request ids costs Postgres an eighth more.
  const insert = users.some((user) => user.request !== undefined) ? insertOnce : insertPlain;
  return outcomesOrLocked(locking, users, () => insert(database, users, locking));
}

async function insertPlain(
  database: Database,
  users: readonly NewUser[],
  locking: Locking,
): Promise<(InsertOutcome | Fault)[]> {
  const rows = await database.run(insertStatements[locking], [
    users.map((user) => user.id),
    ...authorValues(users),
    ...fieldValues(users.map((user) => user.fields)),
  ]);
  const times = new Map(rows.map((row) => [row[0] as string, row[1] as Date]));
  return users.map((user) => {
    const time = times.get(user.id);
    return time === undefined ? 'EMAIL_TAKEN' : newUser(user, time);
  });
}

async function insertOnce(
  database: Database,
  users: readonly NewUser[],
  locking: Locking,
): Promise<(InsertOutcome | Fault)[]> {
  const rows = await database.run(insertOnceStatements[locking], [
    users.map((user) => user.id),
    ...authorValues(users),
    users.map((user) => user.request?.id ?? null),
    users.map((user) => user.request?.digest ?? null),
    ...fieldValues(users.map((user) => user.fields)),
  ]);
  const outcomes = new Map<string, InsertOutcome | Fault>();
  const byId = new Map(users.map((user) => [user.id, user]));
  for (const [id, createTime, same, userIds] of rows as [string, Date | null, boolean | null, string[] | null][]) {
    const user = byId.get(id);
    if (user !== undefined && createTime !== null) outcomes.set(id, newUser(user, createTime));
    else if (same !== null && userIds !== null) outcomes.set(id, repeatOutcome(same, userIds));
  }
  // The email may be taken by an earlier attempt of the same call, which committed after this statement began.
  const late = users.filter((user) => user.request !== undefined && !outcomes.has(user.id));
  // If this lookup fails, only these users fail. The others have already been added or rejected.
  const found = await findRequests(
    database,
    late.flatMap((user) => user.request ?? []),
  ).catch((cause: unknown) => {
    const fault = cause instanceof Fault ? cause : new Fault('INTERNAL', 'An internal error.', [], { cause });
    return late.map(() => fault);
  });
  for (const [index, user] of late.entries()) outcomes.set(user.id, found[index] ?? 'EMAIL_TAKEN');
  return users.map((user) => outcomes.get(user.id) ?? 'EMAIL_TAKEN');
}

/** A user as it is in the table after its insert. */
export function newUser({ id, fields }: Pick<NewUser, 'id' | 'fields'>, createTime: Date): User {
  return { id, ...fields, createTime, updateTime: createTime, version: 1 };
}
