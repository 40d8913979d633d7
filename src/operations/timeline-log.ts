/** Records and logs when Postgres continues on a new timeline, even if nobody watches. */
import type { Database } from '../database/database.js';
import { noteTimeline, readLatestTimeline } from '../store/timelines.js';
import type { Log } from '../telemetry/log.js';

export interface TimelineLog {
  /**
   * Call it at the start and after each failure of the database. A server that was promoted knows only until it restarts
   * where the previous timeline ended.
   */
  check(): Promise<void>;
}

export function createTimelineLog(database: Database, log: Log): TimelineLog {
  let knownId: string | undefined;
  return {
    async check() {
      await noteTimeline(database);
      const { id, timeline, forkLsn } = await readLatestTimeline(database);
      if (knownId !== undefined && id !== knownId) {
        const tokens = forkLsn === undefined ? 'all expire' : `stay valid up to ${forkLsn}`;
        log.warn({ timeline, tokens }, 'the database is on a new timeline');
      }
      knownId = id;
    },
  };
}
