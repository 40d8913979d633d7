/**
 * Finds what keeps the change log from shrinking. Old changes are deleted only up to the oldest writing transaction in
 * any database of the cluster (`trimChanges`), and Postgres reuses their space only when no snapshot can see them.
 *
 * Works for a role without special privileges. Postgres shows such a role the transaction id of another role's session,
 * but not its start time. The time of the first change with a later transaction id then gives a minimum age.
 */
import type { Database, Statement } from '../database/database.js';

export interface TrimBlocker {
  readonly kind: 'prepared transaction' | 'session' | 'replication slot';
  /** The prepared transaction's identifier, the session's process id, or the slot's name. */
  readonly name: string;
  /** Undefined for a session or a slot of a standby. */
  readonly database: string | undefined;
  readonly ageSeconds: number;
}

// A session that only reads holds a snapshot (backend_xmin) that matters only in its own database. A standby with
// hot_standby_feedback has a snapshot and no database. Postgres' own processes, such as autovacuum, have no role, and
// their snapshots block nothing.
const blockerStatement: Statement = {
  name: 'trim-blocker',
  text: `
    with blockers as (
      select 'prepared transaction' as kind, gid as name, database, transaction as xid, prepared as since
      from pg_prepared_xacts
      union all
      select 'session', pid::text, datname, coalesce(backend_xid, backend_xmin), xact_start
      from pg_stat_activity
      where pid <> pg_backend_pid() and (backend_xid is not null or backend_xmin is not null
        and usesysid is not null and (datname is null or datname = current_database()))
      union all
      select 'replication slot', slot_name, database, xmin, null
      from pg_replication_slots where xmin is not null and wal_status is distinct from 'lost'
    ), aged as (
      select kind, name, database, coalesce(since, (
        select change_time from changes
        where xid >= greatest(0, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - age(blockers.xid))::text::xid8
        order by xid limit 1
      )) as since
      from blockers
    )
    select kind, name, database, greatest(0, date_part('epoch', now() - since))
    from aged where since is not null order by since limit 1`,
};

/** Returns the oldest blocker, if any. */
export async function findTrimBlocker(database: Database): Promise<TrimBlocker | undefined> {
  const [row] = await database.run(blockerStatement, []);
  if (row === undefined) return undefined;
  const [kind, name, databaseName, ageSeconds] = row as [TrimBlocker['kind'], string, string | null, number];
  return { kind, name, database: databaseName ?? undefined, ageSeconds };
}
