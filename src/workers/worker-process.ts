/** One worker as the process that forked it sees it: it serves, it ends, and it can be told to. Decides nothing. */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { CloseOptions } from '../app.js';
import type { ServerConfig } from '../config.js';
import type { Figures } from '../telemetry/metrics.js';
import { type FromSibling, type FromWorker, receivedError, type ToSibling, type ToWorker } from './messages.js';

export interface WorkerProcess {
  /** Undefined where the system had no process to give. */
  readonly pid: number | undefined;
  /** Rejects with why it does not serve. */
  readonly serving: Promise<void>;
  /** Never rejects. */
  readonly ended: Promise<WorkerEnd>;
  /** Its figures now, or where it has ended or does not answer for a second those that it told last. */
  figures(): Promise<Figures>;
  /** Lets its calls finish, or gives up its start. */
  close(options?: CloseOptions): void;
  /** At once. */
  kill(): void;
  /** What it has to say to the others, once it serves. */
  onSay(listener: (message: FromSibling) => void): void;
  /** Says something of the others to it, once it serves. */
  say(message: ToSibling): void;
}

export interface WorkerEnd {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Why it never served, where it could say so. */
  readonly error: Error | undefined;
  /** How long it has served. */
  readonly servedMs: number;
}

// A scrape has ten seconds by default; a worker that is busy for so long tells the next one.
const figuresMsMax = 1_000;

const ignore = () => {};

/** `config` with the database's URL, and ports where it is not to pick one; `totalsText` is what all workers come to. */
export function forkWorker(config: ServerConfig, number: number, totalsText: () => Promise<string>): WorkerProcess {
  // The only policy in which the port is this process's: it goes with it, and workers share connections out evenly.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('worker.js', import.meta.url)),
    args: [],
  });
  // The URL of the database goes over the channel only.
  const worker = cluster.fork({ DATABASE_URL: undefined });
  const tell = (message: ToWorker) => {
    // One that has ended hears nothing; `ended` says so.
    if (worker.isConnected()) worker.send(message, ignore);
  };

  const serving = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<WorkerEnd>();
  let error: Error | undefined;
  let servesSinceMs: number | undefined;
  let isReady = false;
  let figures: Figures = [];
  // Who has asked for figures.
  const askers = new Set<() => void>();
  const answerAskers = () => {
    for (const answer of askers) answer();
  };
  let hear: (message: FromSibling) => void = ignore;
  // What is said before it is ready is lost.
  let first: ToWorker = { type: 'start', worker: number, config };
  worker.on('message', (message: FromWorker) => {
    if (message.type === 'ready') {
      isReady = true;
      tell(first);
    }
    if (message.type === 'figures') {
      figures = message.figures;
      answerAskers();
    }
    if (message.type === 'count') void totalsText().then((text) => tell({ type: 'totals', text }));
    if (message.type === 'watched' || message.type === 'written') hear(message);
    if (message.type === 'failed') error = receivedError(message.error);
    if (message.type === 'serving') {
      servesSinceMs = performance.now();
      serving.resolve();
    }
  });
  const end = (exitCode?: number, signal?: string) => {
    const how = signal ?? `exit code ${exitCode}`;
    serving.reject(error ?? new Error(`A worker ended before it served (${how}).`));
    const servedMs = servesSinceMs === undefined ? 0 : performance.now() - servesSinceMs;
    isReady = false;
    answerAskers();
    ended.resolve({ exitCode, signal, error, servedMs });
  };
  worker.on('exit', (exitCode: number | null, signal: string | null) =>
    end(exitCode ?? undefined, signal ?? undefined),
  );
  worker.on('error', (cause) => {
    // A channel that breaks is one thing; a process that never was has no exit.
    if (worker.process.pid !== undefined) return;
    error = cause;
    end();
  });
  // Nobody waits for that of a worker that is closed meanwhile.
  serving.promise.catch(ignore);

  return {
    pid: worker.process.pid,
    serving: serving.promise,
    ended: ended.promise,
    figures() {
      if (!isReady) return Promise.resolve(figures);
      return new Promise((resolve) => {
        const answer = () => {
          clearTimeout(timer);
          askers.delete(answer);
          resolve(figures);
        };
        const timer = setTimeout(answer, figuresMsMax);
        askers.add(answer);
        tell({ type: 'gather' });
      });
    },
    close(options) {
      first = { type: 'close', ...options };
      tell(first);
    },
    kill: () => void worker.process.kill('SIGKILL'),
    onSay(listener) {
      hear = listener;
    },
    say: tell,
  };
}
