/**
 * Writes and trims the change log: provides the part of a user statement that logs the change.
 *
 * An entry holds no personal data: only the user's id, the type of the change and its time.
 */
import type { Database, Statement } from '../database/database.js';

/** The values of the column `type`. */
export const changeTypes = { created: 2, updated: 3, deleted: 4 } as const;

export type ChangeType = keyof typeof changeTypes;

const changeTimes: Readonly<Record<ChangeType, string>> = {
  created: 'create_time',
  updated: 'update_time',
  deleted: 'now()',
};

/**
 * An insert that logs each row of `source`. It belongs in the statement that writes those rows, so that an entry gets
 * its seq after the write has locked the user. Entries of one user thus have the order of their transactions.
 */
export function logChanges(type: ChangeType, source: string): string {
  return `insert into changes (user_id, type, change_time) select id, ${changeTypes[type]}, ${changeTimes[type]} from ${source}`;
}

// xids count the transactions of one server. After a dump and a restore, the xids in old entries and tokens are
// meaningless or wrong, which shows because the row's xid differs from the row's own transaction (xmin). A clone
// (create database … template) keeps the xids but has its own history; its database oid differs.
const renewStatement: Statement = {
  name: 'renew-change-feed',
  text: `
    with here as (select oid from pg_database where datname = current_database()), renewed as (
      update change_feed set
        id = gen_random_uuid(), xid = pg_current_xact_id(), database_oid = here.oid, trimmed_xid = '0'
      from here where change_feed.xid::xid <> change_feed.xmin or change_feed.database_oid <> here.oid
      returning id
    ), emptied as (delete from changes where exists (select from renewed))
    select id from renewed`,
};

/**
 * Starts a new feed, with a new id and no entries, if the database was restored from a dump or cloned. Returns whether
 * it did.
 */
export async function renewChangeFeed(database: Database): Promise<boolean> {
  return (await database.run(renewStatement, [])).length > 0;
}

// Deletes only entries older than every running transaction, because trimmed_xid records by xid which entries are gone.
// Looks only at the start of the log: an entry that is not old yet delays the entries after it.
const trimStatement: Statement = {
  name: 'trim-changes',
  text: `
    with oldest as materialized (
      select seq, xid, change_time from changes order by seq limit $3
    ), trimmed as (
      delete from changes using oldest
      where changes.seq = oldest.seq and oldest.xid < pg_snapshot_xmin(pg_current_snapshot())
        and (oldest.change_time < now() - $1::double precision * interval '1 hour'
          or oldest.seq <= (select max(seq) from changes) - $2::bigint)
      returning changes.xid
    ), remembered as (
      update change_feed set
        trimmed_xid = greatest(trimmed_xid, (select xid from trimmed order by xid desc limit 1)),
        xid = pg_current_xact_id()
      where exists (select from trimmed)
    )
    select count(*)::integer from trimmed`,
};

export interface ChangesKept {
  readonly keptHours: number;
  readonly keptMax: number;
}

/** Deletes up to `rowsMax` changes that are too old or too many. Returns the number of deleted changes. */
export async function trimChanges(
  database: Database,
  { keptHours, keptMax }: ChangesKept,
  rowsMax: number,
): Promise<number> {
  const [row] = await database.run(trimStatement, [keptHours, keptMax, rowsMax]);
  return row?.[0] as number;
}
