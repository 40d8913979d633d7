/**
 * Watches whether the database can be used, on a connection of its own that no call can exhaust.
 *
 * It only reports; calls find out for themselves, and nothing waits for the watch.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { keepAlive } from './connection.js';
import type { InUse } from './pool-connections.js';

export interface DatabaseWatchOptions {
  url: string;
  /** Called at every change, and once at the start. `error` says what is wrong; it is for the log. */
  onChange(isThere: boolean, error?: unknown): void;
  /**
   * Called if connections that were opened before now may be of no more use. They are cut if the watch has lost its own
   * connection, or if only a new one answers. They may finish if the server takes no writes, does not answer on any
   * connection, or can be used again.
   */
  onOutdated?(inUse: InUse): void;
  /** Tries to bring a database back that is ours to start. Called while it is away; may fail. */
  revive?(): Promise<void>;
}

export interface DatabaseWatch {
  close(): Promise<void>;
}

const lookEveryMs = 500;
// While it is away: soon enough that nobody waits for us once it is back.
const lookAgainMs = 250;
// After this time without an answer, a new connection tells a slow server from a connection that has died silently.
const suspectAfterMs = 700;
// On a busy machine the answer may only be late: it may still come for so long after the new connection has answered.
const lateAnswerMs = 300;
// An answer that takes longer is none. Well above a pause for a checkpoint on a slow disk.
const answerMsMax = 3_000;

class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
}

/** Neither the known connection nor a new one has answered, so nobody knows whether the known one is dead. */
class SilentError extends Error {
  override readonly name = 'SilentError';
}

export function watchDatabase({ url, onChange, onOutdated, revive }: DatabaseWatchOptions): DatabaseWatch {
  let client: pg.Client | undefined;
  // Of a look on the client that has not ended yet.
  let answer: Promise<pg.Client> | undefined;
  const connections = new Set<pg.Client>();
  let isThere: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let wake = () => {};

  /** A connection that has answered. */
  async function open(): Promise<pg.Client> {
    const fresh = new pg.Client({
      connectionString: url,
      application_name: 'roster-watch',
      connectionTimeoutMillis: answerMsMax,
      ...keepAlive,
    });
    // Notices at once that the server closes the connection, instead of at the next look.
    fresh.on('error', () => wake());
    fresh.once('end', () => connections.delete(fresh));
    connections.add(fresh);
    try {
      await fresh.connect();
      await look(fresh, answerMsMax);
      return fresh;
    } catch (error) {
      end(fresh);
      throw error;
    }
  }

  async function look(known: pg.Client, timeoutMs = 0): Promise<void> {
    // Every name is qualified, because the role's search path may put another schema before pg_catalog.
    const text = `select pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as is_read_only`;
    const query: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs };
    const { rows } = await known.query<{ is_read_only: boolean }>(query);
    // A standby is read-only, and so is a database that somebody has set so.
    if (rows[0]?.is_read_only) throw new ReadOnlyError('the database takes no writes');
  }

  /** The same connection if it answers, or a new one if only that one does. Throws SilentError if none does. */
  async function lookAgain(known: pg.Client): Promise<pg.Client> {
    answer ??= look(known).then(() => known);
    const old = answer;
    old.catch(() => {});
    const suspicion = new AbortController();
    const { signal } = suspicion;
    const isLate = sleep(isThere ? suspectAfterMs : 0, undefined, { signal }).catch(() => undefined);
    try {
      const first = await Promise.race([old, isLate]);
      if (first !== undefined) return first;
    } finally {
      suspicion.abort();
    }
    const fresh = open();
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

  function end(unneeded: pg.Client): void {
    // Not awaited: it waits for a server that does not answer.
    unneeded.end().catch(() => {});
  }

  function tell(now: boolean, error?: unknown): void {
    if (now === isThere || isClosed) return;
    isThere = now;
    onChange(now, error);
  }

  /** One look. Reports what it finds. */
  async function check(): Promise<void> {
    const known = client;
    try {
      const answered = known === undefined ? await open() : await lookAgain(known);
      client = answered;
      answer = undefined;
      if (known !== undefined && answered !== known) onOutdated?.('cut');
      // Those that were opened meanwhile may lead to the old server.
      if (isThere === false) onOutdated?.('finish');
      tell(true);
    } catch (error) {
      const isSilent = error instanceof SilentError;
      if (known !== undefined && !isSilent) {
        client = undefined;
        answer = undefined;
        end(known);
        if (!isClosed) onOutdated?.(error instanceof ReadOnlyError ? 'finish' : 'cut');
      }
      if (isSilent && isThere) onOutdated?.('finish');
      tell(false, error);
      if (!isClosed) await revive?.().catch(() => {});
    }
  }

  async function run(): Promise<void> {
    while (!isClosed) {
      await check();
      if (isClosed) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, isThere ? lookEveryMs : lookAgainMs);
      });
      clearTimeout(timer);
    }
    for (const connection of connections) end(connection);
  }

  const running = run();
  return {
    close() {
      isClosed = true;
      // A look that is under way ends with its connection.
      for (const connection of connections) end(connection);
      wake();
      return running;
    },
  };
}
