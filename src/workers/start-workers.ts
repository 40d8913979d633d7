/**
 * Several processes that serve on one port, and this one, which keeps them: it finds the database, migrates, and owns an
 * embedded Postgres, which is there before the first worker and until after the last.
 *
 * It serves no calls and knows nothing of what workers do for them.
 */
import { type App, openHttp, prepareDatabase, type StartOptions, whereHttp } from '../app.js';
import type { ServerConfig } from '../config.js';
import { findPort, ListenError } from '../rpc/listen.js';
import { watchDatabase } from '../store/database-watch.js';
import { createLog, type Log } from '../telemetry/log.js';
import { createMetrics } from '../telemetry/metrics.js';
import { createRelay } from './siblings.js';
import { createTotals, type Totals } from './totals.js';
import { createWorkerPool, type WorkerPool } from './worker-pool.js';
import { forkWorker } from './worker-process.js';

// Beside what calls may take: for those that are ended then (250 ms, server.ts), the four parts that may have to end
// without the database (250 ms each, app.ts), and a machine that is busy.
const lastWordsMs = 1_750;
// How often somebody else may happen to take the free port that was found before the workers do.
const freePortTriesMax = 3;

/** What startApp() does, in `config.workers` processes. Resolves when all of them serve; throws what one of them throws. */
export async function startWorkers(config: ServerConfig, { signal }: Pick<StartOptions, 'signal'> = {}): Promise<App> {
  const log = createLog(config.log);
  const totals = createTotals(createMetrics());
  // For probes until there are workers, who then have the address.
  const http = await openHttp(config, log, { text: () => totals.text(), isReady: () => false });
  const { url, embedded } = await prepareDatabase(config, log, signal).finally(() => http?.close());
  // Workers tell whether it is there; this brings it back, also while there is no worker.
  const watch = embedded && watchDatabase({ url, onChange() {}, revive: () => embedded.ensureRunning() });
  const closeDatabase = async () => {
    await watch?.close();
    await embedded?.stop();
  };

  const { delayMs, timeoutMs } = config.shutdown;
  try {
    const where = whereHttp(config, http);
    const workerConfig = {
      ...config,
      database: { ...config.database, url },
      http: config.http && where && { ...config.http, address: where, isDefault: false },
    };
    const { pool, port } = await startPool(workerConfig, log, totals, signal);
    let closing: Promise<void> | undefined;
    return {
      log,
      grpc: { host: config.grpc.address.host, port },
      http: where,
      restart: pool.restart,
      close() {
        closing ??= (async () => {
          log.info({}, 'stopping');
          await pool.close(delayMs + timeoutMs + lastWordsMs);
          await closeDatabase();
          log.info({}, 'stopped');
        })();
        return closing;
      },
      kill() {
        pool.kill();
        embedded?.kill();
      },
    };
  } catch (error) {
    await closeDatabase().catch((cause: unknown) =>
      log.warn({ error: cause }, 'could not clean up after a failed start'),
    );
    throw error;
  }
}

/** On one port, which is named where the configuration leaves it open: those that come later must have the same one. */
async function startPool(
  config: ServerConfig,
  log: Log,
  totals: Totals,
  signal: AbortSignal | undefined,
): Promise<{ pool: WorkerPool; port: number }> {
  for (let tries = 1; ; tries++) {
    const { address } = config.grpc;
    const port = await findPort(address);
    const workerConfig = { ...config, grpc: { ...config.grpc, address: { ...address, port } } };
    const relay = createRelay();
    const pool = createWorkerPool({
      count: config.workers,
      start(number) {
        const worker = forkWorker(workerConfig, number, totals.text);
        relay.add(worker);
        totals.add(worker);
        return worker;
      },
      closeMs: config.shutdown.timeoutMs + lastWordsMs,
      log,
    });
    const giveUp = () => void pool.close(lastWordsMs);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', giveUp, { once: true });
    try {
      await pool.start();
      return { pool, port };
    } catch (error) {
      await pool.close(lastWordsMs);
      // Workers that are starting may hear Ctrl-C too: what was interrupted has not failed.
      signal?.throwIfAborted();
      const isUnlucky = address.port === 0 && error instanceof Error && error.name === ListenError.name;
      if (!isUnlucky || tries === freePortTriesMax) throw error;
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
  }
}
