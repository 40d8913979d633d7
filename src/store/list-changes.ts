/** Lists the changes to one user that the change log still has, the newest first. */
import type { Database, Statement } from '../database/database.js';
import { type ChangeType, changeTypeOf } from './changes.js';

export interface UserChangeEntry {
  /** The position in the log, ascending for the changes to one user. */
  readonly seq: string;
  readonly type: ChangeType;
  readonly userId: string;
  readonly changeTime: Date;
  /** Undefined if the server did not know the caller, or is too old to record it. */
  readonly actor: string | undefined;
  /** Undefined if the server was too old to record it. */
  readonly requestId: string | undefined;
}

// The order is by the column. A bare `seq` would be the text of the same name in the result, by which 9 is after 10.
const listStatement: Statement = {
  name: 'list-user-changes',
  text: `
    select seq::text, type, change_time, actor, request_id from changes
    where user_id = $1::uuid and seq < $2::bigint
    order by changes.seq desc limit $3`,
};

// The largest bigint.
const afterLast = '9223372036854775807';

/** Returns at most `rowsMax` changes before the entry `before`, by default the latest ones. */
export async function listChanges(
  database: Database,
  { userId, before = afterLast, rowsMax }: { userId: string; before?: string | undefined; rowsMax: number },
): Promise<UserChangeEntry[]> {
  const rows = await database.run(listStatement, [userId, before, rowsMax]);
  return (rows as [string, number, Date, string | null, string | null][]).map(
    ([seq, type, changeTime, actor, requestId]) => ({
      seq,
      type: changeTypeOf(type),
      userId,
      changeTime,
      actor: actor ?? undefined,
      requestId: requestId ?? undefined,
    }),
  );
}
