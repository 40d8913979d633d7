/**
 * Keeps a number of workers: replaces those that end, restarts them one after the other, and ends them all.
 *
 * A worker is what it is given to start; this knows nothing of what it does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../telemetry/log.js';
import type { WorkerEnd, WorkerProcess } from './worker-process.js';

export interface WorkerPool {
  /** Resolves when all serve; rejects with why one of them does not. */
  start(): Promise<void>;
  /**
   * A new worker for each that there is, which is told to close when the new one serves. Stops where a new one does not
   * serve. Asked again meanwhile, it begins again when it is done, once.
   */
  restart(): void;
  /** Tells all to close, and kills those that have not ended after `ms`. Resolves when all have ended. */
  close(ms: number): Promise<void>;
  kill(): void;
}

export interface WorkerPoolOptions {
  readonly count: number;
  /** Numbers are from 1. */
  start(number: number): WorkerProcess;
  /** How long one that was replaced may take to end before it is killed. */
  readonly closeMs: number;
  readonly log: Log;
}

// A worker that ends is replaced at once, as most of what ends one does not come again soon. One that ends again and
// again is not: a start takes about a second of a core, which those that serve need.
const backOffMs = 500;
// About a twentieth of a core for each worker that does not start; and so late, at the worst, it is noticed that it can again.
const backOffMsMax = 20_000;
// Who has served for so long has not ended by what it began with: the next one comes at once again.
const steadyMs = 60_000;

/** The place of one worker; of two, while one replaces the other. */
interface Slot {
  readonly number: number;
  worker: WorkerProcess | undefined;
  /** Whether another one is being started in the worker's place. */
  isRestarting: boolean;
  /** How many have ended in a row that had not served for long. */
  endings: number;
  timer?: NodeJS.Timeout;
}

export function createWorkerPool({ count, start, closeMs, log }: WorkerPoolOptions): WorkerPool {
  const slots = Array.from(
    { length: count },
    (_, index): Slot => ({ number: index + 1, worker: undefined, isRestarting: false, endings: 0 }),
  );
  // All processes, with those that close, and their numbers.
  const living = new Map<WorkerProcess, number>();
  const started = Promise.withResolvers<void>();
  let isRestarting = false;
  let isRestartWanted = false;
  let isClosing = false;

  function launch({ number }: Slot): WorkerProcess {
    const worker = start(number);
    living.set(worker, number);
    void worker.ended.then(() => living.delete(worker));
    worker.serving.then(
      () => log.info({ worker: number, pid: worker.pid }, 'a worker serves'),
      () => {},
    );
    return worker;
  }

  function occupy(slot: Slot, worker: WorkerProcess): void {
    slot.worker = worker;
    void worker.ended.then(async (end) => {
      // A start that fails is for its caller to see.
      await started.promise;
      if (slot.worker !== worker || isClosing) return;
      slot.worker = undefined;
      replace(slot, worker, end);
    });
  }

  function replace(slot: Slot, { pid }: WorkerProcess, { exitCode, signal, error, servedMs }: WorkerEnd): void {
    if (servedMs >= steadyMs) slot.endings = 0;
    const againInMs = slot.endings === 0 ? 0 : Math.min(backOffMs * 2 ** (slot.endings - 1), backOffMsMax);
    slot.endings++;
    const fields = { worker: slot.number, pid, exitCode, signal, error, againInMs };
    log.error(fields, error === undefined ? 'a worker has ended' : 'a worker does not start');
    // There is one on its way.
    if (!slot.isRestarting) fill(slot, againInMs);
  }

  function fill(slot: Slot, inMs: number): void {
    slot.timer = setTimeout(() => occupy(slot, launch(slot)), inMs);
  }

  /** Whether it was done. */
  async function restartOne(slot: Slot): Promise<boolean> {
    if (isClosing) return false;
    clearTimeout(slot.timer);
    slot.isRestarting = true;
    const fresh = launch(slot);
    const failure = await fresh.serving.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    slot.isRestarting = false;
    if (isClosing) return false;
    if (failure !== undefined) {
      log.error({ worker: slot.number, ...failure }, 'the restart has stopped: a new worker does not serve');
      if (slot.worker === undefined) fill(slot, backOffMs);
      return false;
    }
    const old = slot.worker;
    occupy(slot, fresh);
    if (old === undefined) return true;
    // No delay: no balancer has to notice anything, as the others take this one's connections.
    old.close({ delayMs: 0 });
    await endWithin(old, closeMs);
    return true;
  }

  async function restartAll(): Promise<void> {
    isRestarting = true;
    do {
      isRestartWanted = false;
      log.info({}, 'restarting the workers');
      let isDone = true;
      for (const slot of slots) isDone &&= await restartOne(slot);
      if (isDone) log.info({}, 'the workers were restarted');
    } while (isRestartWanted && !isClosing);
    isRestarting = false;
  }

  async function endWithin(worker: WorkerProcess, ms: number): Promise<void> {
    const late = sleep(ms, true, { ref: false });
    if ((await Promise.race([worker.ended, late])) === true) {
      log.warn({ worker: living.get(worker), pid: worker.pid }, 'a worker did not end in time, and is killed');
      worker.kill();
    }
    await worker.ended;
  }

  return {
    async start() {
      const workers = slots.map((slot) => {
        const worker = launch(slot);
        occupy(slot, worker);
        return worker;
      });
      await Promise.all(workers.map(({ serving }) => serving));
      started.resolve();
    },

    restart() {
      isRestartWanted = true;
      if (!isRestarting && !isClosing) void restartAll();
    },

    async close(ms) {
      isClosing = true;
      for (const { timer } of slots) clearTimeout(timer);
      for (const worker of living.keys()) worker.close();
      await Promise.all([...living.keys()].map((worker) => endWithin(worker, ms)));
    },

    kill() {
      isClosing = true;
      for (const { timer } of slots) clearTimeout(timer);
      for (const worker of living.keys()) worker.kill();
    },
  };
}
