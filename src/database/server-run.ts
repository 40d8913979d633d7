/** SQL about the runs of a server, from one start or recovery to the next. */

const statisticsReset = 'pg_catalog.pg_stat_get_bgwriter_stat_reset_time()';

/**
 * SQL for a text that names one run of a server. Another server has another text, and so has the same server after a
 * restart, or after it has recovered from the crash of one of its processes, which leaves its start time unchanged.
 *
 * After a crash, Postgres discards its statistics, so the time of their last reset is the time of the recovery. An operator
 * may reset them, too. Then one run has two texts, which only makes Roster read again.
 */
export const serverRun = `pg_catalog.concat_ws(' ', extract(epoch from pg_catalog.pg_postmaster_start_time()),
      extract(epoch from ${statisticsReset}))`;

/** SQL that is true only if the server has not recovered from a crash since its start, or at its start. */
export const hasNotCrashed = `${statisticsReset} < pg_catalog.pg_postmaster_start_time()`;
