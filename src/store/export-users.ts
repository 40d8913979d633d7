/**
 * Reads all users as of one snapshot, on a separate connection.
 *
 * Memory does not depend on the number of users or the caller's speed: at most two pieces are in memory.
 */
import { createPause } from '../concurrency/event-loop.js';
import { attributesText, decodeUserText, userColumnsOf } from '../database/columns.js';
import type { Database } from '../database/database.js';
import { faultOf } from '../database/errors.js';
import type { Filter } from '../model/filter.js';
import type { User } from '../model/user.js';
import { nextRows, type TextRow } from './cursor-rows.js';
import { isSnapshotDurable, makeSnapshotsDurable } from './durable-snapshots.js';
import { createBinder, filterSql, whereOf } from './filter-sql.js';

export interface SnapshotUser {
  user: User;
  /** The size of the attributes as Postgres' JSON text. */
  attributesBytes: number;
}

export interface SnapshotPiece {
  /** In ascending order of ids. */
  users: SnapshotUser[];
  /** Only the last piece may be empty. */
  isLast: boolean;
}

export interface UsersSnapshot extends AsyncDisposable {
  /** Postgres' text of the snapshot: a position in the change log. Safe to put into a token (durable-snapshots.ts). */
  readonly snapshot: string;
  /** The change log that the position belongs to. */
  readonly feedId: string;
  /**
   * Can be called once. Throws the signal's reason after an abort, and Faults of the database. A caller that stops
   * early must dispose of the snapshot.
   */
  pieces(): AsyncGenerator<SnapshotPiece, void, undefined>;
}

// A cursor is read by rows instead of bytes. These limits bound a piece in which large users follow small ones: 256 of
// the largest are 20 MB. Larger pieces are hardly faster.
const rowsFirst = 64;
const rowsMax = 256;
// The size that each piece should have, in the form in which Postgres sends it.
const pieceBytes = 256 * 1024;

/**
 * Opens a snapshot of the users, optionally only of those with an id after `after`. Disposal or an abort of the signal
 * closes the connection. Only an abort cancels a running statement.
 */
export async function openUsersSnapshot(
  database: Database,
  { filter, after }: { filter?: Filter | undefined; after?: string | undefined },
  signal: AbortSignal,
): Promise<UsersSnapshot> {
  const session = await database.openSession(signal);

  async function read(rowCount: number): Promise<TextRow[]> {
    try {
      signal.throwIfAborted();
      return await nextRows(session.client, 'users_cursor', rowCount);
    } catch (error) {
      signal.throwIfAborted();
      throw faultOf(error);
    }
  }

  async function* pieces(): AsyncGenerator<SnapshotPiece, void, undefined> {
    const pause = createPause();
    let rowCount = rowsFirst;
    let next = read(rowCount);
    while (true) {
      const rows = await next;
      const isLast = rows.length < rowCount;
      if (!isLast) {
        rowCount = nextRowCount(rows, rowCount);
        next = read(rowCount);
        // It may fail before it is awaited.
        next.catch(() => {});
      }
      const users: SnapshotUser[] = [];
      for (const row of rows) {
        users.push({ user: decodeUserText(row), attributesBytes: attributesText(row).length });
        await pause();
      }
      yield { users, isLast };
      if (isLast) return;
    }
  }

  try {
    await session.query('begin isolation level repeatable read, read only');
    // Overrides timeouts of the server and the role, because the caller may be slow and a filter may match few users.
    await session.query('set local statement_timeout = 0');
    await session.query('set local idle_in_transaction_session_timeout = 0');
    // The first statement that reads takes the snapshot.
    const [head] = await session.query(`select pg_current_snapshot()::text, id, ${isSnapshotDurable} from change_feed`);
    const [snapshot, feedId, isDurable] = head as [string, string, boolean];
    if (!isDurable) await makeSnapshotsDurable(database);
    const { bind, values } = createBinder();
    const conditions = [
      ...(after === undefined ? [] : [`u.id > cast(${bind(after)} as uuid)`]),
      ...(filter === undefined ? [] : [filterSql(filter, bind)]),
    ];
    await session.query(
      `declare users_cursor no scroll cursor for select ${userColumnsOf('u')} from users u ${whereOf(conditions)} order by u.id`,
      values,
    );
    return { snapshot, feedId, pieces, [Symbol.asyncDispose]: () => session[Symbol.asyncDispose]() };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/** How many rows to read next, from the size of the last ones: at most twice as many, as the next may be larger. */
function nextRowCount(rows: readonly TextRow[], rowCount: number): number {
  let units = 0;
  for (const row of rows) for (const value of row) units += value?.length ?? 0;
  return Math.max(1, Math.min(rowsMax, 2 * rowCount, Math.floor((pieceBytes * rows.length) / units)));
}
