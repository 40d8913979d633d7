/**
 * Runs statements and TypeORM on one pool of connections, and opens sessions outside the pool.
 *
 * It throws errors of the database as Faults. Any other error of the driver is a bug in Roster.
 */
import type pg from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import { logPosition } from '../model/consistency-token.js';
import { runBinary } from './binary-query.js';
import type { Row } from './columns.js';
import {
  type AcceptedServer,
  cancelStatement,
  cutConnection,
  isPooled,
  OtherServerFault,
  processIdOf,
} from './connection.js';
import { faultOf } from './errors.js';
import { createDataSource } from './orm.js';
import { createConnectionPool } from './pool.js';
import type { RenewMode } from './pool-connections.js';
import type { RowMessage } from './row-messages.js';
import { serverRun } from './server-run.js';
import { createServers, type Servers } from './servers.js';
import { openSession, type Session, type SessionOptions } from './session.js';

export interface DatabaseOptions extends AcceptedServer {
  url: string;
  /** For sessions and migrations, if `url` leads to a pooler. */
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

/** An SQL statement. Each connection parses and plans a statement with a name only once. */
export interface Statement {
  /** Empty for a statement that is planned again for each set of values. */
  readonly name: string;
  readonly text: string;
}

type Run<R> = (statement: Statement, values: readonly unknown[]) => Promise<R[]>;

/** Returns the rows with parsed cells. */
export type RunStatement = Run<Row>;

/** Returns the rows as Postgres sends them, in the binary format. */
export type RunBinary = Run<RowMessage>;

export interface RowsAtPosition {
  readonly rows: Row[];
  /** As logPosition() makes it. */
  readonly position: bigint | undefined;
}

export interface Database {
  /** How many statements may run at once. */
  readonly connectionsMax: number;
  /** Counts of the pool's connections, and of statements that wait for one. */
  connections(): Readonly<Record<'total' | 'idle' | 'waiting' | 'max', number>>;
  /** Runs a statement in a separate transaction, and runs it again if it lost a race to another transaction. */
  readonly run: RunStatement;
  /** As `run`, but does not parse the rows. */
  readonly runBinary: RunBinary;
  /**
   * As `run`, and also returns a position of the write-ahead log at or after the statement's commit. It is undefined if
   * it could not be read. The server gets both statements in one round trip.
   */
  runWithPosition(statement: Statement, values: readonly unknown[]): Promise<RowsAtPosition>;
  /** For building queries with TypeORM. `orm` runs them. */
  readonly dataSource: DataSource;
  /** Runs `work` with TypeORM's entity manager, for statements that are not frequent. Throws Faults. */
  orm<T>(work: (manager: EntityManager) => Promise<T>): Promise<T>;
  /**
   * Runs `work` with a connection for reading. As soon as `signal` is aborted, the running statement is cancelled in
   * the server. Statements without a name may read whole tables. `work` runs again if it loses a race, or if
   * renewConnections() cuts its connection.
   */
  withConnection<T>(signal: AbortSignal, work: (run: RunStatement, runBinary: RunBinary) => Promise<T>): Promise<T>;
  /**
   * Opens a connection outside the pool, for work that takes longer than a call. It sets no statement_timeout. As soon
   * as `signal` is aborted, the running statement is cancelled in the server, and the session is unusable.
   *
   * With `keepsState` it keeps temporary tables and settings between transactions. If a pooler gives each transaction
   * another server connection, it throws DATABASE_UNAVAILABLE before it changes anything.
   */
  openSession(signal: AbortSignal, options?: SessionOptions): Promise<Session>;
  /**
   * Closes every pooled connection that is open now, because it may be dead or lead to a server that has become a
   * standby. `cut` makes running statements fail at once, including those of sessions; `finish` lets them end.
   */
  renewConnections(mode: RenewMode): void;
  close(): Promise<void>;
}

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const servers = createServers(options.url, options.connectTimeoutMs);
  const direct = options.directUrl === undefined ? servers : createServers(options.directUrl, options.connectTimeoutMs);
  const { pool, lend, renew } = createConnectionPool(options, servers);
  const sessions = new Set<pg.Client>();
  const dataSource = createDataSource(pool);
  try {
    await dataSource.initialize();
  } catch (error) {
    throw faultOf(error);
  }

  async function runOnce<R>(send: Send<R>, statement: Statement, values: readonly unknown[]): Promise<R> {
    try {
      return await lend((client) => send(options, client, statement, values));
    } catch (error) {
      throw faultOf(error);
    }
  }

  return {
    dataSource,
    connectionsMax: options.connectionsMax,

    connections: () => ({
      total: pool.totalCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
      max: options.connectionsMax,
    }),

    run: (statement, values) => runOnce(prepared(query), statement, values),
    runBinary: (statement, values) => runOnce(prepared(binaryQuery), statement, values),
    runWithPosition: (statement, values) => runOnce(queryWithPosition, statement, values),

    async orm(work) {
      try {
        return await work(dataSource.manager);
      } catch (error) {
        throw faultOf(error);
      }
    },

    async withConnection(signal, work) {
      signal.throwIfAborted();
      try {
        return await lend((client) => untilAborted(options, servers, client, signal, work), { onlyReads: true });
      } catch (error) {
        signal.throwIfAborted();
        throw faultOf(error);
      }
    },

    async openSession(signal, sessionOptions) {
      const session = await openSession(options, direct, signal, sessionOptions);
      // A session on a direct URL uses another network path, so the pool's failures say nothing about it.
      if (options.directUrl === undefined) {
        sessions.add(session.client);
        session.client.once('end', () => sessions.delete(session.client));
      }
      return session;
    },

    renewConnections(mode) {
      renew(mode);
      if (mode === 'cut') for (const client of sessions) cutConnection(client);
    },

    async close() {
      await dataSource.destroy();
    },
  };
}

type Send<R> = (
  options: DatabaseOptions,
  client: pg.PoolClient,
  statement: Statement,
  values: readonly unknown[],
) => Promise<R>;

type Query<R> = Send<R[]>;

const query: Query<Row> = async (options, client, { name, text }, values) => {
  const { rows } = await client.query<unknown[]>({
    name: (options.preparedStatements && name) || undefined,
    text,
    values: [...values],
    rowMode: 'array',
  });
  return rows;
};

const binaryQuery: Query<RowMessage> = (options, client, { name, text }, values) =>
  runBinary(client, { name: options.preparedStatements ? name : '', text }, values);

// The flush position, and not the insert position: all of it has been sent to standbys, so an idle standby reaches it. A
// commit is acknowledged when its record is on disk, so the position includes it.
const positionStatement: Statement = {
  name: 'wal-position',
  text: `
    select left(pg_walfile_name(flushed), 8), pg_wal_lsn_diff(flushed, '0/0')::text
    from pg_current_wal_flush_lsn() as flushed`,
};

const queryWithPosition: Send<RowsAtPosition> = async (options, client, statement, values) => {
  const sent = query(options, client, statement, values);
  const [rows, position] = await Promise.allSettled([sent, query(options, client, positionStatement, [])]);
  if (rows.status === 'rejected') throw rows.reason;
  return { rows: rows.value, position: position.status === 'fulfilled' ? positionOf(position.value) : undefined };
};

function positionOf([row]: readonly Row[]): bigint | undefined {
  if (row === undefined) return undefined;
  const [timeline, byte] = row as [string, string];
  return logPosition(timeline, BigInt(byte));
}

/** Reads a position of the write-ahead log that includes everything that is committed. */
export async function readLogPosition(database: Pick<Database, 'run'>): Promise<bigint> {
  return positionOf(await database.run(positionStatement, [])) ?? 0n;
}

/**
 * Prepares `send` for statements that may have to read a whole table, which named statements must not do
 * (docs/decisions/0027-scans-override-a-planner-setting.md), and for replicas behind a pooler.
 */
const prepared =
  <R>(send: Query<R>, isScan = false): Query<R> =>
  (...args) => {
    const [{ preparedStatements, expectedRun }, client] = args;
    const begin = isScan && preparedStatements ? 'begin; set local enable_seqscan = on' : 'begin';
    // A connection without a pooler leads to the same run of the server until it closes.
    const run = expectedRun !== undefined && isPooled(client) ? expectedRun() : undefined;
    return begin === 'begin' && run === undefined ? send(...args) : inTransaction(begin, send, args, run);
  };

/** Runs a statement in a transaction, in one round trip. Throws OtherServerFault if it did not run on the expected run. */
async function inTransaction<R>(begin: string, send: Query<R>, args: Parameters<Query<R>>, run?: string): Promise<R[]> {
  const [, client] = args;
  const begun = client.query(begin);
  const found =
    run === undefined ? undefined : client.query<[string]>({ text: `select ${serverRun}`, rowMode: 'array' });
  const rows = send(...args);
  // After an error, this rolls back.
  const ended = client.query('commit');
  await Promise.allSettled([begun, found, rows, ended]);
  if (found !== undefined) {
    await begun;
    if ((await found).rows[0]?.[0] !== run) throw new OtherServerFault();
  }
  return rows;
}

/** Lets `work` run statements until the signal is aborted, which cancels the running one. */
async function untilAborted<T>(
  options: DatabaseOptions,
  servers: Servers,
  client: pg.PoolClient,
  signal: AbortSignal,
  work: (run: RunStatement, runBinary: RunBinary) => Promise<T>,
): Promise<T> {
  const runWith =
    <R>(send: Query<R>): Run<R> =>
    (statement, values) =>
      prepared(send, statement.name === '')(options, client, statement, values);
  let cancelled: Promise<void> | undefined;
  const cancel = () => {
    cancelled = cancelStatement(servers, client, processIdOf(client));
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    signal.throwIfAborted();
    return await work(runWith(query), runWith(binaryQuery));
  } finally {
    signal.removeEventListener('abort', cancel);
    // A cancel request ends any statement that is running when it arrives, so it must arrive before the connection is
    // returned to the pool.
    await cancelled;
  }
}
