/**
 * Reads all users as of one snapshot, on a separate connection.
 *
 * Memory does not depend on the number of users or the caller's speed: at most two pieces are in memory.
 */
import type pg from 'pg';
import { openPortal } from '../database/binary-query.js';
import { userColumnsOf } from '../database/columns.js';
import type { Database } from '../database/database.js';
import { faultOf } from '../database/errors.js';
import type { Session } from '../database/session.js';
import type { Filter } from '../model/filter.js';
import type { StoredUser } from '../model/stored-user.js';
import type { WatchPosition } from '../model/watch-token.js';
import { nextRows } from './cursor-rows.js';
import { createBinder, filterSql, whereOf } from './filter-sql.js';
import { feedPositionText, safePosition } from './read-changes.js';
import { noteTimelineText, runOnNotedTimeline } from './timelines.js';

export interface SnapshotPiece {
  /** In ascending order of ids. */
  users: StoredUser[];
  /** Only the last piece may be empty. */
  isLast: boolean;
}

export interface UsersQuery {
  readonly filter?: Filter | undefined;
  /** Only users with a greater id. */
  readonly after?: string | undefined;
}

export interface UsersSnapshot extends AsyncDisposable {
  /** The position of the snapshot in the change log. Safe to put into a token (durable-snapshots.ts). */
  readonly position: WatchPosition;
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

const portal = 'users';

/**
 * Opens a snapshot of the users. Disposal or an abort of the signal closes the connection. Only an abort cancels a running
 * statement.
 *
 * A standby has no position of its own. For it, `position` is a position of the primary that it has replayed.
 */
export async function openUsersSnapshot(
  database: Database,
  { filter, after, position: replayed }: UsersQuery & { readonly position?: WatchPosition },
  signal: AbortSignal,
): Promise<UsersSnapshot> {
  const session = await database.openSession(signal);

  /** Throws as the session's own queries do. */
  async function onConnection<T>(send: (client: pg.Client) => Promise<T>): Promise<T> {
    try {
      signal.throwIfAborted();
      return await send(session.client);
    } catch (error) {
      signal.throwIfAborted();
      throw faultOf(error);
    }
  }

  const read = (rowCount: number) => onConnection((client) => nextRows(client, portal, rowCount));

  async function* pieces(): AsyncGenerator<SnapshotPiece, void, undefined> {
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
      yield { users: rows, isLast };
      if (isLast) return;
    }
  }

  try {
    if (replayed !== undefined) {
      await session.query(beginText);
      await session.checkRun();
    }
    const position = replayed ?? (await takeSnapshot(database, session));
    // Overrides timeouts of the server and the role, because the caller may be slow and a filter may match few users.
    await session.query('set local statement_timeout = 0');
    await session.query('set local idle_in_transaction_session_timeout = 0');
    // Postgres starts no workers for a portal that is read in pieces, so a plan that relies on them would be slow.
    await session.query('set local max_parallel_workers_per_gather = 0');
    const { bind, values } = createBinder();
    const conditions = [
      ...(after === undefined ? [] : [`u.id > cast(${bind(after)} as uuid)`]),
      ...(filter === undefined ? [] : [filterSql(filter, bind)]),
    ];
    await onConnection((client) => openPortal(client, portal, snapshotSql(conditions), values));
    return { position, pieces, [Symbol.asyncDispose]: () => session[Symbol.asyncDispose]() };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

const beginText = 'begin isolation level repeatable read, read only';

/** Begins a transaction. Its first statement that reads takes the snapshot. */
async function takeSnapshot(database: Database, session: Session): Promise<WatchPosition> {
  const begin = async () => {
    await session.query(beginText);
    return session.query(feedPositionText);
  };
  const note = async () => {
    await session.query('rollback');
    await session.query(noteTimelineText);
  };
  return safePosition(database, await runOnNotedTimeline(begin, note));
}

/**
 * The statement of a snapshot. With a limit that the planner does not know, it expects to read a tenth of the rows, as
 * it does for a cursor. So it reads along the index instead of sorting all rows first.
 */
export function snapshotSql(conditions: readonly string[]): string {
  return `select ${userColumnsOf('u')} from users u ${whereOf(conditions)} order by u.id limit (select null::bigint)`;
}

/** How many rows to read next, from the size of the last ones: at most twice as many, as the next may be larger. */
function nextRowCount(rows: readonly StoredUser[], rowCount: number): number {
  let bytes = 0;
  for (const { start, end } of rows) bytes += end - start;
  return Math.max(1, Math.min(rowsMax, 2 * rowCount, Math.floor((pieceBytes * rows.length) / bytes)));
}
