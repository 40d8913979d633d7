/**
 * What writes to the change log: the part of every statement on users that logs what it did, and the trimming.
 *
 * Nothing personal goes in: an entry says who, what and when.
 */
import type { Database, Statement } from './database.js';

/** As users.v1.UserChange numbers them. */
export const changeTypes = { created: 2, updated: 3, deleted: 4 } as const;

export type ChangeType = keyof typeof changeTypes;

/**
 * An insert that logs each row of `source`, to stand beside the write that gives `source` in one statement. It draws an
 * entry's seq after the write has locked the user, so that entries of one user have the order of their transactions.
 */
export function logChanges(type: ChangeType, source: string, time: string): string {
  return `insert into changes (user_id, type, change_time) select id, ${changeTypes[type]}, ${time} from ${source}`;
}

// xids count one server's transactions: after a dump and restore those in old entries and tokens mean nothing, or the
// wrong thing. The row's own transaction number, which Postgres keeps beside it (xmin), then no longer is what it says.
// A clone (create database … template) has the numbers, but goes its own way; it is told by its oid.
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

/** Begins a new feed, with a new id and no entries, in a database that was restored from a dump, or cloned; says whether it did. */
export async function renewChangeFeed(database: Database): Promise<boolean> {
  return (await database.run(renewStatement, [])).length > 0;
}

// Nothing that a transaction in flight may have written before or after: where an entry has gone is said by its xid.
// Only the log's beginning is looked at; an entry in it that is not old yet holds up those behind it until it is.
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

/** Forgets up to `rowsMax` changes that are too old, or of which there are too many, and says how many it was. */
export async function trimChanges(
  database: Database,
  { keptHours, keptMax }: ChangesKept,
  rowsMax: number,
): Promise<number> {
  const [row] = await database.run(trimStatement, [keptHours, keptMax, rowsMax]);
  return row?.[0] as number;
}
