/**
 * Deletes the users of many calls with one statement, and returns one outcome for each.
 *
 * The SQL is hand-written for the same reason as in update-users.ts. The statement locks users in the order of their
 * ids, like updates, to avoid deadlocks.
 */
import { arrayParameter } from '../database/columns.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { authorArrays, authorColumns, authorValues, logChanges } from './changes.js';
import { forUpdate, type Locking, locked, outcomesOrLocked, statementsFor } from './locking.js';

export interface UserDeletion {
  id: string;
  /** The required version; undefined accepts any version. */
  version: number | undefined;
  author?: ChangeAuthor;
}

const deleteStatements = statementsFor(
  'delete-users',
  (locking) => `
    input as (
      select * from unnest(${arrayParameter(1, 'uuid')}, ${arrayParameter(2, 'integer')}, ${authorArrays(3)}) as input(id, version, ${authorColumns})
    ), found as (
      select users.id, users.version from users join input using (id) cross join lock_setting order by users.id
      ${forUpdate[locking]}
    ), deleted as (
      delete from users using found join input using (id)
      where users.id = found.id and (input.version is null or input.version = found.version)
      returning users.id
    ), logged as (${logChanges('deleted', 'deleted join input using (id)', authorColumns)})
    select input.id, found.id is not null, deleted.id is not null
    from input join users using (id) left join found using (id) left join deleted using (id)`,
);

export type DeletionOutcome = 'deleted' | 'USER_NOT_FOUND' | 'ETAG_MISMATCH' | typeof locked;

/** Ids must be unique. */
export function deleteUsers(
  database: Database,
  deletions: readonly UserDeletion[],
  locking: Locking = 'wait',
): Promise<DeletionOutcome[]> {
  return outcomesOrLocked(locking, deletions, async () => {
    const rows = await database.run(deleteStatements[locking], [
      deletions.map((deletion) => deletion.id),
      deletions.map((deletion) => deletion.version ?? null),
      ...authorValues(deletions),
    ]);
    const outcomes = new Map<string, DeletionOutcome>();
    for (const [id, isFound, isDeleted] of rows as [string, boolean, boolean][]) {
      if (!isFound) outcomes.set(id, locking === 'skip' ? locked : 'USER_NOT_FOUND');
      else outcomes.set(id, isDeleted ? 'deleted' : 'ETAG_MISMATCH');
    }
    return deletions.map(({ id }) => outcomes.get(id) ?? 'USER_NOT_FOUND');
  });
}
