/**
 * Checks at regular intervals whether the database can be used, on a separate connection, and reports changes.
 *
 * Calls do not depend on these checks: they detect failures themselves.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { keepAlive } from './connection.js';
import type { RenewMode } from './pool-connections.js';
import { createServers, type Servers } from './servers.js';

export interface DatabaseWatchOptions {
  url: string;
  /** Called after every change, and once at the start. `error` is the reason, for the log. */
  onChange(isUsable: boolean, error?: unknown): void;
  /** Called after each further failed check. The reason may differ from the first one. */
  onStillUnusable?(error: unknown): void;
  /**
   * Called if existing connections may be unusable. `cut`: this watch has lost its connection, or only a new connection
   * responds. `finish`: the server is read-only, responds on no connection, or can be used again.
   */
  onOutdated?(mode: RenewMode): void;
  /** Restarts a database that Roster manages. Called after each failed check. Errors are ignored. */
  restart?(): Promise<void>;
}

export interface DatabaseWatch {
  close(): Promise<void>;
}

const checkEveryMs = 500;
// Used instead while the database cannot be used. Short, so that calls resume soon after it recovers.
const retryEveryMs = 250;
// If a probe takes longer, a probe on a new connection shows whether the server is slow or the old connection is dead.
const slowProbeMs = 700;
// On a busy machine, the old connection may still respond within this time after the new one.
const oldConnectionGraceMs = 300;
// Well above a pause for a checkpoint on a slow disk.
const probeTimeoutMs = 3_000;

export class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
}

/** Neither the existing connection nor a new one has responded, so the existing one may still work. */
class NoResponseError extends Error {
  override readonly name = 'NoResponseError';
}

export function watchDatabase(options: DatabaseWatchOptions): DatabaseWatch {
  return new Watch(options);
}

class Watch implements DatabaseWatch {
  readonly #options: DatabaseWatchOptions;
  readonly #connections = new Set<pg.Client>();
  readonly #servers: Servers;
  #client: pg.Client | undefined;
  /** A probe of `#client` that may still be running. */
  #probe: Promise<pg.Client> | undefined;
  #isUsable: boolean | undefined;
  #isClosed = false;
  #wake = () => {};
  readonly #running: Promise<void>;

  constructor(options: DatabaseWatchOptions) {
    this.#options = options;
    this.#servers = createServers(options.url, probeTimeoutMs);
    this.#running = this.#run();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    // This also ends a check in progress.
    for (const connection of this.#connections) end(connection);
    this.#wake();
    return this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      await this.#check();
      if (this.#isClosed) break;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, this.#isUsable ? checkEveryMs : retryEveryMs);
      });
      clearTimeout(timer);
    }
    for (const connection of this.#connections) end(connection);
  }

  /** Checks once, and reports the result. */
  async #check(): Promise<void> {
    const { onOutdated, restart } = this.#options;
    const old = this.#client;
    try {
      const client = old === undefined ? await this.#open() : await this.#probeOrReplace(old);
      this.#client = client;
      this.#probe = undefined;
      if (old !== undefined && client !== old) onOutdated?.('cut');
      // Connections that were opened meanwhile may lead to the old server.
      if (this.#isUsable === false) onOutdated?.('finish');
      this.#report(true);
    } catch (error) {
      const mayRecover = error instanceof NoResponseError;
      if (old !== undefined && !mayRecover) {
        this.#client = undefined;
        this.#probe = undefined;
        end(old);
        if (!this.#isClosed) onOutdated?.(error instanceof ReadOnlyError ? 'finish' : 'cut');
      }
      if (mayRecover && this.#isUsable) onOutdated?.('finish');
      this.#report(false, error);
      if (!this.#isClosed) await restart?.().catch(() => {});
    }
  }

  #report(isUsable: boolean, error?: unknown): void {
    if (this.#isClosed) return;
    if (isUsable === this.#isUsable) {
      if (!isUsable) this.#options.onStillUnusable?.(error);
      return;
    }
    this.#isUsable = isUsable;
    this.#options.onChange(isUsable, error);
  }

  /** Opens a connection and probes it. */
  async #open(): Promise<pg.Client> {
    const client = await this.#servers.connect((config) => this.#createClient(config));
    try {
      await probe(client, probeTimeoutMs);
      return client;
    } catch (error) {
      end(client);
      throw error;
    }
  }

  #createClient(config: pg.ClientConfig): pg.Client {
    const client = new pg.Client({ application_name: 'roster-watch', ...keepAlive, ...config });
    // Checks at once if the server closes the connection.
    client.on('error', () => this.#wake());
    client.once('end', () => this.#connections.delete(client));
    this.#connections.add(client);
    return client;
  }

  /** Returns the old connection if it responds, or a new one if only that one does. Throws NoResponseError. */
  async #probeOrReplace(old: pg.Client): Promise<pg.Client> {
    this.#probe ??= probe(old).then(() => old);
    const oldResponse = this.#probe;
    oldResponse.catch(() => {});
    const timer = new AbortController();
    const slow = sleep(this.#isUsable ? slowProbeMs : 0, undefined, { signal: timer.signal }).catch(() => undefined);
    try {
      const first = await Promise.race([oldResponse, slow]);
      if (first !== undefined) return first;
    } finally {
      timer.abort();
    }
    const opened = this.#open();
    const newResponse = opened.then((client) => sleep(oldConnectionGraceMs, client)).catch(() => oldResponse);
    const timeout = sleep(probeTimeoutMs - slowProbeMs, undefined, { ref: false }).then(() => {
      throw new NoResponseError('The database does not respond.');
    });
    timeout.catch(() => {});
    let client: pg.Client | undefined;
    try {
      client = await Promise.race([oldResponse, newResponse, timeout]);
      return client;
    } finally {
      if (client === undefined || client === old) opened.then(end, () => {});
      else end(old);
    }
  }
}

async function probe(client: pg.Client, timeoutMs = 0): Promise<void> {
  // Every name is qualified, because the role's search path may put another schema before pg_catalog.
  const text = `select pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as is_read_only`;
  const query: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs };
  const { rows } = await client.query<{ is_read_only: boolean }>(query);
  // A standby is read-only, and so is a database with default_transaction_read_only.
  if (rows[0]?.is_read_only) throw new ReadOnlyError('The database accepts no writes.');
}

function end(client: pg.Client): void {
  // Not awaited, because a server that does not respond would delay it.
  client.end().catch(() => {});
}
