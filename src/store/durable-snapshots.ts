/**
 * Makes a snapshot safe to put into a token: after a crash of Postgres, no new transaction gets a transaction id that
 * the snapshot counts as finished.
 *
 * This holds if all WAL that existed when the snapshot was taken is on disk.
 * docs/decisions/0021-tokens-outlive-a-crash.md explains why.
 */
import type { Database, Statement } from '../database/database.js';
import { Fault } from '../model/fault.js';
import { hasReached } from '../model/watch-token.js';
import { type WalCells, walCells, walPosition } from './timelines.js';

/**
 * SQL for whether the snapshot of a statement with `walPosition` (timelines.ts) is safe to put into a token. Always false
 * with synchronous standbys, because only a commit waits until they have received the WAL.
 */
export const isSnapshotDurable = `(pg_current_wal_flush_lsn() >= wal_position.lsn
      and current_setting('synchronous_standby_names') = '')`;

// Writes about 100 bytes of WAL and no row, and needs no privileges. The commit waits for the disk, and for synchronous
// standbys if this role's commits do. If the role's commits do not wait at all, this one waits for the local disk.
const flushStatement: Statement = {
  name: 'flush-wal',
  text: `
    select pg_logical_emit_message(true, 'roster', ''), set_config('synchronous_commit',
      case current_setting('synchronous_commit') when 'off' then 'local' else current_setting('synchronous_commit') end,
      true), ${walCells('wal_position')}
    from ${walPosition}`,
};

/**
 * Makes a snapshot safe to put into a token, and all earlier ones of the same run of the server. Throws DATABASE_UNAVAILABLE
 * if a failover or a crash came between the snapshot and this call: the commit then says nothing about the WAL from before.
 */
export async function makeSnapshotDurable(database: Database, [lsn, timelineId, run]: WalCells): Promise<void> {
  const [row] = await database.run(flushStatement, []);
  const [, , now, nowId, nowRun, isCurrent] = row as [null, string, ...WalCells];
  if (isCurrent && nowId === timelineId && nowRun === run && hasReached(now, lsn)) return;
  throw new Fault('DATABASE_UNAVAILABLE', 'The database is switching to another server. Try again later.');
}
