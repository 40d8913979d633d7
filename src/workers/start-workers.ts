/**
 * Starts several worker processes on one port and supervises them. This process finds the database, migrates, and owns an
 * embedded Postgres, which starts before the first worker and stops after the last. It serves no calls.
 */
import { type App, logFailedCleanup, prepareDatabase, type StartOptions } from '../app.js';
import type { ServerConfig } from '../config/parse.js';
import { watchDatabase } from '../database/health.js';
import { httpAddressOf, openHttp } from '../gateway/open-http.js';
import { findPort, ListenError } from '../net/listen.js';
import { logAccess } from '../start-access.js';
import { createLog, type Log } from '../telemetry/log.js';
import { createMetrics } from '../telemetry/metrics.js';
import { flushTimeoutMs, startOtlp } from '../telemetry/start-otlp.js';
import { createRelay } from './siblings.js';
import { createTotals, type Totals } from './totals.js';
import { WorkerPool } from './worker-pool.js';
import { forkWorker } from './worker-process.js';

// How long a worker may take to exit after its calls: 250 ms for calls that are cut off (server.ts), 250 ms for each of
// the four parts with a deadline (app.ts, cleanups.ts), the last export of traces, and some reserve for a busy machine.
const exitReserveMs = 1_750 + flushTimeoutMs;
// The number of attempts, because another process may take the free port before the workers do.
const startAttemptsMax = 3;

/** Does what startApp() does in `config.workers` processes. Resolves when all serve; rejects with the error of one of them. */
export async function startWorkers(config: ServerConfig, { signal }: Pick<StartOptions, 'signal'> = {}): Promise<App> {
  const log = createLog(config.log);
  for (const warning of config.warnings) log.warn({}, warning);
  logAccess(config, log);
  const metrics = createMetrics();
  // Each worker exports its own metrics and traces.
  const otlp = await startOtlp({ metrics: config.otlp?.metrics }, { log, metrics });
  const totals = createTotals(metrics);
  // Responds to probes until the workers listen on the address.
  const http = await openHttp(config, log, { text: () => totals.text(), serving: () => 'nothing' });
  const { url, embedded } = await prepareDatabase(config, { log, metrics, signal }).finally(() => http?.close());
  // From here on, the workers report it.
  metrics.observe({ database: undefined });
  // Only restarts the embedded Postgres, even if no worker runs. The workers report outages.
  const watch = embedded && watchDatabase({ url, onChange() {}, restart: () => embedded.ensureRunning() });
  const closeDatabase = async () => {
    await watch?.close();
    await embedded?.stop();
  };

  const { delayMs, timeoutMs } = config.shutdown;
  try {
    const httpAddress = httpAddressOf(config, http);
    const workerConfig = {
      ...config,
      database: { ...config.database, url },
      http: config.http && httpAddress && { ...config.http, address: httpAddress, isDefault: false },
    };
    const { pool, port } = await startPool(workerConfig, log, totals, signal);
    metrics.observe({ workerExits: () => pool.exits });
    let closing: Promise<void> | undefined;
    return {
      log,
      grpc: { host: config.grpc.address.host, port },
      http: httpAddress,
      restart: () => pool.restart(),
      close() {
        closing ??= (async () => {
          log.info({}, 'stopping');
          // At the same time, so that a collector that does not answer delays the exit only once.
          await Promise.all([pool.close(delayMs + timeoutMs + exitReserveMs), otlp.close()]);
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
    await closeDatabase().catch((cause: unknown) => logFailedCleanup(log, cause));
    throw error;
  }
}

/** If the configured port is 0, picks a port before the first fork, because all workers must use the same one. */
async function startPool(
  config: ServerConfig,
  log: Log,
  totals: Totals,
  signal: AbortSignal | undefined,
): Promise<{ pool: WorkerPool; port: number }> {
  for (let attempts = 1; ; attempts++) {
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
      // Ctrl-C also reaches the workers, so their failure may only be the interruption.
      signal?.throwIfAborted();
      const isPortTaken = address.port === 0 && error instanceof Error && error.name === ListenError.name;
      if (!isPortTaken || attempts === startAttemptsMax) throw error;
    } finally {
      signal?.removeEventListener('abort', cancelStart);
    }
  }
}
