/**
 * Deletes the users of many calls with one statement, and returns one outcome for each.
 *
 * The SQL is hand-written for the same reason as in update-users.ts. The statement locks users in the order of their
 * ids, like updates, to avoid deadlocks.
 */
import { arrayParameter } from '../database/columns.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import type { RequiredVersion } from '../model/user.js';
import { authorArrays, authorColumns, authorValues, logChanges } from './changes.js';
import { forUpdate, type Locking, locked, outcomesOrLocked, statementsFor } from './locking.js';
import { isRequired, requiredArrays, requiredColumns, requiredValues } from './required-version.js';

export interface UserDeletion extends RequiredVersion {
  id: string;
  author?: ChangeAuthor;
}

const deleteStatements = statementsFor(
  'delete-users',
  (locking) => `
    input as (
      select * from unnest(${arrayParameter(1, 'uuid')}, ${requiredArrays(2)}, ${authorArrays(4)}) as input(id, ${requiredColumns}, ${authorColumns})
    ), found as (
      select users.id, users.version, users.update_time from users join input using (id) cross join lock_setting order by users.id
      ${forUpdate[locking]}
    ), deleted as (
      delete from users using found join input using (id)
      where users.id = found.id and ${isRequired}
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
      ...requiredValues(deletions),
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
