/** The sizes of the tables that grow, as Postgres estimates them. */
import type { RunStatement, Statement } from '../database/database.js';

export interface TableSize {
  readonly table: string;
  /** An estimate. */
  readonly rows: number;
  /** With indexes. */
  readonly bytes: number;
}

// n_live_tup is more recent than reltuples, but 0 after a crash. reltuples is -1 before the first vacuum.
const sizesStatement: Statement = {
  name: 'table-sizes',
  text: `
    select pg_class.relname::text, coalesce(nullif(n_live_tup, 0), greatest(reltuples, 0))::float8,
      pg_total_relation_size(oid)::float8
    from pg_class left join pg_stat_user_tables on relid = oid
    where oid in (to_regclass('users'), to_regclass('changes'), to_regclass('request_ids'))
    order by pg_class.relname`,
};

export async function readTableSizes(run: RunStatement): Promise<TableSize[]> {
  const rows = (await run(sizesStatement, [])) as [string, number, number][];
  return rows.map(([table, count, bytes]) => ({ table, rows: count, bytes }));
}
