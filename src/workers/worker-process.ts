/** The parent's handle of one worker process: forks it, exchanges messages with it, and reports when it serves and exits. */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { CloseOptions } from '../app.js';
import type { ServerConfig } from '../config/parse.js';
import type { MetricsSnapshot } from '../telemetry/metrics.js';
import { type FromSibling, type FromWorker, receivedError, type ToSibling, type ToWorker } from './messages.js';
import { recoverUnaccepted } from './unaccepted-connections.js';

export interface WorkerProcess {
  /** Undefined if the system could not create the process. */
  readonly pid: number | undefined;
  /** Rejects with the reason if it does not start. */
  readonly serving: Promise<void>;
  /** Never rejects. */
  readonly ended: Promise<WorkerEnd>;
  /** Its current metrics. If it has exited or does not respond within a second, the last ones that it sent. */
  snapshot(): Promise<MetricsSnapshot>;
  /** Lets its calls finish, or cancels its start. */
  close(options?: CloseOptions): void;
  kill(): void;
  /** Sets the listener for its messages to sibling workers. */
  onSiblingMessage(listener: (message: FromSibling) => void): void;
  /** Sends it a message about sibling workers. */
  send(message: ToSibling): void;
}

export interface WorkerEnd {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Why it never served, if it could report that. */
  readonly error: Error | undefined;
  readonly servedMs: number;
}

// Prometheus' default scrape timeout is ten seconds. If a worker is busy for longer than this, its last metrics count.
const metricsTimeoutMs = 1_000;

const ignore = () => {};

/** `config` has the database's URL and the ports; `totalsText` gives the metrics of all workers. */
export function forkWorker(config: ServerConfig, number: number, totalsText: () => Promise<string>): WorkerProcess {
  // With this policy the parent owns the port: the port closes with the parent, and connections are spread evenly.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('worker.js', import.meta.url)),
    args: [],
  });
  // The worker receives the database's URLs only over the channel.
  const worker = cluster.fork({ DATABASE_URL: undefined, DATABASE_DIRECT_URL: undefined, PGPASSWORD: undefined });
  recoverUnaccepted(worker.process);
  const send = (message: ToWorker) => {
    // A worker that has exited receives nothing; `ended` reports it.
    if (worker.isConnected()) worker.send(message, ignore);
  };

  const serving = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<WorkerEnd>();
  let error: Error | undefined;
  let servesSinceMs: number | undefined;
  let isReady = false;
  let snapshot: MetricsSnapshot = [];
  const pendingSnapshots = new Set<() => void>();
  const resolveSnapshots = () => {
    for (const resolveSnapshot of pendingSnapshots) resolveSnapshot();
  };
  let onSiblingMessage: (message: FromSibling) => void = ignore;
  // Sent when the worker is ready, because earlier messages would be lost.
  let firstMessage: ToWorker = { type: 'start', worker: number, config };
  worker.on('message', (message: FromWorker) => {
    if (message.type === 'ready') {
      isReady = true;
      send(firstMessage);
    }
    if (message.type === 'metrics') {
      snapshot = message.snapshot;
      resolveSnapshots();
    }
    if (message.type === 'request totals') void totalsText().then((text) => send({ type: 'totals', text }));
    if (message.type === 'watched' || message.type === 'written') onSiblingMessage(message);
    if (message.type === 'failed') error = receivedError(message.error);
    if (message.type === 'serving') {
      servesSinceMs = performance.now();
      serving.resolve();
    }
  });
  const end = (exitCode?: number, signal?: string) => {
    const how = signal ?? `exit code ${exitCode}`;
    serving.reject(error ?? new Error(`A worker exited before it served (${how}).`));
    const servedMs = servesSinceMs === undefined ? 0 : performance.now() - servesSinceMs;
    isReady = false;
    resolveSnapshots();
    ended.resolve({ exitCode, signal, error, servedMs });
  };
  worker.on('exit', (exitCode: number | null, signal: string | null) =>
    end(exitCode ?? undefined, signal ?? undefined),
  );
  worker.on('error', (cause) => {
    // A broken channel is not an exit. A process that was never created has no 'exit' event.
    if (worker.process.pid !== undefined) return;
    error = cause;
    end();
  });
  // Nothing awaits this promise if the worker is closed meanwhile.
  serving.promise.catch(ignore);

  return {
    pid: worker.process.pid,
    serving: serving.promise,
    ended: ended.promise,
    snapshot() {
      if (!isReady) return Promise.resolve(snapshot);
      return new Promise((resolve) => {
        const resolveSnapshot = () => {
          clearTimeout(timer);
          pendingSnapshots.delete(resolveSnapshot);
          resolve(snapshot);
        };
        const timer = setTimeout(resolveSnapshot, metricsTimeoutMs);
        pendingSnapshots.add(resolveSnapshot);
        send({ type: 'request metrics' });
      });
    },
    close(options) {
      firstMessage = { type: 'close', ...options };
      send(firstMessage);
    },
    kill: () => void worker.process.kill('SIGKILL'),
    onSiblingMessage(listener) {
      onSiblingMessage = listener;
    },
    send,
  };
}
