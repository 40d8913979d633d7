/**
 * Starts several worker processes on one port and supervises them. This process finds the database, migrates, and owns an
 * embedded Postgres, which starts before the first worker and stops after the last. It serves no calls.
 */
import { type App, httpAddressOf, openHttp, prepareDatabase, type StartOptions } from '../app.js';
import type { ServerConfig } from '../config/parse.js';
import { watchDatabase } from '../database/health.js';
import { ListenError } from '../net/listen.js';
import { findPort } from '../rpc/listen.js';
import { createLog, type Log } from '../telemetry/log.js';
import { createMetrics } from '../telemetry/metrics.js';
import { createRelay } from './siblings.js';
import { createTotals, type Totals } from './totals.js';
import { WorkerPool } from './worker-pool.js';
import { forkWorker } from './worker-process.js';

// The time that a worker needs to exit in addition to its calls: 250 ms for calls that are cut off (server.ts), 250 ms for
// each of the four parts with a deadline (app.ts, cleanups.ts), and some reserve for a busy machine.
const exitReserveMs = 1_750;
// How often to retry if another process takes the free port before the workers do.
const freePortTriesMax = 3;

/** Does what startApp() does in `config.workers` processes. Resolves when all serve; rejects with the error of one of them. */
export async function startWorkers(config: ServerConfig, { signal }: Pick<StartOptions, 'signal'> = {}): Promise<App> {
  const log = createLog(config.log);
  const totals = createTotals(createMetrics());
  // Answers probes until the workers take over the address.
  const http = await openHttp(config, log, { text: () => totals.text(), isReady: () => false });
  const { url, embedded } = await prepareDatabase(config, log, signal).finally(() => http?.close());
  // Workers report outages. This restarts the embedded Postgres, even while no worker runs.
  const watch = embedded && watchDatabase({ url, onChange() {}, restart: () => embedded.ensureRunning() });
  const closeDatabase = async () => {
    await watch?.close();
    await embedded?.stop();
  };

  const { delayMs, timeoutMs } = config.shutdown;
  try {
    const where = httpAddressOf(config, http);
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
      restart: () => pool.restart(),
      close() {
        closing ??= (async () => {
          log.info({}, 'stopping');
          await pool.close(delayMs + timeoutMs + exitReserveMs);
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

/** If the configured port is 0, picks a port before the first fork because later workers must use the same one. */
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
    const pool = new WorkerPool({
      count: config.workers,
      start(number) {
        const worker = forkWorker(workerConfig, number, totals.text);
        relay.add(worker);
        totals.add(worker);
        return worker;
      },
      closeMs: config.shutdown.timeoutMs + exitReserveMs,
      log,
    });
    const cancelStart = () => void pool.close(exitReserveMs);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', cancelStart, { once: true });
    try {
      await pool.start();
      return { pool, port };
    } catch (error) {
      await pool.close(exitReserveMs);
      // Starting workers may receive Ctrl-C as well. An interrupted start is not a failure.
      signal?.throwIfAborted();
      const isPortTaken = address.port === 0 && error instanceof Error && error.name === ListenError.name;
      if (!isPortTaken || tries === freePortTriesMax) throw error;
    } finally {
      signal?.removeEventListener('abort', cancelStart);
    }
  }
}
