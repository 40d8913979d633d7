/**
 * Reads the change log in windows between two snapshots: the changes that the newer snapshot sees and the older one
 * does not.
 *
 * Neither seq nor xid alone is a cursor, because a transaction may commit after another one with a higher seq and xid.
 * Consecutive windows contain each change exactly once, and within a window the changes of one user are in the order of
 * seq (`logChanges`). No open transaction delays the reader. docs/decisions/0013-the-feed-reads-between-snapshots.md
 * explains it.
 */
import { createPause } from '../concurrency/event-loop.js';
import { attributesText, decodeUser, type Row, userColumnsOf } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { Fault } from '../model/fault.js';
import type { User } from '../model/user.js';
import { snapshotOf, type WalPosition, type WatchPosition } from '../model/watch-token.js';
import { type ChangeType, changeTypeOf } from './changes.js';
import { isSnapshotDurable, makeSnapshotDurable } from './durable-snapshots.js';
import {
  isKept,
  noteTimeline,
  runOnNotedTimeline,
  type WalCells,
  walCellCount,
  walCells,
  walPosition,
} from './timelines.js';

export interface Change {
  readonly type: ChangeType;
  readonly userId: string;
  /** The current state, which may be later than the change; undefined if the user has been deleted. */
  readonly user: User | undefined;
  /** The size of the user's attributes as Postgres' JSON text; undefined without a user. */
  readonly attributesBytes?: number;
  readonly changeTime: Date;
  /** Undefined if the server did not know the caller, or is too old to record it. */
  readonly actor: string | undefined;
  /** The x-request-id of the call. Undefined if the server was too old to record it. */
  readonly requestId: string | undefined;
  /** The transaction of the change. */
  readonly xid: bigint;
  /** The position of the change in the log. */
  readonly position: WatchPosition;
}

export interface ChangesPage {
  readonly changes: readonly Change[];
  /**
   * The start of the next page: inside a window if `window` is set, otherwise at a window's end. Without changes it may
   * be the position that the page was read from.
   */
  readonly position: WatchPosition;
}

// The cells of a row of `pageOf`: an entry, the columns of its user, and the feed. An empty page has one row.
type EntryCells = readonly [
  seq: string,
  xid: string,
  type: number,
  userId: string,
  changeTime: Date,
  actor: string | null,
  requestId: string | null,
  foundId: string | null,
];
const userStart = 7;
type FeedCells = [until: string, feedId: string, trimmedXid: string, nextXid: string, isDurable: boolean];
const feedCellCount = 5;

// limit 1, because with a plain join the planner reads all users for one page unless there are very many.
const pageOf = (entries: string, until: string): string => `
    select page.seq, page.xid::text, page.type, page.user_id, page.change_time, page.actor, page.request_id,
      ${userColumnsOf('users')},
      ${until}::text, feed.id, feed.trimmed_xid::text, pg_snapshot_xmax(pg_current_snapshot())::text, feed.is_durable,
      ${walCells('feed')}
    from (
      select change_feed.*, wal_position.*, ${isSnapshotDurable} as is_durable from change_feed cross join ${walPosition}
    ) as feed
      left join lateral (${entries}) as page on true
      left join lateral (select ${userColumnsOf('users')} from users where id = page.user_id limit 1) as users on true
    order by page.seq`;

// Changes that the older snapshot does not see: from transactions that were in progress or began later, read from the
// index on xid. With seq instead of seq + 0, the planner may read the log from its start.
const openWindow: Statement = {
  // Without a name, it is planned again each time. A generic plan would expect a third of the log to be new.
  name: '',
  text: pageOf(
    `select seq, xid, type, user_id, change_time, actor, request_id from changes
     where (xid >= $1::xid8 or xid = any($2::xid8[]))
     order by seq + 0 limit $3`,
    'pg_current_snapshot()',
  ),
};

const continueWindow: Statement = {
  name: 'continue-changes',
  text: pageOf(
    `select seq, xid, type, user_id, change_time, actor, request_id from changes
     where seq > $1::bigint
       and pg_visible_in_snapshot(xid, $2::pg_snapshot) and not pg_visible_in_snapshot(xid, $3::pg_snapshot)
     order by seq limit $4`,
    '$2::pg_snapshot',
  ),
};

// If there are no changes, the old position is still valid, and the next read may find a durable snapshot without a
// write. But trimming would eventually expire the old position. So after this many transactions in the cluster, a write
// makes the new snapshot durable.
const renewAfterTransactions = 10_000n;

/**
 * Reads the first changes after a position, at most `rowsMax`: those of the position's window if it is inside one,
 * otherwise those of the window that ends now. The page's position is safe to put into a token (durable-snapshots.ts).
 * Throws RESUME_TOKEN_EXPIRED.
 */
export async function readChanges(database: Database, position: WatchPosition, rowsMax: number): Promise<ChangesPage> {
  const { snapshot, window } = position;
  const from = snapshotOf(snapshot);
  const rows = await runOnNotedTimeline(
    () =>
      window
        ? database.run(continueWindow, [window.seq, window.until, snapshot, rowsMax])
        : database.run(openWindow, [from.xmax, from.inProgress.map(String), rowsMax]),
    () => noteTimeline(database),
  );
  const [first] = rows;
  if (first === undefined) throw emptyFeed();
  const cells = first.slice(-walCellCount) as WalCells;
  const [end, feedId, trimmedXid, nextXid, isDurable] = first.slice(-feedCellCount - walCellCount) as FeedCells;
  const [lsn, timelineId] = cells;
  const now: WalPosition = { timelineId: timelineId ?? '', lsn };
  // The third condition is true if a copy of the data from before the token was restored.
  if (
    feedId !== position.feedId ||
    BigInt(trimmedXid) >= from.xmin ||
    BigInt(nextXid) < from.xmax ||
    !(await isKept(database, position.wal, now))
  ) {
    throw tokenExpired();
  }
  // A position of an earlier timeline that is still valid is also a position of this one.
  const kept: WatchPosition = position.wal ? { ...position, wal: { ...now, lsn: position.wal.lsn } } : position;
  const until: WatchPosition = { feedId, snapshot: end, wal: window ? (kept.wal ?? now) : now };
  const changes: Change[] = [];
  const pause = createPause();
  for (const row of first[0] === null ? [] : rows) {
    changes.push(changeOf(row, snapshot, until));
    await pause();
  }
  // The end of a continued window was made durable for its first page.
  if (window === undefined && changes.length === 0) {
    // With the older WAL position, the position stays valid if a standby without the newest WAL is promoted.
    if (end === snapshot && kept.wal) return { changes, position: kept };
    if (!isDurable && BigInt(nextXid) - from.xmax < renewAfterTransactions) return { changes, position: kept };
  }
  if (window === undefined && !isDurable) await makeSnapshotDurable(database, cells);
  return { changes, position: changes.length < rowsMax ? until : (changes.at(-1) ?? { position }).position };
}

function tokenExpired(): Fault {
  return new Fault(
    'RESUME_TOKEN_EXPIRED',
    'The change log no longer has all changes after this token, the database has lost changes before it, or the token is from a different database. Start again with include_existing.',
  );
}

function emptyFeed(): Error {
  return new Error('The table "change_feed" is empty. Was the database only partly restored?');
}

function changeOf(row: Row, snapshot: string, { feedId, snapshot: until, wal }: WatchPosition): Change {
  const [seq, xid, type, userId, changeTime, actor, requestId, foundId] = row as EntryCells;
  return {
    type: changeTypeOf(type),
    userId,
    ...(foundId === null
      ? { user: undefined }
      : { user: decodeUser(row, userStart), attributesBytes: attributesText(row, userStart).length }),
    changeTime,
    actor: actor ?? undefined,
    requestId: requestId ?? undefined,
    xid: BigInt(xid),
    position: { feedId, snapshot, wal, window: { until, seq: BigInt(seq) } },
  };
}

/** Reads the end of the log, for safePosition(). */
export const feedPositionText = `
    select id, pg_current_snapshot()::text, ${isSnapshotDurable}, ${walCells('wal_position')}
    from change_feed cross join ${walPosition}`;

const positionStatement: Statement = { name: 'change-feed-position', text: feedPositionText };

/** Returns the current end of the log, as a position that is safe to put into a token (durable-snapshots.ts). */
export async function readFeedPosition(database: Database): Promise<WatchPosition> {
  const rows = await runOnNotedTimeline(
    () => database.run(positionStatement, []),
    () => noteTimeline(database),
  );
  return safePosition(database, rows);
}

/** The position in the rows of `feedPositionText`, after it has been made safe to put into a token. */
export async function safePosition(database: Database, [row]: readonly Row[]): Promise<WatchPosition> {
  if (row === undefined) throw emptyFeed();
  const [feedId, snapshot, isDurable, ...cells] = row as [string, string, boolean, ...WalCells];
  const [lsn, timelineId] = cells;
  if (!isDurable) await makeSnapshotDurable(database, cells);
  return { feedId, snapshot, wal: { timelineId: timelineId ?? '', lsn } };
}
