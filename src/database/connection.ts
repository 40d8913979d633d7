/**
 * Prepares connections to Postgres with the settings that Roster needs, cuts them, and cancels their statements.
 *
 * The settings of a role or of a database apply to each new connection, so settings that a statement or a parser relies
 * on are set here. docs/operations.md lists them with reasons.
 */
import pg from 'pg';
import { Fault } from '../model/fault.js';
import { serverRun } from './server-run.js';
import type { Servers } from './servers.js';

export const applicationName = 'roster';

// With this, the operating system detects a dead host or network path within 20 s instead of two hours.
export const keepAlive = { keepAlive: true, keepAliveInitialDelayMillis: 10_000 };

export const types = new pg.TypeOverrides();
// Left as text, because the code that reads the rows parses it and can pause between two rows.
types.setTypeParser(pg.types.builtins.JSONB, (text) => text);

const sessionSettings = {
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  standard_conforming_strings: 'on',
  extra_float_digits: '1',
  bytea_output: 'hex',
  array_nulls: 'on',
  transform_null_equals: 'off',
  gin_fuzzy_search_limit: '0',
  default_transaction_isolation: 'read committed',
  idle_session_timeout: '0',
};

/** Expressions for a SELECT list that set parameters for the rest of the session. */
export function settingsSql(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', false)`);
}

// Every name is qualified, because the search path may put another schema before pg_catalog. The new search path keeps
// the existing schemas in their order, without pg_catalog, which Postgres then searches first, and with pg_temp at the
// end. Acknowledged writes must survive a crash, so `synchronous_commit = off` becomes on. Other values stay.
// Postgres before 17 has no transaction_timeout.
const prepareText = (settings: readonly string[]) => `
  select pg_catalog.pg_is_in_recovery() as is_standby,
    pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as is_read_only,
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version,
    pg_catalog.current_setting('server_encoding') as encoding,
    pg_catalog.pg_backend_pid() as backend_pid,
    ${serverRun} as run,
    schemas.names as schemas,
    case when schemas.names is not null then
      pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', schemas.names, 'pg_temp'), false)
    end,
    case when pg_catalog.current_setting('transaction_timeout', true) is not null then
      pg_catalog.set_config('transaction_timeout', '0', false)
    end,
    pg_catalog.set_config('synchronous_commit',
      pg_catalog.replace(pg_catalog.current_setting('synchronous_commit'), 'off', 'on'), false),
    ${[...settingsSql(sessionSettings), ...settings].join(',\n    ')}
  from (
    select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ') as names
    from pg_catalog.unnest(pg_catalog.current_schemas(false)) as name
    where not pg_catalog.starts_with(name::pg_catalog.text, 'pg_')
  ) as schemas`;

interface PreparedRow {
  is_standby: boolean;
  is_read_only: boolean;
  version: number;
  encoding: string;
  backend_pid: number;
  run: string;
  schemas: string | null;
}

/** Thrown by prepareConnection if the server accepts no writes. */
export class StandbyFault extends Fault {
  constructor(isStandby: boolean) {
    const what = isStandby ? 'The database is a standby, which accepts no writes.' : 'The database accepts no writes.';
    super('DATABASE_UNAVAILABLE', what);
  }
}

/** Thrown by prepareConnection if the address of a replica leads to another server than before. */
export class OtherServerFault extends Fault {
  constructor() {
    super('DATABASE_UNAVAILABLE', 'The address of the replica leads to several servers, or its server has restarted.');
  }
}

const pooled = new WeakSet<pg.ClientBase>();

/** Whether a prepared connection leads to a pooler, which may use another server connection for each transaction. */
export function isPooled(client: pg.ClientBase): boolean {
  return pooled.has(client);
}

/** The servers that prepareConnection accepts. */
export interface AcceptedServer {
  /** Whether the server may be a standby, which accepts no writes. */
  readonly acceptsStandby?: boolean;
  /** Returns the only run of a server that is accepted, as serverRun. Undefined accepts any server. */
  expectedRun?(): string | undefined;
}

/** The database can be reached, but Roster cannot use it. Its message says what to do. */
export class UnusableDatabaseError extends Error {
  override readonly name = 'UnusableDatabaseError';
}

/** A name in SQL, quoted if it needs quotes. */
export function sqlName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** Releases 15 to 18 are tested. Before 15, clones of databases and some functions that migrations use are missing. */
const oldestVersion = 15;

/** Throws UnusableDatabaseError for a server_version_num (such as 180001) of a version that is too old. */
export function checkVersion(version: number): void {
  const major = Math.floor(version / 10_000);
  if (major >= oldestVersion) return;
  throw new UnusableDatabaseError(
    `The server is Postgres ${major}, but Roster needs Postgres ${oldestVersion} or later. Upgrade it, or use another server.`,
  );
}

/**
 * Applies the settings that every connection needs, and `settings` (see settingsSql), in one round trip. Returns the
 * process id of the server process. Throws if Roster cannot use the database.
 */
export async function prepareConnection(
  client: pg.ClientBase,
  { target, connectTimeoutMs: timeoutMs }: Servers,
  settings: readonly string[] = [],
  { acceptsStandby = false, expectedRun }: AcceptedServer = {},
): Promise<number> {
  // Without a listener, the error of a connection that breaks while it is lent out would end the process.
  client.on('error', () => {});
  // The driver's connection timeout no longer applies, so this query needs its own.
  const query: pg.QueryConfig & { query_timeout: number } = { text: prepareText(settings), query_timeout: timeoutMs };
  const { rows } = await client.query<PreparedRow>(query);
  const [row] = rows;
  if (row === undefined) throw new Error('The database returned no row.');
  checkVersion(row.version);
  const isReadOnly = row.is_standby || (row.is_read_only && target.sessionAttributes === 'read-write');
  if (isReadOnly && !acceptsStandby) throw new StandbyFault(row.is_standby);
  // Poolers send their clients invented process ids.
  if (row.backend_pid !== processIdOf(client)) pooled.add(client);
  const run = expectedRun?.();
  if (run !== undefined && run !== row.run) throw new OtherServerFault();
  if (row.encoding !== 'UTF8') {
    throw new UnusableDatabaseError(
      `The database's encoding is ${row.encoding}, but Roster needs UTF8. Create another one: ` +
        "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'.",
    );
  }
  if (row.schemas === null) {
    const role = sqlName(target.user);
    throw new UnusableDatabaseError(
      `The role "${target.user}" may use no schema of its search_path, or none of them exists. Allow it to use one: GRANT ` +
        `USAGE ON SCHEMA public TO ${role}. Or create one: CREATE SCHEMA public AUTHORIZATION ${role}.`,
    );
  }
  return row.backend_pid;
}

/** Closes a connection at once. A running statement fails as if the network had failed. */
export function cutConnection(client: pg.Client): void {
  client.connection.stream.destroy();
}

/** The process id that the server or a pooler sent when the connection opened. */
export function processIdOf(client: pg.ClientBase): number {
  // The driver's types do not declare it.
  return (client as pg.ClientBase & { processID: number }).processID;
}

/**
 * Cancels the statement of `client` through a connection outside the pool, which may be exhausted, to the same server.
 * Never throws: if the statement cannot be cancelled, for example because a pooler hides process ids, statement_timeout
 * ends it.
 */
export async function cancelStatement(servers: Servers, client: pg.Client, processId: number): Promise<void> {
  const canceller = new pg.Client({
    application_name: applicationName,
    query_timeout: servers.connectTimeoutMs,
    ...servers.configLike(client),
  });
  canceller.on('error', () => {});
  try {
    await canceller.connect();
    // A pooler invents process ids, so the second condition protects the statements of other applications. It reads the
    // name from the session, because an application_name in the URL overrides ours.
    await canceller.query(
      `select pg_catalog.pg_cancel_backend(pid) from pg_catalog.pg_stat_activity
       where pid = $1 and application_name = pg_catalog.current_setting('application_name')`,
      [processId],
    );
  } catch {
    // Never throws; see above.
  } finally {
    await canceller.end().catch(() => {});
  }
}
