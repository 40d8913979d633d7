/** Finds the database or starts the embedded one, waits until it can be used, and explains why if it cannot. */
import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from './concurrency/abort.js';
import type { ServerConfig } from './config/parse.js';
import type { DatabaseOptions } from './database/database.js';
import { DatabaseError, explained } from './database/explain.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres/cluster.js';
import { describeTarget, parsePostgresUrl } from './postgres-url.js';
import type { Log } from './telemetry/log.js';

/** A database that Roster has found or started. */
export interface PreparedDatabase {
  /** Contains a password, so it must not be logged. */
  readonly url: string;
  /** Set if Roster started it. It must be stopped last. */
  readonly embedded?: EmbeddedPostgres;
}

export async function findDatabase(
  { database }: ServerConfig,
  log: Log,
  signal?: AbortSignal,
): Promise<PreparedDatabase> {
  if (database.url !== undefined) return { url: database.url };
  const embedded = await startEmbeddedPostgres({
    dataDir: database.dataDir,
    log: (message) => log.info({}, message),
    signal,
  }).catch((error: unknown) => {
    // Ctrl-C also reaches initdb, so its failure may only be the interruption.
    signal?.throwIfAborted();
    throw error;
  });
  return { url: embedded.url, embedded };
}

/** Logs which database is used, without secrets. */
export function logDatabase(log: Log, { url, embedded }: PreparedDatabase): void {
  if (embedded !== undefined) log.info({ dataDir: embedded.dataDir }, 'using the embedded Postgres');
  else log.info({ database: describeTarget(parsePostgresUrl(url)) }, 'using the database');
}

/** Runs `work`, and throws a DatabaseError if the failure can be explained. */
export async function explaining<T>(
  { database }: ServerConfig,
  { url }: PreparedDatabase,
  work: (options: DatabaseOptions) => Promise<T>,
): Promise<T> {
  try {
    return await work({ ...database, url });
  } catch (error) {
    throw explained(error, database.directUrl ?? url);
  }
}

// A database that starts with Roster is often ready within a second. Later, a new line each minute is enough.
const startRetryMs = 500;
const startReportMs = 60_000;

/**
 * Repeats `work` while the database cannot be used, if it may recover without a change of the configuration. If the
 * signal aborts, it does not wait for `work`, because a server that does not answer may delay it for long.
 */
export async function whenUsable<T>(log: Log, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  let reported: { readonly text: string; readonly ms: number } | undefined;
  for (;;) {
    try {
      return await unlessAborted(work(), signal);
    } catch (error) {
      if (!(error instanceof DatabaseError) || !error.explanation.isTransient) throw error;
      const { text } = error.explanation;
      if (text !== reported?.text || performance.now() - reported.ms > startReportMs) {
        log.warn({ help: text }, 'waiting for the database');
        reported = { text, ms: performance.now() };
      }
      await sleep(startRetryMs, undefined, { signal }).catch(() => {});
      signal?.throwIfAborted();
    }
  }
}
