/**
 * What a worker's process runs: serves what it is told to, until it is told to close or nobody is left to tell it.
 *
 * It starts no Postgres and migrates nothing, and obeys no signal: a terminal and a supervisor send those to all processes
 * at once, and who forked it knows the order.
 */
import cluster from 'node:cluster';
import type { App, CloseOptions } from '../app.js';
import type { ServerConfig } from '../config.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type FromWorker, sendableError, type ToWorker } from './messages.js';
import { createSiblings } from './siblings.js';

// Before anything that takes long to load.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
// Else Node ends this process at once where the other end of the channel has gone, with calls in flight.
if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;

const stop = new AbortController();
let starting: Promise<App> | undefined;
let metrics: Metrics | undefined;
const siblings = createSiblings(tell);
const totals = createTotalsQuestion();

process.on('message', (message: ToWorker) => {
  if (message.type === 'start') {
    starting = start(message.config, message.worker);
    starting.then(
      () => tell({ type: 'serving' }),
      (error: unknown) => tell({ type: 'failed', error: sendableError(error) }, () => process.exit(1)),
    );
  } else if (message.type === 'close') void close(message);
  else if (message.type === 'gather') void tellFigures();
  else if (message.type === 'totals') totals.tell(message.text);
  else siblings.hear(message);
});
process.on('disconnect', () => void close());
tell({ type: 'ready' });

async function start(config: ServerConfig, worker: number): Promise<App> {
  const { openHttp, startServing } = await import('../app.js');
  const { createLog } = await import('../telemetry/log.js');
  const { createMetrics } = await import('../telemetry/metrics.js');
  const log = createLog({ ...config.log, worker });
  metrics = createMetrics();
  const { url } = config.database;
  if (url === undefined) throw new Error('A worker starts no database.');
  let isServing = false;
  let http: Awaited<ReturnType<typeof openHttp>>;
  const app = await startServing(config, {
    log,
    metrics,
    database: { url },
    // No sooner: from then on it has its share of the connections, which another worker could serve meanwhile.
    async openHttp(parts) {
      http = await openHttp(config, log, { text: totals.ask, isReady: () => isServing, parts });
      return http;
    },
    signal: stop.signal,
    siblings,
    onServing(now) {
      isServing = now;
    },
  });
  return { ...app, close: (closing) => app.close(closing).finally(() => http?.close()) };
}

/** Who asks here for the figures of all workers, and the process that knows them. */
function createTotalsQuestion() {
  const askers = new Set<(text: string) => void>();
  return {
    ask: () =>
      new Promise<string>((resolve) => {
        askers.add(resolve);
        tell({ type: 'count' });
      }),
    tell(text: string) {
      for (const answer of askers) answer(text);
      askers.clear();
    },
  };
}

async function close(options?: CloseOptions): Promise<void> {
  stop.abort(new Error('The start was given up.'));
  // What fails to start ends the process by itself.
  const app = await starting?.catch(() => undefined);
  try {
    await app?.close(options);
    await tellFigures();
    process.exit(0);
  } catch (error) {
    app?.log.error({ error }, 'could not close');
    process.exit(1);
  }
}

function tellFigures(): Promise<void> {
  const figures = metrics?.figures() ?? [];
  return new Promise((resolve) => tell({ type: 'figures', figures }, resolve));
}

function tell(message: FromWorker, then = () => {}): void {
  // Whoever has gone hears nothing; 'disconnect' says so.
  if (process.connected) process.send?.(message, undefined, undefined, then);
  else then();
}
