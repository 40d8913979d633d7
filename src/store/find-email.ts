/**
 * Looks for an email in every column of every table in Roster's schema, to show that a deletion has left nothing.
 *
 * The tables and columns come from the catalog, so that it also finds tables of later versions. The email reaches Postgres
 * only in a COPY into a temporary table, because no setting makes a server log the rows of a COPY.
 */
import { finished } from 'node:stream/promises';
import { domainToASCII } from 'node:url';
import { from as copyFrom } from 'pg-copy-streams';
import type { Database } from '../database/database.js';
import { faultOf } from '../database/errors.js';
import type { Session } from '../database/session.js';
import { copyValue } from './copy-pieces.js';

export interface EmailSearch {
  /** Every table, in alphabetical order. */
  readonly tables: readonly TableHits[];
  /** The entries of the planner's statistics that contain the email. `analyze` replaces them. */
  readonly statistics: number;
  /** Whether the role may see all statistics. */
  readonly seesStatistics: boolean;
}

export interface TableHits {
  readonly table: string;
  /** How many rows contain the email. */
  readonly rows: number;
  /** Estimated rows that are deleted or replaced, but not yet removed by a vacuum. */
  readonly deadRows: number;
}

// Values of these types cannot contain an email.
const skippedTypes = [
  ...['bool', 'date', 'float4', 'float8', 'int2', 'int4', 'int8', 'numeric', 'oid', 'timestamp', 'timestamptz', 'uuid'],
  ...['xid', 'xid8'],
];

/** Reads every table once. Throws if the role may not read one of them. */
export async function findEmail(database: Database, email: string, signal: AbortSignal): Promise<EmailSearch> {
  await using session = await database.openSession(signal, { keepsState: true });
  // Overrides timeouts of the server and the role, because only the operator limits how long a search takes.
  await session.query('set statement_timeout = 0');
  // Policies must not hide rows.
  await session.query('set row_security = off');
  await session.query('create temp table erasure_emails (email text not null)');
  await copyEmails(session, spellingsOf(email));
  await session.query(createNeedles);
  const hasAt = email.includes('@');
  const tables: TableHits[] = [];
  for (const [table, name, cells, deadRows] of (await session.query(tablesStatement, [skippedTypes])) as TableRow[]) {
    const [[rows] = []] = cells === null ? [[0]] : await session.query(countStatement(name, cells, hasAt));
    tables.push({ table, rows: rows as number, deadRows });
  }
  const [[statistics] = []] = await session.query(statisticsStatement(hasAt));
  const [[isOwner] = []] = await session.query(ownerStatement);
  return { tables, statistics: statistics as number, seesStatistics: isOwner === true };
}

/** The email, and the email with its domain in ASCII, which texts may contain although they are not an email themselves. */
function spellingsOf(email: string): string[] {
  const at = email.lastIndexOf('@') + 1;
  const ascii = domainToASCII(email.slice(at));
  return at === 0 || ascii === '' ? [email] : [email, email.slice(0, at) + ascii];
}

async function copyEmails({ client }: Session, emails: readonly string[]): Promise<void> {
  try {
    const stream = client.query(copyFrom(`copy erasure_emails from stdin (format text, encoding 'UTF8')`));
    stream.end(emails.map((email) => `${copyValue(email)}\n`).join(''));
    await finished(stream);
  } catch (error) {
    throw faultOf(error);
  }
}

/** As email_key, for a text that contains an email. It does not decode domains. */
function folded(text: string, hasAt: boolean): string {
  const skipped = hasAt ? `when strpos(${text}, '@') = 0 then ''` : '';
  return `case when octet_length(${text}) = char_length(${text}) then lower(${text} collate "C") ${skipped}
    else fold_case(${text}) end`;
}

// Texts of JSON and of arrays have a backslash before quotes and backslashes, and bytes as text have it before others.
const createNeedles = `
  create temp table erasure_needles as
  select distinct needle collate "C" as needle
  from erasure_emails, lateral (values (email_key(email)), (${folded('email', false)})) as keys(key),
    lateral (values
      (key),
      (replace(replace(key, '\\', '\\\\'), '"', '\\"')),
      (lower(encode(convert_to(key, 'UTF8'), 'escape') collate "C")),
      (lower(encode(convert_to(email, 'UTF8'), 'escape') collate "C"))
    ) as needles(needle)`;

type TableRow = [table: string, name: string, cells: string | null, deadRows: number];

// The first schema of the search path can be an empty one.
const ofRoster = `relnamespace = (select relnamespace from pg_class where oid = 'users'::regclass)`;

const tablesStatement = `
  select pg_class.relname::text, format('%I.%I', relnamespace::regnamespace::text, pg_class.relname),
    string_agg(format(case typname when 'bytea' then '(encode(%I, ''escape'') collate "C")' else '(%I::text collate "C")' end, attname), ', ')
      filter (where typname <> all($1)),
    coalesce(pg_stat_get_dead_tuples(pg_class.oid), 0)::float8
  from pg_class join pg_attribute on attrelid = pg_class.oid join pg_type on pg_type.oid = atttypid
  where ${ofRoster} and relkind in ('r', 'm', 'f') and attnum > 0 and not attisdropped
  group by pg_class.oid, pg_class.relname, relnamespace
  order by pg_class.relname`;

/** `cells` are rows of VALUES with one text each. */
function matches(cells: string, hasAt: boolean): string {
  return `exists (
    select from (values ${cells}) as cells(cell), lateral (select ${folded('cell', hasAt)}) as f(text), erasure_needles
    where strpos(f.text, needle) > 0
      or (strpos(f.text, 'xn--') > 0 and strpos(email_key(cell), needle) > 0))`;
}

function countStatement(name: string, cells: string, hasAt: boolean): string {
  return `select count(*)::float8 from only ${name} where ${matches(cells, hasAt)}`;
}

// The statistics of an index on expressions have the name of the index.
function statisticsStatement(hasAt: boolean): string {
  const cells = ['most_common_vals', 'histogram_bounds', 'most_common_elems']
    .map((name) => `(${name}::text collate "C")`)
    .join(', ');
  return `select count(*)::float8 from pg_stats
    where schemaname = (select nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = 'users'::regclass)
      and ${matches(cells, hasAt)}`;
}

const ownerStatement = `
  select bool_and(pg_has_role(relowner, 'USAGE')) from pg_class where ${ofRoster} and relkind in ('r', 'm', 'f')`;
