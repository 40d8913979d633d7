/**
 * A walk over all users as one snapshot has them, on a connection of its own.
 *
 * Memory depends on neither the number of users nor how fast they are taken: there is one piece at hand and one under way.
 */
import { createPause } from '../event-loop.js';
import { parseJson } from '../json.js';
import type { Filter } from '../model/filter.js';
import type { JsonObject, User } from '../model/user.js';
import { nextRows, type TextRow } from './cursor-rows.js';
import type { Database } from './database.js';
import { isSnapshotDurable, makeSnapshotsDurable } from './durable-snapshots.js';
import { faultOf } from './faults.js';
import { createBinder, filterSql, whereOf } from './filter-sql.js';

export interface SnapshotUser {
  user: User;
  /** Bytes of the attributes as Postgres' JSON text. */
  attributesBytes: number;
}

export interface SnapshotPiece {
  /** In ascending order of ids. */
  users: SnapshotUser[];
  /** Then the snapshot is needed no longer; only such a piece may be empty. */
  isLast: boolean;
}

export interface UsersSnapshot extends AsyncDisposable {
  /** Postgres' own text of it, for a place in the change log; safe to hand out (durable-snapshots.ts). */
  readonly snapshot: string;
  /** Which change log that is a place in. */
  readonly feedId: string;
  /**
   * For one walk. Throws the signal's reason once that is aborted, and Faults of the database. Whoever stops early
   * disposes of the snapshot.
   */
  pieces(): AsyncGenerator<SnapshotPiece, void, undefined>;
}

// A cursor counts rows and not bytes, so these bound what comes where small users are followed by large ones: 256 of the
// largest are 20 MB. More at once is hardly faster.
const rowsFirst = 64;
const rowsMax = 256;
// Of the rows as they come from Postgres, on the average.
const pieceBytes = 256 * 1024;

// Times as milliseconds, because to parse a timestamp takes long. date_part() counts in doubles, which are exact to a
// microsecond for centuries; the numeric of extract() costs Postgres a microsecond for each row.
const millisecondsOf = (time: string) => `(date_part('epoch', ${time}) * 1000)::bigint`;
const columns = `u.id, u.first_name, u.last_name, u.email, u.profile_image_url, u.attributes,
  ${millisecondsOf('u.create_time')}, ${millisecondsOf('u.update_time')}, u.version`;

function snapshotUser(row: TextRow): SnapshotUser {
  // In the order of `columns`, none of which is ever null.
  const [id, firstName, lastName, email, profileImageUrl, attributes, createTime, updateTime, version] =
    row as readonly string[] as readonly [string, string, string, string, string, string, string, string, string];
  return {
    user: {
      id,
      firstName,
      lastName,
      email,
      profileImageUrl,
      attributes: parseJson(attributes) as JsonObject,
      createTime: new Date(Number(createTime)),
      updateTime: new Date(Number(updateTime)),
      version: Number(version),
    },
    attributesBytes: attributes.length,
  };
}

/**
 * Opens the snapshot; `after` leaves out the users up to that id. The connection is closed when the snapshot is disposed
 * of, or as soon as the signal is aborted; only this cancels what runs on it then.
 */
export async function openUsersSnapshot(
  database: Database,
  { filter, after }: { filter?: Filter | undefined; after?: string | undefined },
  signal: AbortSignal,
): Promise<UsersSnapshot> {
  const session = await database.openSession(signal);

  async function read(rowsMax: number): Promise<TextRow[]> {
    try {
      signal.throwIfAborted();
      return await nextRows(session.client, 'users_walk', rowsMax);
    } catch (error) {
      signal.throwIfAborted();
      throw faultOf(error);
    }
  }

  async function* pieces(): AsyncGenerator<SnapshotPiece, void, undefined> {
    const pause = createPause();
    let rowsAsked = rowsFirst;
    let next = read(rowsAsked);
    while (true) {
      const rows = await next;
      const isLast = rows.length < rowsAsked;
      if (!isLast) {
        rowsAsked = rowsOf(rows, rowsAsked);
        next = read(rowsAsked);
        // It may fail while nobody waits for it.
        next.catch(() => {});
      }
      const users: SnapshotUser[] = [];
      for (const row of rows) {
        users.push(snapshotUser(row));
        await pause();
      }
      yield { users, isLast };
      if (isLast) return;
    }
  }

  try {
    await session.query('begin isolation level repeatable read, read only');
    // Whatever the server's or the role's own are: a slow reader and a filter that few match are no reason to end it.
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
      `declare users_walk no scroll cursor for select ${columns} from users u ${whereOf(conditions)} order by u.id`,
      values,
    );
    return { snapshot, feedId, pieces, [Symbol.asyncDispose]: () => session[Symbol.asyncDispose]() };
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/** How many rows to ask for next, from what the last ones had; growing slowly, because users may become larger again. */
function rowsOf(rows: readonly TextRow[], rowsAsked: number): number {
  let units = 0;
  for (const row of rows) for (const value of row) units += value?.length ?? 0;
  return Math.max(1, Math.min(rowsMax, 2 * rowsAsked, Math.floor((pieceBytes * rows.length) / units)));
}
