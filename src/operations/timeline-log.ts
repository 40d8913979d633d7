/** Records and logs when Postgres continues on a new timeline, even if nobody watches. */
import type { Database } from '../database/database.js';
import { Fault } from '../model/fault.js';
import { noteTimeline, readLatestTimeline } from '../store/timelines.js';
import type { Log } from '../telemetry/log.js';

export interface TimelineLog {
  /** The number of the timeline at the last check. */
  readonly timeline: number;
  /** Checks at once, for example after a failure of the database. Never rejects. */
  check(): Promise<void>;
  /** Resolves when the current check has ended. */
  close(): Promise<void>;
}

// After a second switch, or a restart of the promoted server, nobody knows where the first timeline ended, and all older
// resume tokens expire. A switch may fail no statement if nobody calls. Operators rarely switch twice within 10 seconds.
const everyMsDefault = 10_000;

/** Throws if the first check fails. */
export async function startTimelineLog(
  database: Database,
  log: Log,
  everyMs: number = everyMsDefault,
): Promise<TimelineLog> {
  const read = async () => {
    await noteTimeline(database);
    return readLatestTimeline(database);
  };
  let latest = await read();
  let isFailing = false;
  let pending = 0;
  let checking: Promise<void> = Promise.resolve();

  async function checkOnce(): Promise<void> {
    try {
      const { id, timeline, forkLsn } = await read();
      if (id !== latest.id) {
        const tokens = forkLsn === undefined ? 'all expire' : `stay valid up to ${forkLsn}`;
        log.warn({ timeline, tokens }, 'the database is on a new timeline');
      }
      latest = { id, timeline, forkLsn };
      isFailing = false;
    } catch (error) {
      const isOutage = error instanceof Fault && error.reason === 'DATABASE_UNAVAILABLE';
      // The watch of the database logs an outage.
      if (!isOutage && !isFailing) log.warn({ error }, 'could not check the timeline');
      isFailing = true;
    } finally {
      pending--;
    }
  }

  function check(): Promise<void> {
    pending++;
    checking = checking.then(checkOnce);
    return checking;
  }

  const timer = setInterval(() => void (pending > 0 || check()), everyMs).unref();
  return {
    get timeline() {
      return latest.timeline;
    },
    check,
    close() {
      clearInterval(timer);
      return checking;
    },
  };
}
