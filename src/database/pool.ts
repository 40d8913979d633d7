/**
 * The pool of connections to Postgres. It closes connections that are too old, that were lost, or that lead to a server
 * that no longer accepts writes.
 */
import pg from 'pg';
import { applicationName, keepAlive, prepareConnection, StandbyFault, settingsSql, types } from './connection.js';
import type { DatabaseOptions } from './database.js';
import { isConnectionLost, isReadOnly, lostRace } from './errors.js';
import { createPoolConnections, type RenewMode } from './pool-connections.js';
import { createServers, type Servers } from './servers.js';

export interface ConnectionPool {
  /** The driver's pool. It may lend connections that are too old; `lend` does not. */
  readonly pool: pg.Pool;
  /**
   * Runs `work` with a connection. Runs it again if it lost a race or found a read-only server and, with `onlyReads`,
   * if renew() cut its connection.
   */
  lend<T>(work: (client: pg.PoolClient) => Promise<T>, options?: { onlyReads?: boolean }): Promise<T>;
  /** As `renewConnections` of Database. */
  renew(mode: RenewMode): void;
}

// Work that has failed in this many retries would probably fail again.
const retriesMax = 4;

// After statement_timeout, the driver waits this long for the server to report that it cancelled the statement.
const cancelGraceMs = 5_000;

// Long enough to reuse connections in the next burst, short enough to free them for other services.
const idleConnectionMs = 60_000;

// A read-only database rejects every write. This limits how often that renews the connections.
const renewEveryMsMin = 1_000;

// Postgres keeps the plan of a named statement. A plan that was made for few users would read the whole table, even
// after it has grown (docs/decisions/0027-scans-override-a-planner-setting.md). Up to Postgres 17 a disabled plan node
// has such a high cost that Postgres JIT-compiles the statement, which takes longer than running it.
const plannerSettings = settingsSql({ enable_seqscan: 'off', jit: 'off' });

type PoolOptions = Pick<pg.PoolConfig, 'onConnect' | 'pipeline'> & {
  readonly Client?: new (config?: pg.ClientConfig) => pg.Client;
};

/** Creates the driver's pool with Roster's options. Its connections lead to the server of `servers` that is in use. */
export function createPool(
  options: DatabaseOptions,
  servers: Servers,
  { Client: Base = pg.Client, ...poolOptions }: PoolOptions,
): pg.Pool {
  class ServerClient extends Base {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, ...servers.config() });
    }
  }
  const pool = new ServerPool(servers, {
    application_name: applicationName,
    max: options.connectionsMax,
    connectionTimeoutMillis: servers.connectTimeoutMs,
    idleTimeoutMillis: idleConnectionMs,
    ...keepAlive,
    statement_timeout: options.statementTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    idle_in_transaction_session_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs === 0 ? 0 : options.statementTimeoutMs + cancelGraceMs,
    types,
    ...poolOptions,
    Client: ServerClient,
  });
  // If an idle connection breaks, the pool opens another one when it needs it.
  pool.on('error', () => {});
  return pool;
}

type OnConnected = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (release?: unknown) => void,
) => void;

/** The driver's pool. If a connection cannot be opened, it looks for another server and tries once more. */
class ServerPool extends pg.Pool {
  readonly #servers: Servers;

  constructor(servers: Servers, options: pg.PoolConfig) {
    super(options);
    this.#servers = servers;
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: OnConnected): void;
  override connect(callback?: OnConnected): Promise<pg.PoolClient> | undefined {
    const connected = this.#connect();
    if (callback === undefined) return connected;
    connected.then(
      (client) => callback(undefined, client, (release) => client.release(release as boolean)),
      (error: Error) => callback(error, undefined, () => {}),
    );
    return undefined;
  }

  async #connect(): Promise<pg.PoolClient> {
    const finding = this.#servers.find();
    if (finding !== undefined) await finding;
    try {
      return await this.#connectToServer();
    } catch (error) {
      const isFull = error instanceof Error && error.message.startsWith('timeout exceeded');
      if (isFull || this.ending || !this.#servers.forget()) throw error;
      await this.#servers.find();
      return this.#connectToServer();
    }
  }

  async #connectToServer(): Promise<pg.PoolClient> {
    try {
      return await super.connect();
    } catch (error) {
      this.#servers.noteFailure(error);
      throw error;
    }
  }
}

export function createConnectionPool(
  options: DatabaseOptions,
  servers: Servers = createServers(options.url, options.connectTimeoutMs),
): ConnectionPool {
  const connections = createPoolConnections(options.connectionAgeMsMax);
  // `pipeline` lets a scan send its setting and its statement in one round trip.
  const pool = createPool(options, servers, { Client: connections.Client, onConnect: prepare, pipeline: true });
  connections.observe(pool);
  let readOnlySeenMs = Number.NEGATIVE_INFINITY;

  async function prepare(client: pg.ClientBase): Promise<void> {
    try {
      await prepareConnection(client, servers, options.preparedStatements ? plannerSettings : [], options);
    } catch (error) {
      if (error instanceof StandbyFault) renewAfterReadOnly();
      throw error;
    }
  }

  /** Renews the connections, because the address may lead to a new primary. Returns false if it did so recently. */
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

  return {
    pool,
    renew(mode) {
      servers.forget();
      connections.renew(mode);
    },

    async lend(work, { onlyReads = false } = {}) {
      for (let retries = 0; ; retries++) {
        const client = await connect();
        let isLost = false;
        try {
          return await work(client);
        } catch (error) {
          isLost = isConnectionLost(error);
          const hasRenewed = isReadOnly(error) && renewAfterReadOnly();
          const wasCut = onlyReads && connections.wasCut(client);
          if (!(lostRace(error) || hasRenewed || wasCut) || retries === retriesMax) throw error;
        } finally {
          // pool.query() would close the connection after every error, including a taken email.
          const isIdle = client.getTransactionStatus() === 'I';
          client.release(isLost || !isIdle || !connections.isCurrent(client));
        }
      }
    },
  };
}
