/**
 * Notices when Postgres continues on a new timeline, after a promotion of a standby or a recovery to a point in time, and
 * finds out whether a position in the change log is still part of the history.
 *
 * docs/decisions/0045-a-feed-notices-a-new-timeline.md explains it.
 */
import type { Row } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { hasNotCrashed, serverRun } from '../database/server-run.js';
import { Fault } from '../model/fault.js';
import { hasReached, type WalPosition } from '../model/watch-token.js';

// The first eight digits of the name of a WAL file. Every role may read it, but not on a standby.
const timelineAt = (lsn: string) => `('x' || left(pg_walfile_name(${lsn}), 8))::bit(32)::bigint`;

/**
 * For the FROM list of a statement that takes a snapshot: the end of the WAL (`lsn`), the run of the server (`run`), and the
 * timeline that Roster noticed last (`timeline_id`, `is_current`). Postgres takes the snapshot before it evaluates this, so everything that the snapshot
 * counts as finished is before `lsn`. It evaluates `lsn` once, because the function is volatile.
 */
export const walPosition = `(
      select wal.lsn, latest.id as timeline_id, ${serverRun} as run,
        coalesce(latest.timeline = ${timelineAt('wal.lsn')}, false) as is_current
      from (select pg_current_wal_insert_lsn() as lsn) as wal
        left join (select id, timeline from timelines order by seq desc limit 1) as latest on true
    ) as wal_position`;

/** The last cells of each row of a statement with `walPosition`. */
export const walCells = (table: string) =>
  `${table}.lsn::text, ${table}.timeline_id, ${table}.run, ${table}.is_current`;
export type WalCells = [lsn: string, timelineId: string | null, run: string, isCurrent: boolean];
export const walCellCount = 4;

// A server that was promoted from a standby knows where the replay of the old timeline ended, until it restarts. After a
// recovery from a crash, pg_last_wal_replay_lsn() is the end of that recovery. If the timeline has increased by more than one,
// it is the end of a timeline that Roster has not seen.
export const noteTimelineText = `
    insert into timelines (seq, timeline, fork_lsn)
    select coalesce(latest.seq, 0) + 1, now.timeline,
      case when now.timeline = latest.timeline + 1
          and (pg_last_wal_receive_lsn() is not null or ${hasNotCrashed})
        then pg_last_wal_replay_lsn() end
    from (select ${timelineAt('pg_current_wal_insert_lsn()')} as timeline) as now
      left join (select seq, timeline from timelines order by seq desc limit 1) as latest on true
    where latest.timeline is distinct from now.timeline
    on conflict do nothing`;

const noteTimelineStatement: Statement = { name: 'note-timeline', text: noteTimelineText };

/** Records the current timeline if it is new. */
export async function noteTimeline(database: Database): Promise<void> {
  await database.run(noteTimelineStatement, []);
}

export interface Timeline {
  readonly id: string;
  readonly timeline: number;
  /** The end of the previous timeline. Undefined if it is unknown, so that all older resume tokens are refused. */
  readonly forkLsn: string | undefined;
}

const latestTimelineStatement: Statement = {
  name: 'latest-timeline',
  text: 'select id, timeline::text, fork_lsn::text from timelines order by seq desc limit 1',
};

/** Returns the timeline that Roster noticed last. */
export async function readLatestTimeline(database: Database): Promise<Timeline> {
  const [row] = await database.run(latestTimelineStatement, []);
  const [id, timeline, forkLsn] = row as [string, string, string | null];
  return { id, timeline: Number(timeline), forkLsn: forkLsn ?? undefined };
}

// The first attempt notices a new timeline. More fail only if a pooler sends the statements to several servers.
const attemptsMax = 3;

/** Runs a statement with `walCells` at the end of its rows. If the timeline is new, notes it and runs the statement again. */
export async function runOnNotedTimeline(run: () => Promise<Row[]>, note: () => Promise<unknown>): Promise<Row[]> {
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const rows = await run();
    if (rows[0] === undefined || rows[0].at(-1) === true) return rows;
    await note();
  }
  throw new Fault('DATABASE_UNAVAILABLE', 'The database is switching to another server. Try again later.');
}

// $1 is null for a position of an earlier server. Then any fork makes it invalid.
const keptStatement: Statement = {
  name: 'kept-position',
  text: `
    select case when own.seq = latest.seq then true else coalesce(next.fork_lsn >= $2::pg_lsn, false) end
    from timelines as own
      join timelines as latest on latest.id = $3::uuid
      left join timelines as next on next.seq = own.seq + 1
    where own.id = $1::uuid or ($1::uuid is null and own.seq = 1)`,
};

/**
 * Whether everything before a position is still in the database, which is now at `now`. Later forks than the first one
 * after the position's timeline are after it in the WAL too.
 */
export async function isKept(
  database: Database,
  position: WalPosition | undefined,
  now: WalPosition,
): Promise<boolean> {
  if (position?.timelineId === now.timelineId) return hasReached(now.lsn, position.lsn);
  const values = [position?.timelineId ?? null, position?.lsn ?? null, now.timelineId];
  const [row] = await database.run(keptStatement, values);
  return row?.[0] === true;
}
