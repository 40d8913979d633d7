/**
 * The connection to Postgres: one TypeORM data source, and named statements on its pool.
 *
 * Every error that leaves here is a Fault, or a bug of ours. A connection that was lost is never put back.
 */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { Fault } from '../model/fault.js';
import {
  applicationName,
  cutConnection,
  keepAlive,
  prepareConnection,
  StandbyFault,
  settingsSql,
  types,
} from './connection.js';
import { faultOf, isConnectionLost, isReadOnly, lostRace } from './faults.js';
import { migrations, migrationsTableName } from './migrations.js';
import { createPoolConnections, type InUse } from './pool-connections.js';
import { switchesServers } from './pooler.js';
import { DirectoryRow, RequestIdRow, UserRow } from './rows.js';

export interface DatabaseOptions {
  url: string;
  /** For what needs a session of its own, if `url` leads to a pooler. */
  directUrl?: string | undefined;
  connectionsMax: number;
  /** A pooled connection is closed at this age, or up to a quarter earlier. */
  connectionAgeMsMax: number;
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
   * without a name may read whole tables. All of `work` is done again if it loses a race, or if renewConnections() cuts its
   * connection.
   */
  withConnection<T>(signal: AbortSignal, work: (run: RunStatement) => Promise<T>): Promise<T>;
  /**
   * Opens a connection outside the pool, for what takes longer than a call. What runs on it is cancelled in the server as
   * soon as `signal` is aborted, and it is of no use afterwards. It has no statement_timeout of its own.
   *
   * With `keepsState` it keeps temporary tables and settings from one transaction to the next. If there is a pooler that
   * gives each transaction another server connection, the call throws DATABASE_UNAVAILABLE, and nothing has been done.
   */
  openSession(signal: AbortSignal, options?: SessionOptions): Promise<Session>;
  /**
   * Closes every pooled connection that is open now, because it may have died silently or lead to a server that has
   * become a standby. With `cut` the statements on them fail at once, also those of sessions; with `finish` they may end.
   */
  renewConnections(inUse: InUse): void;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly keepsState?: boolean;
}

/** A connection of one caller's own; it is closed, and with it what was not committed undone, when it is disposed of. */
export interface Session extends AsyncDisposable {
  /** For COPY and cursors, as the driver has them. */
  readonly client: pg.Client;
  /** The number of the server process. */
  readonly backendPid: number;
  /** Throws Faults, as everything of Database does. */
  query(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

// A race that is lost this often in a row is no accident.
const racesMax = 4;

// The driver gives up on a server that does not even answer that it has cancelled the statement.
const answerGraceMs = 5_000;

// Long enough for a burst to find its connections again, short enough to give them back to other services.
const idleConnectionMs = 60_000;

// A database that somebody has set to read-only refuses every write; the connections are not renewed for each of them.
const renewEveryMsMin = 1_000;

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const connections = createPoolConnections(options.connectionAgeMsMax);
  const sessions = new Set<pg.Client>();
  const dataSource = createDataSource(options, {
    Client: connections.Client,
    onConnect: (client: pg.Client) => preparePooled(client),
  });
  try {
    await dataSource.initialize();
  } catch (error) {
    throw faultOf(error);
  }
  const pool = poolOf(dataSource);
  connections.observe(pool);
  let readOnlySeenMs = Number.NEGATIVE_INFINITY;

  async function preparePooled(client: pg.Client): Promise<void> {
    try {
      await prepareConnection(client, options.connectTimeoutMs, options.preparedStatements ? planOnce : []);
    } catch (error) {
      if (error instanceof StandbyFault) renewAfterReadOnly();
      throw error;
    }
  }

  /** The address may have moved to a new primary. Returns whether connections were renewed because of this. */
  function renewAfterReadOnly(): boolean {
    const nowMs = performance.now();
    if (nowMs - readOnlySeenMs < renewEveryMsMin) return false;
    readOnlySeenMs = nowMs;
    connections.renew('finish');
    return true;
  }

  /** A connection that was made after the last renewal. */
  async function connect(): Promise<pg.PoolClient> {
    let hasFailed = false;
    while (true) {
      const { renewals } = connections;
      let client: pg.PoolClient;
      try {
        client = await pool.connect();
      } catch (error) {
        // A renewal also cuts the connections that are still being made.
        if (hasFailed || renewals === connections.renewals) throw error;
        hasFailed = true;
        continue;
      }
      if (connections.isCurrent(client)) return client;
      client.release(true);
    }
  }

  /** Work is done again if it lost a race; if it has surely written nothing, also after its connection was cut. */
  async function lend<T>(work: (client: pg.PoolClient) => Promise<T>, { onlyReads = false } = {}): Promise<T> {
    for (let races = 0; ; races++) {
      const client = await connect();
      let isLost = false;
      try {
        return await work(client);
      } catch (error) {
        isLost = isConnectionLost(error);
        const wasMoved = isReadOnly(error) && renewAfterReadOnly();
        const wasCut = onlyReads && connections.wasCut(client);
        if (!(lostRace(error) || wasMoved || wasCut) || races === racesMax) throw error;
      } finally {
        // pool.query() would close the connection after every error, a taken email too.
        client.release(isLost || !connections.isCurrent(client) || isInTransaction(client));
      }
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

  /**
   * A statement that may have to read a whole table, which those that are kept must not. The setting is the transaction's,
   * so that it applies to this statement also behind a pooler, and to no other.
   */
  async function scan(client: pg.PoolClient, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    if (!options.preparedStatements) return query(client, statement, values);
    try {
      await client.query('begin; set local enable_seqscan = on');
      const rows = await query(client, statement, values);
      await client.query('commit');
      return rows;
    } catch (error) {
      if (!isConnectionLost(error)) await client.query('rollback');
      throw error;
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
        return await lend(
          async (client) => {
            let cancelled: Promise<void> | undefined;
            const cancel = () => {
              cancelled = cancelStatement(options.url, options.connectTimeoutMs, processIdOf(client));
            };
            signal.addEventListener('abort', cancel, { once: true });
            try {
              signal.throwIfAborted();
              return await work((statement, values) =>
                (statement.name === '' ? scan : query)(client, statement, values),
              );
            } finally {
              signal.removeEventListener('abort', cancel);
              // A cancel hits whatever the connection runs when it arrives: nobody else may have it before.
              await cancelled;
            }
          },
          { onlyReads: true },
        );
      } catch (error) {
        signal.throwIfAborted();
        throw faultOf(error);
      }
    },

    async openSession(signal, sessionOptions) {
      const session = await openSession(options, signal, sessionOptions);
      // A session on a direct URL takes another path, about which the pool's path says nothing.
      if (options.directUrl === undefined) {
        sessions.add(session.client);
        session.client.once('end', () => sessions.delete(session.client));
      }
      return session;
    },

    renewConnections(inUse) {
      connections.renew(inUse);
      if (inUse === 'cut') for (const client of sessions) cutConnection(client);
    },

    async close() {
      await dataSource.destroy();
    },
  };
}

// How long a session's goodbye may take before its socket is simply closed.
const goodbyeMs = 1_000;

async function openSession(
  options: DatabaseOptions,
  signal: AbortSignal,
  { keepsState = false }: SessionOptions = {},
): Promise<Session> {
  signal.throwIfAborted();
  const url = options.directUrl ?? options.url;
  const createClient = (queryTimeoutMs?: number) => {
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: options.connectTimeoutMs,
      lock_timeout: options.lockTimeoutMs,
      query_timeout: queryTimeoutMs,
      ...keepAlive,
      types,
    });
    // Before it connects: a connection may break in the same moment as it is there.
    client.on('error', () => {});
    return client;
  };
  const client = createClient();
  let backendPid = 0;
  let isLeftToOthers = false;
  let cancelled: Promise<void> | undefined;
  const cancel = () => {
    // Without the cancel the server would work on until it looks at its socket again.
    cancelled = cancelStatement(url, options.connectTimeoutMs, backendPid);
    // Nobody waits for this: on a connection that has died silently it may not end before dispose() cuts it.
    cancelled.then(() => client.end()).catch(() => {});
  };
  const end = async () => {
    if (isLeftToOthers && cancelled === undefined) {
      await client.query('rollback').catch(() => {});
      await client.query('discard all').catch(() => {});
    }
    await client.end();
  };
  const dispose = async () => {
    signal.removeEventListener('abort', cancel);
    await cancelled;
    const late = sleep(goodbyeMs, true, { ref: false });
    const ended = end().then(
      () => false,
      () => true,
    );
    if (await Promise.race([ended, late])) cutConnection(client);
  };
  try {
    await client.connect();
    backendPid = await prepareConnection(client, options.connectTimeoutMs);
    // Poolers make the number up that they give their clients.
    const isPooled = backendPid !== processIdOf(client);
    const openAnother = () => createClient(options.connectTimeoutMs).connect();
    if (isPooled && keepsState && (await switchesServers(client, openAnother))) throw poolerSwitches();
    // Such a pooler may give the server connection to its next client as it is, with temporary tables and settings.
    isLeftToOthers = isPooled && keepsState;
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
    backendPid,
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

/** A pooler gives each transaction another server connection, so that nothing can be kept on one. */
export function poolerSwitches(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The connection pooler in front of the database does not keep sessions (transaction mode), which this call needs. ' +
      'Nothing was written. Set DATABASE_DIRECT_URL to a URL that leads past the pooler.',
  );
}

/** `pool` are more options of the driver's pool. */
export function createDataSource(options: DatabaseOptions, pool: object): DataSource {
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
      ...keepAlive,
      statement_timeout: options.statementTimeoutMs,
      lock_timeout: options.lockTimeoutMs,
      idle_in_transaction_session_timeout: options.statementTimeoutMs,
      query_timeout: options.statementTimeoutMs === 0 ? 0 : options.statementTimeoutMs + answerGraceMs,
      types,
      ...pool,
    },
  });
}

// Postgres keeps the plan of a named statement, and one that was made while there were few users would go on reading the
// whole table until autovacuum has looked at it again: at 100,000 more, 19 ms for a get, and seconds for 64 updates. Up to
// Postgres 17 what is off costs so much that compiling the statement seems worth it, which takes longer than to run it.
const planOnce = settingsSql({ enable_seqscan: 'off', jit: 'off' });

function poolOf(dataSource: DataSource): pg.Pool {
  // TypeORM has no public name for its pool.
  return (dataSource.driver as unknown as { master: pg.Pool }).master;
}

/**
 * Cancels what a connection runs, through another one that is not of the pool, which may be exhausted. Never fails:
 * what cannot be cancelled, for example behind a pooler that hides the server's process, ends by statement_timeout.
 */
async function cancelStatement(url: string, timeoutMs: number, processId: number): Promise<void> {
  const canceller = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  });
  canceller.on('error', () => {});
  try {
    await canceller.connect();
    // A pooler makes process numbers up: without the second condition this could hit somebody else's statement. The
    // name is not a constant here, because one in the URL goes before ours.
    await canceller.query(
      `select pg_catalog.pg_cancel_backend(pid) from pg_catalog.pg_stat_activity
       where pid = $1 and application_name = pg_catalog.current_setting('application_name')`,
      [processId],
    );
  } catch {
    // See above.
  } finally {
    await canceller.end().catch(() => {});
  }
}

/** As the server, or a pooler, has said it when the connection was made. */
function processIdOf(client: pg.ClientBase): number {
  // The driver's types do not have it.
  return (client as unknown as { processID: number }).processID;
}

/** As of the last statement that ended. */
function isInTransaction(client: pg.ClientBase): boolean {
  return client.getTransactionStatus() !== 'I';
}
