/**
 * Supervises a fixed number of workers: replaces workers that exit, restarts them one after the other, and stops them all.
 * It does not know what a worker does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../telemetry/log.js';
import type { WorkerEnd, WorkerProcess } from './worker-process.js';

export interface WorkerPool {
  /** Resolves when all workers serve; rejects with the error of a worker that does not start. */
  start(): Promise<void>;
  /**
   * Starts a replacement for each worker in turn, and closes the old one when the replacement serves. Stops if a
   * replacement does not serve. Calls during a restart cause one more restart afterwards.
   */
  restart(): void;
  /** Closes all workers, and kills those that have not exited after `ms`. Resolves when all have exited. */
  close(ms: number): Promise<void>;
  kill(): void;
}

export interface WorkerPoolOptions {
  readonly count: number;
  /** Numbers start at 1. */
  start(number: number): WorkerProcess;
  /** The time after which a replaced worker is killed if it has not exited. */
  readonly closeMs: number;
  readonly log: Log;
}

// A worker that exits is replaced at once because most causes do not repeat soon. If it keeps exiting, the pool waits:
// a start takes about a second of CPU, which the serving workers need.
const backOffMs = 500;
// Costs about a twentieth of a core for each failing worker. It is also the longest delay until a working start is tried.
const backOffMsMax = 20_000;
// A worker that has served this long did not fail because of its start, so its replacement starts at once.
const steadyMs = 60_000;

/** One worker, or two while one replaces the other. */
interface Slot {
  readonly number: number;
  worker: WorkerProcess | undefined;
  /** Whether a replacement is starting. */
  isRestarting: boolean;
  /** How many workers in a row exited without serving for long. */
  exits: number;
  timer?: NodeJS.Timeout;
}

export function createWorkerPool({ count, start, closeMs, log }: WorkerPoolOptions): WorkerPool {
  const slots = Array.from(
    { length: count },
    (_, index): Slot => ({ number: index + 1, worker: undefined, isRestarting: false, exits: 0 }),
  );
  // All processes, including closing ones, and their numbers.
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
      () => log.info({ worker: number, pid: worker.pid }, 'a worker is serving'),
      () => {},
    );
    return worker;
  }

  function occupy(slot: Slot, worker: WorkerProcess): void {
    slot.worker = worker;
    void worker.ended.then(async (end) => {
      // The caller of start() handles a failed start.
      await started.promise;
      if (slot.worker !== worker || isClosing) return;
      slot.worker = undefined;
      replace(slot, worker, end);
    });
  }

  function replace(slot: Slot, { pid }: WorkerProcess, { exitCode, signal, error, servedMs }: WorkerEnd): void {
    if (servedMs >= steadyMs) slot.exits = 0;
    const againInMs = slot.exits === 0 ? 0 : Math.min(backOffMs * 2 ** (slot.exits - 1), backOffMsMax);
    slot.exits++;
    const fields = { worker: slot.number, pid, exitCode, signal, error, againInMs };
    log.error(fields, error === undefined ? 'a worker has exited' : 'a worker did not start');
    // A replacement is already starting.
    if (!slot.isRestarting) fill(slot, againInMs);
  }

  function fill(slot: Slot, inMs: number): void {
    slot.timer = setTimeout(() => occupy(slot, launch(slot)), inMs);
  }

  /** Returns whether the worker was replaced. */
  async function restartOne(slot: Slot): Promise<boolean> {
    if (isClosing) return false;
    clearTimeout(slot.timer);
    slot.isRestarting = true;
    const replacement = launch(slot);
    const failure = await replacement.serving.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    slot.isRestarting = false;
    if (isClosing) return false;
    if (failure !== undefined) {
      log.error({ worker: slot.number, ...failure }, 'the restart has stopped because a new worker did not start');
      if (slot.worker === undefined) fill(slot, backOffMs);
      return false;
    }
    const old = slot.worker;
    occupy(slot, replacement);
    if (old === undefined) return true;
    // No delay, because the other workers accept this one's connections and load balancers need not notice.
    old.close({ delayMs: 0 });
    await killAfter(old, closeMs);
    return true;
  }

  async function restartAll(): Promise<void> {
    isRestarting = true;
    do {
      isRestartWanted = false;
      log.info({}, 'restarting the workers');
      let isDone = true;
      for (const slot of slots) isDone &&= await restartOne(slot);
      if (isDone) log.info({}, 'restarted the workers');
    } while (isRestartWanted && !isClosing);
    isRestarting = false;
  }

  async function killAfter(worker: WorkerProcess, ms: number): Promise<void> {
    const late = sleep(ms, true, { ref: false });
    if ((await Promise.race([worker.ended, late])) === true) {
      log.warn({ worker: living.get(worker), pid: worker.pid }, 'killing a worker that did not exit in time');
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
      await Promise.all([...living.keys()].map((worker) => killAfter(worker, ms)));
    },

    kill() {
      isClosing = true;
      for (const { timer } of slots) clearTimeout(timer);
      for (const worker of living.keys()) worker.kill();
    },
  };
}
