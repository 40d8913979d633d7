/**
 * The program of a worker process, which serves until its parent sends `close` or exits.
 *
 * It starts no Postgres, does not migrate, and ignores signals. Terminals and supervisors may send a signal to all
 * processes at once, but the parent decides in which order they stop.
 */
import cluster from 'node:cluster';
import type { App, CloseOptions } from '../app.js';
import type { ServerConfig } from '../config/parse.js';
import type { Serving } from '../rpc/health-service.js';
import { describeError } from '../telemetry/error-description.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { FromWorker, ToWorker } from './messages.js';
import { createSiblings } from './siblings.js';

// Set before the slow imports.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
// Otherwise Node exits immediately when the channel closes, even with calls in flight.
if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;

const stop = new AbortController();
let starting: Promise<App> | undefined;
let metrics: Metrics | undefined;
const siblings = createSiblings(send);
const totals = createTotalsRequests();

process.on('message', (message: ToWorker) => {
  if (message.type === 'start') {
    starting = start(message.config, message.worker);
    starting.then(
      () => send({ type: 'serving' }),
      (error: unknown) => send({ type: 'failed', error: describeError(error) }, () => process.exit(1)),
    );
  } else if (message.type === 'close') void close(message);
  else if (message.type === 'request metrics') void sendMetrics();
  else if (message.type === 'totals') totals.receive(message.text);
  else siblings.receive(message);
});
process.on('disconnect', () => void close());
send({ type: 'ready' });

async function start(config: ServerConfig, worker: number): Promise<App> {
  const { startServing } = await import('../app.js');
  const { openHttp } = await import('../gateway/open-http.js');
  const { createLog } = await import('../telemetry/log.js');
  const { createMetrics } = await import('../telemetry/metrics.js');
  const { startOtlp } = await import('../telemetry/start-otlp.js');
  const log = createLog({ ...config.log, worker });
  metrics = createMetrics();
  const otlp = await startOtlp(config.otlp, { log, metrics });
  const { url } = config.database;
  if (url === undefined) throw new Error('A worker needs the URL of the database.');
  let serving: Serving = 'nothing';
  let http: Awaited<ReturnType<typeof openHttp>>;
  const app = await startServing(config, {
    log,
    metrics,
    tracing: otlp.tracing,
    database: { url },
    // Not earlier: a worker that listens gets a share of the connections, and this one could not serve it yet.
    async openHttp(parts) {
      http = await openHttp(config, log, { text: totals.request, serving: () => serving, parts });
      return http;
    },
    signal: stop.signal,
    siblings,
    onServing(now) {
      serving = now;
    },
  });
  return { ...app, close: (closing) => app.close(closing).finally(() => Promise.all([http?.close(), otlp.close()])) };
}

/** Requests the metrics of all workers from the parent. */
function createTotalsRequests() {
  const pending = new Set<(text: string) => void>();
  return {
    request: () =>
      new Promise<string>((resolve) => {
        pending.add(resolve);
        send({ type: 'request totals' });
      }),
    receive(text: string) {
      for (const resolve of pending) resolve(text);
      pending.clear();
    },
  };
}

async function close(options?: CloseOptions): Promise<void> {
  stop.abort(new Error('The start was cancelled.'));
  // If the start failed, the process exits after it has sent `failed`.
  const app = await starting?.catch(() => undefined);
  try {
    await app?.close(options);
    await sendMetrics();
    process.exit(0);
  } catch (error) {
    app?.log.error({ error }, 'could not close');
    process.exit(1);
  }
}

async function sendMetrics(): Promise<void> {
  const snapshot = (await metrics?.snapshot()) ?? [];
  await new Promise<void>((resolve) => send({ type: 'metrics', snapshot }, resolve));
}

function send(message: FromWorker, then = () => {}): void {
  // A parent that has exited receives nothing; the 'disconnect' event reports it.
  if (process.connected) process.send?.(message, undefined, undefined, then);
  else then();
}
