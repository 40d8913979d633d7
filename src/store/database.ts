/**
 * The connection to Postgres: one TypeORM data source, and named statements on its pool.
 *
 * Every error that leaves here is a Fault, or a bug of ours. A connection that was lost is never put back.
 */
import 'reflect-metadata';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { parseJson } from '../json.js';
import { Fault } from '../model/fault.js';
import { faultOf, isConnectionLost, lostRace } from './faults.js';
import { migrations, migrationsTableName } from './migrations.js';
import { parseTime } from './parse-time.js';
import { DirectoryRow, RequestIdRow, UserRow } from './rows.js';

export interface DatabaseOptions {
  url: string;
  connectionsMax: number;
  connectTimeoutMs: number;
  statementTimeoutMs: number;
  lockTimeoutMs: number;
  /** Off behind a PgBouncer before 1.21 in transaction mode, which forgets them. */
  preparedStatements: boolean;
}

/** A statement that is sent often: Postgres parses and plans it once for each connection under its name. */
export interface Statement {
  /** Empty for one that is planned anew for each of its values. */
  readonly name: string;
  readonly text: string;
}

/** A row as an array of its columns, in the statement's order. */
export type Row = readonly unknown[];

export type RunStatement = (statement: Statement, values: readonly unknown[]) => Promise<Row[]>;

export interface Database {
  readonly dataSource: DataSource;
  /** How many statements may run at once. */
  readonly connectionsMax: number;
  /** Those of the pool now, and what waits for one of them. */
  connections(): { readonly total: number; readonly idle: number; readonly waiting: number };
  /** Runs a statement in a transaction of its own. One that lost a race to another transaction is run again. */
  run(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /**
   * Lends a connection for reading; what runs on it is cancelled in the server as soon as `signal` is aborted. Statements
   * without a name may read whole tables. Where a race is lost, all of `work` is done again.
   */
  withConnection<T>(signal: AbortSignal, work: (run: RunStatement) => Promise<T>): Promise<T>;
  /**
   * Opens a connection outside the pool, for what holds a transaction or temporary tables for longer than a call. What
   * runs on it is cancelled in the server as soon as `signal` is aborted, and it is of no use afterwards. It has no
   * statement_timeout of its own.
   */
  openSession(signal: AbortSignal): Promise<Session>;
  close(): Promise<void>;
}

/** A connection of one caller's own; it is closed, and with it what was not committed undone, when it is disposed of. */
export interface Session extends AsyncDisposable {
  /** For COPY and cursors, as the driver has them. */
  readonly client: pg.Client;
  /** Throws Faults, as everything of Database does. */
  query(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

// A race that is lost this often in a row is no accident.
const racesMax = 4;

// The driver gives up on a server that does not even answer that it has cancelled the statement.
const answerGraceMs = 5_000;

// Long enough for a burst to find its connections again, short enough to give them back to other services.
const idleConnectionMs = 60_000;

const applicationName = 'roster';

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const dataSource = createDataSource(options);
  try {
    await dataSource.initialize();
  } catch (error) {
    throw faultOf(error);
  }
  const pool = poolOf(dataSource);

  /** Work that lost a race is done again. */
  async function lend<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    for (let races = 0; ; races++) {
      try {
        return await lendOnce(work);
      } catch (error) {
        if (!lostRace(error) || races === racesMax) throw error;
      }
    }
  }

  async function lendOnce<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect();
    let lost = false;
    try {
      return await work(client);
    } catch (error) {
      lost = isConnectionLost(error);
      throw error;
    } finally {
      // pool.query() would close the connection after every error, a taken email too.
      client.release(lost);
    }
  }

  async function query(client: pg.PoolClient, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    const { rows } = await client.query<unknown[]>({
      name: (options.preparedStatements && statement.name) || undefined,
      text: statement.text,
      values: [...values],
      rowMode: 'array',
    });
    return rows;
  }

  /** A statement that may have to read a whole table, which those that are kept must not. */
  async function scan(client: pg.PoolClient, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    if (!options.preparedStatements) return query(client, statement, values);
    await client.query('set enable_seqscan = on');
    try {
      return await query(client, statement, values);
    } finally {
      // Where this fails, the connection goes with it, or plans like any other.
      await client.query('set enable_seqscan = off').catch(() => {});
    }
  }

  return {
    dataSource,
    connectionsMax: options.connectionsMax,

    connections: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),

    async run(statement, values) {
      try {
        return await lend((client) => query(client, statement, values));
      } catch (error) {
        throw faultOf(error);
      }
    },

    async withConnection(signal, work) {
      signal.throwIfAborted();
      try {
        return await lend(async (client) => {
          let cancelled: Promise<void> | undefined;
          const cancel = () => {
            cancelled = cancelStatement(options, client);
          };
          signal.addEventListener('abort', cancel, { once: true });
          try {
            signal.throwIfAborted();
            return await work((statement, values) => (statement.name === '' ? scan : query)(client, statement, values));
          } finally {
            signal.removeEventListener('abort', cancel);
            // A cancel hits whatever the connection runs when it arrives: nobody else may have it before.
            await cancelled;
          }
        });
      } catch (error) {
        signal.throwIfAborted();
        throw faultOf(error);
      }
    },

    openSession: (signal) => openSession(options, signal),

    async close() {
      await dataSource.destroy();
    },
  };
}

// How long a session's goodbye may take before its socket is simply closed.
const goodbyeMs = 1_000;

async function openSession(options: DatabaseOptions, signal: AbortSignal): Promise<Session> {
  signal.throwIfAborted();
  const client = new pg.Client({
    connectionString: options.url,
    application_name: applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    keepAlive: true,
    types,
  });
  // Before it connects: a connection may break in the same moment as it is there.
  client.on('error', () => {});
  let cancelled: Promise<void> | undefined;
  const cancel = () => {
    // Without the cancel the server would work on until it looks at its socket again.
    cancelled = cancelStatement(options, client).finally(() => client.end().catch(() => {}));
  };
  const dispose = async () => {
    signal.removeEventListener('abort', cancel);
    await cancelled;
    const late = sleep(goodbyeMs, true, { ref: false });
    const ended = client.end().then(
      () => false,
      () => true,
    );
    if (await Promise.race([ended, late])) socketOf(client)?.destroy();
  };
  try {
    await client.connect();
    await prepareConnection(client, options.connectTimeoutMs);
  } catch (error) {
    await dispose();
    throw faultOf(error);
  }
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) {
    await dispose();
    signal.throwIfAborted();
  }
  return {
    client,
    async query(text, values = []) {
      try {
        signal.throwIfAborted();
        return (await client.query<unknown[]>({ text, values: [...values], rowMode: 'array' })).rows;
      } catch (error) {
        signal.throwIfAborted();
        throw faultOf(error);
      }
    },
    [Symbol.asyncDispose]: dispose,
  };
}

function socketOf(client: pg.Client): Socket | undefined {
  // The driver has no public name for it.
  return (client as unknown as { connection?: { stream?: Socket } }).connection?.stream;
}

const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.JSONB, (text) => parseJson(text));
types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, parseTime);

export function createDataSource(options: DatabaseOptions): DataSource {
  return new DataSource({
    type: 'postgres',
    url: options.url,
    applicationName,
    entities: [UserRow, RequestIdRow, DirectoryRow],
    migrations: [...migrations],
    migrationsTableName,
    installExtensions: false,
    logging: false,
    // An idle connection that breaks is replaced when it is needed; there is nothing to do or to say about it.
    poolErrorHandler: () => {},
    extra: {
      max: options.connectionsMax,
      connectionTimeoutMillis: options.connectTimeoutMs,
      idleTimeoutMillis: idleConnectionMs,
      keepAlive: true,
      statement_timeout: options.statementTimeoutMs,
      lock_timeout: options.lockTimeoutMs,
      idle_in_transaction_session_timeout: options.statementTimeoutMs,
      query_timeout: options.statementTimeoutMs === 0 ? 0 : options.statementTimeoutMs + answerGraceMs,
      onConnect: (client: pg.Client) =>
        prepareConnection(client, options.connectTimeoutMs, options.preparedStatements ? planOnce : ''),
      types,
    },
  });
}

// Postgres keeps the plan of a named statement, and one that was made while there were few users would go on reading the
// whole table until autovacuum has looked at it again: at 100,000 more, 19 ms for a get, and seconds for 64 updates. Up to
// Postgres 17 what is off costs so much that compiling the statement seems worth it, which takes longer than to run it.
const planOnce = `, set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)`;

async function prepareConnection(client: pg.Client, timeoutMs: number, settings = ''): Promise<void> {
  // Without a listener, a connection that breaks while it is lent out ends the process.
  client.on('error', () => {});
  const text = `select pg_is_in_recovery(), current_setting('server_encoding')${settings}`;
  // The driver's timeout of a connection ends before this; without one of its own a silent server would be waited for.
  const query: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs };
  const { rows } = await client.query(query);
  const [{ pg_is_in_recovery: standby, current_setting: encoding }] = rows;
  if (standby) throw new Fault('DATABASE_UNAVAILABLE', 'The database is a standby, which takes no writes.');
  if (encoding !== 'UTF8') throw new Error(`The database's encoding is ${encoding}; Roster needs UTF8.`);
}

function poolOf(dataSource: DataSource): pg.Pool {
  // TypeORM has no public name for its pool.
  return (dataSource.driver as unknown as { master: pg.Pool }).master;
}

/**
 * Cancels what a connection runs, through another one that is not of the pool, which may be exhausted. Never fails:
 * what cannot be cancelled, for example behind a pooler that hides the server's process, ends by statement_timeout.
 */
async function cancelStatement(options: DatabaseOptions, client: pg.ClientBase): Promise<void> {
  const { processID } = client as unknown as { processID: number };
  const canceller = new pg.Client({
    connectionString: options.url,
    application_name: applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs,
    query_timeout: options.connectTimeoutMs,
  });
  canceller.on('error', () => {});
  try {
    await canceller.connect();
    // A pooler makes process numbers up: without the second condition this could hit somebody else's statement. The
    // name is not a constant here, because one in the URL goes before ours.
    await canceller.query(
      `select pg_cancel_backend(pid) from pg_stat_activity
       where pid = $1 and application_name = current_setting('application_name')`,
      [processID],
    );
  } catch {
    // See above.
  } finally {
    await canceller.end().catch(() => {});
  }
}
