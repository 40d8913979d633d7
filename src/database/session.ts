/**
 * Sessions: connections outside the pool, for work that takes longer than a call. They set no statement_timeout.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Row } from './columns.js';
import {
  applicationName,
  cancelStatement,
  cutConnection,
  isPooled,
  keepAlive,
  OtherServerFault,
  prepareConnection,
  types,
} from './connection.js';
import type { DatabaseOptions } from './database.js';
import { faultOf } from './errors.js';
import { isTransactionPooler, transactionPoolerFault } from './pooler.js';
import { receiveRowMessages } from './row-messages.js';
import { serverRun } from './server-run.js';
import type { Servers } from './servers.js';

export interface SessionOptions {
  readonly keepsState?: boolean;
}

/** A connection with one owner. Disposal rolls back uncommitted work and closes it. */
export interface Session extends AsyncDisposable {
  /** The driver's client, for COPY and cursors. */
  readonly client: pg.Client;
  /** The process id of the server process. */
  readonly backendPid: number;
  /** Throws Faults, like Database. */
  query(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Throws OtherServerFault if a pooler runs the transaction on another run of the server than AcceptedServer expects. */
  checkRun(): Promise<void>;
}

// After this time, the socket of a closing session is destroyed.
const disconnectTimeoutMs = 1_000;

/** As `openSession` of Database. */
export async function openSession(
  options: DatabaseOptions,
  servers: Servers,
  signal: AbortSignal,
  { keepsState = false }: SessionOptions = {},
): Promise<Session> {
  signal.throwIfAborted();
  let session: PostgresSession;
  try {
    session = await PostgresSession.open(options, servers, signal, keepsState);
  } catch (error) {
    throw faultOf(error);
  }
  if (signal.aborted) {
    await session[Symbol.asyncDispose]();
    signal.throwIfAborted();
  }
  return session;
}

function createClient(options: DatabaseOptions, config: pg.ClientConfig, queryTimeoutMs?: number): pg.Client {
  const client = new pg.Client({
    application_name: applicationName,
    lock_timeout: options.lockTimeoutMs,
    query_timeout: queryTimeoutMs,
    ...keepAlive,
    types,
    ...config,
  });
  // Added before it connects, because a connection may break right after it opens.
  client.on('error', () => {});
  receiveRowMessages(client);
  return client;
}

class PostgresSession implements Session {
  readonly client: pg.Client;
  backendPid = 0;
  readonly #servers: Servers;
  readonly #signal: AbortSignal;
  /** Whether a pooler's next client may get this server connection, with its temporary tables and settings. */
  #needsReset = false;
  #cancelled: Promise<void> | undefined;
  /** Set if a pooler may have changed the server connection since the session was opened. */
  #expectedRun: (() => string | undefined) | undefined;

  private constructor(client: pg.Client, servers: Servers, signal: AbortSignal) {
    this.client = client;
    this.#servers = servers;
    this.#signal = signal;
  }

  static async open(
    options: DatabaseOptions,
    servers: Servers,
    signal: AbortSignal,
    keepsState: boolean,
  ): Promise<PostgresSession> {
    const client = await servers.connect((config) => createClient(options, config));
    const session = new PostgresSession(client, servers, signal);
    try {
      await session.#prepare(options, keepsState);
      return session;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #prepare(options: DatabaseOptions, keepsState: boolean): Promise<void> {
    const { connectTimeoutMs } = this.#servers;
    this.backendPid = await prepareConnection(this.client, this.#servers, [], options);
    const hasPooler = isPooled(this.client);
    if (hasPooler) this.#expectedRun = options.expectedRun;
    const openAnother = () => createClient(options, this.#servers.configLike(this.client), connectTimeoutMs).connect();
    if (hasPooler && keepsState && (await isTransactionPooler(this.client, openAnother, connectTimeoutMs))) {
      throw transactionPoolerFault();
    }
    this.#needsReset = hasPooler && keepsState;
    this.#signal.addEventListener('abort', this.#cancel, { once: true });
  }

  readonly #cancel = (): void => {
    // Without the cancel request, the server would continue until it next checks its socket.
    this.#cancelled = cancelStatement(this.#servers, this.client, this.backendPid);
    // Not awaited, because end() may wait for a dead connection until the disposal cuts it.
    this.#cancelled.then(() => this.client.end()).catch(() => {});
  };

  async query(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    try {
      this.#signal.throwIfAborted();
      return (await this.client.query<unknown[]>({ text, values: [...values], rowMode: 'array' })).rows;
    } catch (error) {
      this.#signal.throwIfAborted();
      throw faultOf(error);
    }
  }

  async checkRun(): Promise<void> {
    const run = this.#expectedRun?.();
    if (run === undefined) return;
    const [row] = await this.query(`select ${serverRun}`);
    if (row?.[0] !== run) throw new OtherServerFault();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#cancel);
    await this.#cancelled;
    const timedOut = sleep(disconnectTimeoutMs, true, { ref: false });
    const failed = this.#end().then(
      () => false,
      () => true,
    );
    if (await Promise.race([failed, timedOut])) cutConnection(this.client);
  }

  async #end(): Promise<void> {
    if (this.#needsReset && this.#cancelled === undefined) {
      await this.client.query('rollback').catch(() => {});
      await this.client.query('discard all').catch(() => {});
    }
    await this.client.end();
  }
}
