/**
 * Describes the first schema of a database as text that is the same on Postgres 15 to 18. It reads the catalogs instead of
 * running pg_dump (docs/decisions/0004).
 */
import type { TestDatabase } from './database.js';

/** One line for each column, constraint, index, function, sequence and type, in a fixed order. */
export async function dumpSchema(database: Pick<TestDatabase, 'query'>): Promise<string> {
  const lines = async (sql: string) => (await database.query<{ line: string }>(sql)).map((row) => row.line);
  const schema = `current_schema()::regnamespace`;
  const columns = await database.query<{ table: string; line: string }>(`
    select c.relname as table, concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
        case when a.attcollation <> t.typcollation then 'collate ' || quote_ident(l.collname) end,
        case when a.attnotnull then 'not null' end,
        case when a.attgenerated <> '' then 'generated' when a.attidentity <> '' then 'identity' end,
        'default ' || pg_get_expr(d.adbin, d.adrelid)) as line
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      join pg_type t on t.oid = a.atttypid left join pg_collation l on l.oid = a.attcollation
      left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = ${schema} and c.relkind in ('r', 'p') order by c.relname, a.attnum`);
  // Excludes NOT NULL, which Postgres 18 also lists here, because the columns show it.
  const constraints = await database.query<{ table: string; line: string }>(`
    select c.relname as table, 'constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid) as line
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where c.relnamespace = ${schema} and k.contype <> 'n' order by c.relname, k.conname`);
  const tables = [...new Set(columns.map((row) => row.table))].map((table) => {
    const of = (rows: readonly { table: string; line: string }[]) => rows.filter((row) => row.table === table);
    const parts = [...of(columns), ...of(constraints)].map((row) => `  ${row.line}`);
    return `create table ${table} (\n${parts.join(',\n')}\n);`;
  });
  const functions = await lines(`
    select pg_get_functiondef(oid) as line from pg_proc where pronamespace = ${schema} order by proname`);
  const indexes = await lines(`
    select pg_get_indexdef(i.indexrelid) as line from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = ${schema} and not i.indisprimary order by c.relname`);
  const others = await lines(`
    select case relkind when 'S' then 'sequence' when 'v' then 'view' else 'relation ' || relkind::text end
      || ' ' || relname collate "C" as line
    from pg_class where relnamespace = ${schema} and relkind not in ('r', 'p', 'i', 'I')
    union all
    select 'trigger ' || pg_get_triggerdef(g.oid) from pg_trigger g join pg_class c on c.oid = g.tgrelid
    where c.relnamespace = ${schema} and not g.tgisinternal
    union all
    select 'type ' || typname from pg_type t
    where typnamespace = ${schema} and typelem = 0
      and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')
    order by 1`);
  return `${[
    ...functions.map((line) => `${line.trimEnd()};`),
    ...tables,
    indexes.map((line) => `${line};`).join('\n'),
    others.map((line) => `-- ${line}`).join('\n'),
  ].join('\n\n')}\n`;
}
