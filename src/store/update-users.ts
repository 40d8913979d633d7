/**
 * Updates the users of many calls with one statement, and returns one outcome for each.
 *
 * The SQL is hand-written because this path is hot: a call that shares a statement with 15 others costs a fifth of
 * TypeORM's update, which writes no change log (docs/decisions/0025-typeorm-owns-the-tables.md). The statement locks
 * users in the order of their ids, to avoid deadlocks. If one happens anyway, for example if two calls swap emails,
 * `run` runs the failed statement again.
 */
import {
  arrayParameter,
  decodeUser,
  fieldArrays,
  fieldColumnNames,
  fieldList,
  fieldValues,
  userColumns,
  userColumnsOf,
} from '../database/columns.js';
import type { Database } from '../database/database.js';
import { isEmailTaken } from '../database/errors.js';
import type { ChangeAuthor } from '../model/change-author.js';
import type { RequiredVersion, User, UserFields } from '../model/user.js';
import { authorArrays, authorColumns, authorValues, logChanges } from './changes.js';
import { forUpdate, type Locking, locked, outcomesOrLocked, statementsFor } from './locking.js';
import { isRequired, requiredArrays, requiredColumns, requiredValues } from './required-version.js';

/** The changes to one user; undefined leaves a field unchanged. */
export interface UserUpdate extends RequiredVersion {
  id: string;
  fields: Partial<UserFields>;
  author?: ChangeAuthor;
}

const nextValue = (name: string) => `coalesce(input.${name}, found.${name})`;

/** The time of an update: now, but later than the last update even if the clock goes back or stands still. */
export function timeAfter(updateTime: string): string {
  return `greatest(now()::timestamptz(3), ${updateTime} + interval '1 millisecond')`;
}

// Skips rows that would not change. `found` contains the users as they were when they were locked, not when the
// statement began. An email that was free when it began may be taken when it writes. Then the whole statement fails.
const updateStatements = statementsFor(
  'update-users',
  (locking) => `
    input as (
      select * from unnest(${arrayParameter(1, 'uuid')}, ${requiredArrays(2)}, ${authorArrays(4)}, ${fieldArrays(6)}) as input(id, ${requiredColumns}, ${authorColumns}, ${fieldColumnNames})
    ), found as (
      select ${userColumnsOf('users')} from users join input using (id) cross join lock_setting order by users.id
      ${forUpdate[locking]}
    ), next as (
      select found.id, found.create_time, found.update_time, found.version,
        not ${isRequired} as stale,
        input.email is not null and email_key(input.email) <> email_key(found.email) and exists (
          select from users as other where email_key(other.email) = email_key(input.email) and other.id <> found.id
        ) as taken,
        (${fieldList(({ name }) => nextValue(name))}) is distinct from (${fieldList(({ name }) => `found.${name}`)}) as changed,
        ${fieldList(({ name }) => `${nextValue(name)} as ${name}`)}
      from found join input using (id)
    ), updated as (
      update users set
        ${fieldList(({ name }) => `${name} = next.${name}`)}, update_time = ${timeAfter('next.update_time')}, version = next.version + 1
      from next
      where users.id = next.id and next.changed and not next.stale and not next.taken
      returning ${userColumnsOf('users')}
    ), logged as (${logChanges('updated', 'updated join input using (id)', authorColumns)})
    select input.id, next.id is not null, next.stale, next.taken, ${userColumns.map(({ name }) => `coalesce(updated.${name}, next.${name})`).join(', ')}
    from input join users using (id) left join next using (id) left join updated using (id)`,
);

export type UpdateOutcome = User | 'USER_NOT_FOUND' | 'ETAG_MISMATCH' | 'EMAIL_TAKEN' | typeof locked;

/**
 * Ids must be unique. Returns users as they are after the update. If another transaction takes one of the emails
 * meanwhile, throws EMAIL_TAKEN unless there is only one row.
 */
export function updateUsers(
  database: Database,
  updates: readonly UserUpdate[],
  locking: Locking = 'wait',
): Promise<UpdateOutcome[]> {
  const values = [
    updates.map((update) => update.id),
    ...requiredValues(updates),
    ...authorValues(updates),
    ...fieldValues(updates.map((update) => update.fields)),
  ];
  return outcomesOrLocked(locking, updates, async () => {
    const outcomes = new Map<string, UpdateOutcome>();
    try {
      for (const row of await database.run(updateStatements[locking], values)) {
        const [id, isFound, isStale, isTaken] = row as [string, boolean, boolean, boolean];
        if (!isFound) outcomes.set(id, locking === 'skip' ? locked : 'USER_NOT_FOUND');
        else outcomes.set(id, isStale ? 'ETAG_MISMATCH' : isTaken ? 'EMAIL_TAKEN' : decodeUser(row, 4));
      }
    } catch (error) {
      if (updates.length === 1 && isEmailTaken(error)) return ['EMAIL_TAKEN'];
      throw error;
    }
    return updates.map(({ id }) => outcomes.get(id) ?? 'USER_NOT_FOUND');
  });
}
