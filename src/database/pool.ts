/**
 * The pool of connections to Postgres. It closes connections that are too old, that were lost, or that lead to a server
 * that no longer accepts writes.
 */
import pg from 'pg';
import { applicationName, keepAlive, prepareConnection, StandbyFault, settingsSql, types } from './connection.js';
import type { DatabaseOptions } from './database.js';
import { isConnectionLost, isReadOnly, lostRace } from './errors.js';
import { createPoolConnections, type RenewMode } from './pool-connections.js';

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

/** Creates the driver's pool with Roster's options. */
export function createPool(
  options: DatabaseOptions,
  poolOptions: Pick<pg.PoolConfig, 'Client' | 'onConnect' | 'pipeline'>,
): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: applicationName,
    max: options.connectionsMax,
    connectionTimeoutMillis: options.connectTimeoutMs,
    idleTimeoutMillis: idleConnectionMs,
    ...keepAlive,
    statement_timeout: options.statementTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    idle_in_transaction_session_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs === 0 ? 0 : options.statementTimeoutMs + cancelGraceMs,
    types,
    ...poolOptions,
  });
  // If an idle connection breaks, the pool opens another one when it needs it.
  pool.on('error', () => {});
  return pool;
}

export function createConnectionPool(options: DatabaseOptions): ConnectionPool {
  const connections = createPoolConnections(options.connectionAgeMsMax);
  // `pipeline` lets a scan send its setting and its statement in one round trip.
  const pool = createPool(options, { Client: connections.Client, onConnect: prepare, pipeline: true });
  connections.observe(pool);
  let readOnlySeenMs = Number.NEGATIVE_INFINITY;

  async function prepare(client: pg.ClientBase): Promise<void> {
    try {
      await prepareConnection(client, options.connectTimeoutMs, options.preparedStatements ? plannerSettings : []);
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
    renew: (mode) => connections.renew(mode),

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
