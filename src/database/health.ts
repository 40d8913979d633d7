/**
 * Watches whether the database can be used, on a separate connection that calls cannot exhaust.
 *
 * It only reports. Calls notice failures themselves and do not wait for the watch.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { keepAlive } from './connection.js';
import type { InUse } from './pool-connections.js';

export interface DatabaseWatchOptions {
  url: string;
  /** Called after every change, and once at the start. `error` is the reason, for the log. */
  onChange(isUsable: boolean, error?: unknown): void;
  /**
   * Called if existing connections may be unusable. They are cut if the watch has lost its own connection, or if only a
   * new connection answers. They may finish if the server is read-only, if it answers on no connection, or if it can be
   * used again.
   */
  onOutdated?(inUse: InUse): void;
  /** Restarts a database that Roster manages. Called while it cannot be reached; may fail. */
  restart?(): Promise<void>;
}

export interface DatabaseWatch {
  close(): Promise<void>;
}

const checkEveryMs = 500;
// While the database cannot be reached. Short, so that calls resume soon after it is back.
const retryEveryMs = 250;
// After this time without an answer, a new connection shows whether the server is slow or the old connection is dead.
const suspectAfterMs = 700;
// On a busy machine, the old connection may still answer within this time after the new one.
const lateAnswerMs = 300;
// A later answer counts as a failure. Well above a pause for a checkpoint on a slow disk.
const answerMsMax = 3_000;

class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
}

/** Neither the known connection nor a new one has answered, so it is unknown whether the known one is dead. */
class SilentError extends Error {
  override readonly name = 'SilentError';
}

export function watchDatabase(options: DatabaseWatchOptions): DatabaseWatch {
  return new Watch(options);
}

class Watch implements DatabaseWatch {
  readonly #options: DatabaseWatchOptions;
  readonly #connections = new Set<pg.Client>();
  #client: pg.Client | undefined;
  /** The answer to a probe of the client that is still outstanding. */
  #answer: Promise<pg.Client> | undefined;
  #isUsable: boolean | undefined;
  #isClosed = false;
  #wake = () => {};
  readonly #running: Promise<void>;

  constructor(options: DatabaseWatchOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    // Ends a check in progress too, because its connection closes.
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
    const known = this.#client;
    try {
      const answered = known === undefined ? await this.#open() : await this.#probeAgain(known);
      this.#client = answered;
      this.#answer = undefined;
      if (known !== undefined && answered !== known) onOutdated?.('cut');
      // Connections that were opened meanwhile may lead to the old server.
      if (this.#isUsable === false) onOutdated?.('finish');
      this.#report(true);
    } catch (error) {
      const isSilent = error instanceof SilentError;
      if (known !== undefined && !isSilent) {
        this.#client = undefined;
        this.#answer = undefined;
        end(known);
        if (!this.#isClosed) onOutdated?.(error instanceof ReadOnlyError ? 'finish' : 'cut');
      }
      if (isSilent && this.#isUsable) onOutdated?.('finish');
      this.#report(false, error);
      if (!this.#isClosed) await restart?.().catch(() => {});
    }
  }

  #report(now: boolean, error?: unknown): void {
    if (now === this.#isUsable || this.#isClosed) return;
    this.#isUsable = now;
    this.#options.onChange(now, error);
  }

  /** Opens a connection and checks that it answers. */
  async #open(): Promise<pg.Client> {
    const fresh = new pg.Client({
      connectionString: this.#options.url,
      application_name: 'roster-watch',
      connectionTimeoutMillis: answerMsMax,
      ...keepAlive,
    });
    // A connection that the server closes is noticed at once, instead of at the next check.
    fresh.on('error', () => this.#wake());
    fresh.once('end', () => this.#connections.delete(fresh));
    this.#connections.add(fresh);
    try {
      await fresh.connect();
      await probe(fresh, answerMsMax);
      return fresh;
    } catch (error) {
      end(fresh);
      throw error;
    }
  }

  /** Returns the same connection if it answers, or a new one if only that one does. Throws SilentError if none does. */
  async #probeAgain(known: pg.Client): Promise<pg.Client> {
    this.#answer ??= probe(known).then(() => known);
    const old = this.#answer;
    old.catch(() => {});
    const suspicion = new AbortController();
    const { signal } = suspicion;
    const isLate = sleep(this.#isUsable ? suspectAfterMs : 0, undefined, { signal }).catch(() => undefined);
    try {
      const first = await Promise.race([old, isLate]);
      if (first !== undefined) return first;
    } finally {
      suspicion.abort();
    }
    const fresh = this.#open();
    const freshInstead = fresh.then((connection) => sleep(lateAnswerMs, connection));
    const isSilent = sleep(answerMsMax - suspectAfterMs, undefined, { ref: false }).then(() => {
      throw new SilentError('The database does not answer.');
    });
    let answered: pg.Client | undefined;
    try {
      answered = await Promise.race([old, freshInstead.catch(() => old), isSilent]);
      return answered;
    } finally {
      isSilent.catch(() => {});
      if (answered === undefined || answered === known) fresh.then(end, () => {});
      else end(known);
    }
  }
}

async function probe(client: pg.Client, timeoutMs = 0): Promise<void> {
  // Every name is qualified, because the role's search path may put another schema before pg_catalog.
  const text = `select pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as is_read_only`;
  const query: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs };
  const { rows } = await client.query<{ is_read_only: boolean }>(query);
  // A standby is read-only, and so is a database with default_transaction_read_only.
  if (rows[0]?.is_read_only) throw new ReadOnlyError('the database accepts no writes');
}

function end(unneeded: pg.Client): void {
  // Not awaited: it waits for a server that does not answer.
  unneeded.end().catch(() => {});
}
