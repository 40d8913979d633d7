/**
 * The connection to Postgres: one TypeORM data source, and named statements on its pool.
 *
 * Every error that leaves this file is a Fault or a bug in Roster. A lost connection never returns to the pool.
 */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource, type MigrationInterface } from 'typeorm';
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
import { ChangeFeedRow } from './entities/change-feed-row.js';
import { ChangeRow } from './entities/change-row.js';
import { DirectoryRow } from './entities/directory-row.js';
import { moreTypes } from './entities/postgres-types.js';
import { RequestIdRow } from './entities/request-id-row.js';
import { UserRow } from './entities/user-row.js';
import { faultOf, isConnectionLost, isReadOnly, lostRace } from './errors.js';
import { migrations, migrationsTableName } from './migrations.js';
import { createPoolConnections, type InUse } from './pool-connections.js';
import { switchesServers } from './pooler.js';

export interface DatabaseOptions {
  url: string;
  /** For sessions that keep state, if `url` leads to a pooler. */
  directUrl?: string | undefined;
  connectionsMax: number;
  /** A pooled connection is closed at this age, or up to a quarter earlier. */
  connectionAgeMsMax: number;
  connectTimeoutMs: number;
  statementTimeoutMs: number;
  lockTimeoutMs: number;
  /** Off for a PgBouncer before 1.21 in transaction mode, which does not support them. */
  preparedStatements: boolean;
}

/** A frequent statement. Each connection parses and plans it once, under its name. */
export interface Statement {
  /** Empty for a statement that is planned again for each set of values. */
  readonly name: string;
  readonly text: string;
}

/** A row as an array of columns, in the order of the statement. */
export type Row = readonly unknown[];

export type RunStatement = (statement: Statement, values: readonly unknown[]) => Promise<Row[]>;

export interface Database {
  readonly dataSource: DataSource;
  /** How many statements may run at once. */
  readonly connectionsMax: number;
  /** Counts of the pool's connections, and of calls that wait for one. */
  connections(): { readonly total: number; readonly idle: number; readonly waiting: number };
  /** Runs a statement in a separate transaction, and runs it again if it lost a race to another transaction. */
  run(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /**
   * Lends a connection for reading. A running statement is cancelled in the server as soon as `signal` is aborted.
   * Statements without a name may read whole tables. `work` runs again if it loses a race, or if renewConnections()
   * cuts its connection.
   */
  withConnection<T>(signal: AbortSignal, work: (run: RunStatement) => Promise<T>): Promise<T>;
  /**
   * Opens a connection outside the pool, for work that takes longer than a call. A running statement is cancelled in
   * the server as soon as `signal` is aborted; after that the session is unusable. It sets no statement_timeout.
   *
   * With `keepsState` it keeps temporary tables and settings between transactions. If a pooler gives each transaction
   * another server connection, it throws DATABASE_UNAVAILABLE before it changes anything.
   */
  openSession(signal: AbortSignal, options?: SessionOptions): Promise<Session>;
  /**
   * Closes every pooled connection that is open now, because it may be dead or lead to a server that has become a
   * standby. `cut` fails running statements at once, also those of sessions; `finish` lets them end.
   */
  renewConnections(inUse: InUse): void;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly keepsState?: boolean;
}

/** A connection with one owner. Disposing of it closes it, and uncommitted work is rolled back. */
export interface Session extends AsyncDisposable {
  /** The driver's client, for COPY and cursors. */
  readonly client: pg.Client;
  /** The process id of the server process. */
  readonly backendPid: number;
  /** Throws Faults, like Database. */
  query(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

// Losing this many races in a row is not a coincidence.
const racesMax = 4;

// Extra time for the server to answer that it cancelled a statement; after it the driver gives up.
const answerGraceMs = 5_000;

// Long enough to reuse connections in the next burst, short enough to free them for other services.
const idleConnectionMs = 60_000;

// A read-only database refuses every write; this limits how often that renews the connections.
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

  /**
   * Renews the connections, because the address may have moved to a new primary. Returns false if it did so recently.
   */
  function renewAfterReadOnly(): boolean {
    const nowMs = performance.now();
    if (nowMs - readOnlySeenMs < renewEveryMsMin) return false;
    readOnlySeenMs = nowMs;
    connections.renew('finish');
    return true;
  }

  /** Returns a connection that was opened after the last renewal. */
  async function connect(): Promise<pg.PoolClient> {
    let hasFailed = false;
    while (true) {
      const { renewals } = connections;
      let client: pg.PoolClient;
      try {
        client = await pool.connect();
      } catch (error) {
        // A renewal also cuts connections that are still opening.
        if (hasFailed || renewals === connections.renewals) throw error;
        hasFailed = true;
        continue;
      }
      if (connections.isCurrent(client)) return client;
      client.release(true);
    }
  }

  /** Runs the work again if it lost a race. If it only reads, also after its connection was cut. */
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
        // pool.query() would close the connection after every error, including a taken email.
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
   * Runs a statement that may have to read a whole table, which named statements must not do. The setting is local to
   * the transaction, so it affects only this statement, also with a pooler.
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
              // A cancel request hits any statement that the connection runs on arrival, so the connection is not
              // returned before.
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
      // A session on a direct URL uses another network path, so the pool's failures say nothing about it.
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

// After this time, the socket of a closing session is destroyed.
const disconnectTimeoutMs = 1_000;

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
    // Before it connects, because a connection may break right after it opens.
    client.on('error', () => {});
    return client;
  };
  const client = createClient();
  let backendPid = 0;
  let isLeftToOthers = false;
  let cancelled: Promise<void> | undefined;
  const cancel = () => {
    // Without the cancel request, the server would work on until it next checks its socket.
    cancelled = cancelStatement(url, options.connectTimeoutMs, backendPid);
    // Not awaited: on a connection that has died silently it may not end before dispose() cuts it.
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
    const late = sleep(disconnectTimeoutMs, true, { ref: false });
    const ended = end().then(
      () => false,
      () => true,
    );
    if (await Promise.race([ended, late])) cutConnection(client);
  };
  try {
    await client.connect();
    backendPid = await prepareConnection(client, options.connectTimeoutMs);
    // Poolers give their clients invented process ids.
    const isPooled = backendPid !== processIdOf(client);
    const openAnother = () => createClient(options.connectTimeoutMs).connect();
    if (isPooled && keepsState && (await switchesServers(client, openAnother, options.connectTimeoutMs))) {
      throw poolerSwitches();
    }
    // Such a pooler may give the server connection to its next client with temporary tables and settings.
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

/** The fault for a pooler that gives each transaction another server connection, so that no session can keep state. */
export function poolerSwitches(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The connection pooler does not keep sessions (transaction mode), but this call needs one. ' +
      'Nothing was written. Set DATABASE_DIRECT_URL to a URL that bypasses the pooler.',
  );
}

/** `pool` has more options for the driver's pool. */
export function createDataSource(
  options: DatabaseOptions,
  pool: object,
  known: readonly (new () => MigrationInterface)[] = migrations,
): DataSource {
  const dataSource = new DataSource({
    type: 'postgres',
    url: options.url,
    applicationName,
    entities: [UserRow, RequestIdRow, DirectoryRow, ChangeRow, ChangeFeedRow],
    migrations: [...known],
    migrationsTableName,
    installExtensions: false,
    // Makes TypeORM generate UUIDs with gen_random_uuid(), which no longer needs this extension.
    uuidExtension: 'pgcrypto',
    logging: false,
    // An idle connection that breaks is replaced when it is needed.
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
  dataSource.driver.supportedDataTypes.push(...moreTypes);
  return dataSource;
}

// Postgres keeps the plan of a named statement. A plan from the time of few users would read the whole table until the
// next autovacuum: after 100,000 more users, 19 ms for a get and seconds for 64 updates. Until Postgres 17 a disabled
// plan node has such a high cost that Postgres JIT-compiles the statement, which takes longer than running it.
const planOnce = settingsSql({ enable_seqscan: 'off', jit: 'off' });

function poolOf(dataSource: DataSource): pg.Pool {
  // TypeORM has no public name for its pool.
  return (dataSource.driver as unknown as { master: pg.Pool }).master;
}

/**
 * Cancels a connection's statement through a connection outside the pool, which may be exhausted. Never fails: a
 * statement that cannot be cancelled, such as one of a pooler that hides process ids, ends by statement_timeout.
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
    // A pooler invents process ids; the second condition protects other clients' statements. The name is not a constant
    // because a name in the URL overrides ours.
    await canceller.query(
      `select pg_catalog.pg_cancel_backend(pid) from pg_catalog.pg_stat_activity
       where pid = $1 and application_name = pg_catalog.current_setting('application_name')`,
      [processId],
    );
  } catch {
    // Never fails; see above.
  } finally {
    await canceller.end().catch(() => {});
  }
}

/** The process id that the server or a pooler sent when the connection opened. */
function processIdOf(client: pg.ClientBase): number {
  // The driver's types do not declare it.
  return (client as unknown as { processID: number }).processID;
}

/** The state after the last statement. */
function isInTransaction(client: pg.ClientBase): boolean {
  return client.getTransactionStatus() !== 'I';
}
