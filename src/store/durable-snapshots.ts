/**
 * Makes a snapshot safe to hand out in a token: after a crash of Postgres, no new transaction gets a number that the
 * snapshot counts as finished.
 *
 * Postgres starts again with the transaction number after the highest one in its WAL. A transaction that fails writes its
 * last record without waiting for the disk, so a crash can lose the record, and a later transaction gets the same number.
 * A snapshot counts a transaction as finished only after that record was written, so it is enough that all WAL that
 * existed when the snapshot was taken is on disk. See docs/decisions/0021-tokens-outlive-a-crash.md.
 */
import type { Database, Statement } from './database.js';

/**
 * Whether the snapshot of the statement that contains this expression is safe to hand out. Postgres takes the snapshot
 * before it evaluates the expression. With synchronous standbys it is always false, because this server does not know
 * what they have received: only a commit waits for them.
 */
export const isSnapshotDurable = `(pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()
      and current_setting('synchronous_standby_names') = '')`;

// Writes about 100 bytes of WAL, no row, and needs no rights. The commit waits for the disk, and for synchronous standbys
// if commits of this role do. A role that does not wait at all waits here for this server's disk.
const flushStatement: Statement = {
  name: 'flush-wal',
  text: `
    select pg_logical_emit_message(true, 'roster', ''), set_config('synchronous_commit',
      case current_setting('synchronous_commit') when 'off' then 'local' else current_setting('synchronous_commit') end,
      true)`,
};

/** Makes all snapshots that were taken before this call safe to hand out. */
export async function makeSnapshotsDurable(database: Database): Promise<void> {
  await database.run(flushStatement, []);
}
