/** Trims the change log, and starts a new one in a database that was restored or cloned. */
import type { Database } from '../database/database.js';
import { ChangeFeedRow } from '../database/entities/change-feed-row.js';
import { ChangeRow } from '../database/entities/change-row.js';

const thisDatabase = '(select oid from pg_database where datname = current_database())';

/** Starts a new, empty feed with a new id if the database was restored or cloned. Returns whether it was. */
export function renewChangeFeed(database: Database): Promise<boolean> {
  return database.orm((orm) =>
    orm.transaction(async (manager) => {
      // Transaction ids (xids) belong to one server. After a dump and restore, those in old entries and tokens are
      // wrong. The row's xid then differs from the transaction that wrote the row (xmin). A clone (create database …
      // template) keeps the xids, but has other transactions from then on. Its database oid differs.
      const { affected } = await manager
        .createQueryBuilder()
        .update(ChangeFeedRow)
        .set({
          id: () => 'gen_random_uuid()',
          xid: () => 'pg_current_xact_id()',
          databaseOid: () => thisDatabase,
          trimmedXid: '0',
        })
        .where(`cast(xid as xid) <> xmin or database_oid <> ${thisDatabase}`)
        .execute();
      if (affected === 0) return false;
      await manager.createQueryBuilder().delete().from(ChangeRow).execute();
      return true;
    }),
  );
}

export interface ChangesKept {
  readonly keptHours: number;
  readonly keptMax: number;
}

/**
 * Deletes up to `rowsMax` changes that are too old or too many. Returns the number of deleted changes.
 *
 * It reads only the start of the log: an entry that is too new delays the entries after it. It deletes only entries
 * that are older than every running transaction, because trimmed_xid identifies the deleted entries by their xid.
 */
export function trimChanges(database: Database, { keptHours, keptMax }: ChangesKept, rowsMax: number): Promise<number> {
  return database.orm((orm) =>
    orm.transaction(async (manager) => {
      const oldest = manager.createQueryBuilder(ChangeRow, 'change').select('seq, xid, change_time');
      const first = oldest.orderBy('seq').limit(rowsMax).getQuery();
      const { raw } = await manager
        .createQueryBuilder()
        .delete()
        .from(ChangeRow)
        .where(`seq in (
          select seq from (${first}) as oldest
          where xid < pg_snapshot_xmin(pg_current_snapshot())
            and (change_time < now() - cast(:keptHours as double precision) * interval '1 hour'
              or seq <= (select max(seq) from changes) - cast(:keptMax as bigint)))`)
        .setParameters({ keptHours, keptMax })
        .returning('xid')
        .execute();
      const xids = (raw as { xid: string }[]).map(({ xid }) => BigInt(xid));
      if (xids.length === 0) return 0;
      const newest = xids.reduce((one, other) => (one > other ? one : other));
      await manager
        .createQueryBuilder()
        .update(ChangeFeedRow)
        .set({
          trimmedXid: () => 'greatest(trimmed_xid, cast(:newest as xid8))',
          xid: () => 'pg_current_xact_id()',
        })
        .setParameters({ newest: String(newest) })
        .execute();
      return xids.length;
    }),
  );
}
