/**
 * Supervises a fixed number of workers: replaces workers that exit, restarts them one after the other, and stops them all.
 * It does not know what a worker does.
 */
import { settlesWithin } from '../concurrency/abort.js';
import type { Log } from '../telemetry/log.js';
import type { WorkerEnd, WorkerProcess } from './worker-process.js';

export interface WorkerPoolOptions {
  readonly count: number;
  /** Numbers start at 1. */
  start(number: number): WorkerProcess;
  /** The time after which a replaced worker is killed if it has not exited. */
  readonly closeMs: number;
  readonly log: Log;
}

// The first replacement starts at once, because most causes do not repeat soon. If the worker keeps exiting, the pool waits:
// a start takes about a second of CPU, which the other workers need.
const backOffMs = 500;
// With this delay, a failing worker costs about a twentieth of a core. A longer one would delay the recovery after a fix.
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

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #slots: readonly Slot[];
  /** All processes that have not exited, including closing ones, and their numbers. */
  readonly #running = new Map<WorkerProcess, number>();
  readonly #started = Promise.withResolvers<void>();
  #isRestarting = false;
  #isRestartRequested = false;
  #isClosing = false;
  #exits = 0;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#slots = Array.from(
      { length: options.count },
      (_, index): Slot => ({ number: index + 1, worker: undefined, isRestarting: false, exits: 0 }),
    );
  }

  /** The number of workers that exited unexpectedly. */
  get exits(): number {
    return this.#exits;
  }

  /** Resolves when all workers serve; rejects with the error of a worker that does not start. */
  async start(): Promise<void> {
    const workers = this.#slots.map((slot) => {
      const worker = this.#launch(slot);
      this.#occupy(slot, worker);
      return worker;
    });
    await Promise.all(workers.map(({ serving }) => serving));
    this.#started.resolve();
  }

  /**
   * Starts a replacement for each worker in turn, and closes the old one when the replacement serves. Stops if a
   * replacement does not serve. Calls during a restart cause one more restart afterwards.
   */
  restart(): void {
    this.#isRestartRequested = true;
    if (!this.#isRestarting && !this.#isClosing) void this.#restartAll();
  }

  /** Closes all workers, and kills those that have not exited after `ms`. Resolves when all have exited. */
  async close(ms: number): Promise<void> {
    this.#stopStarting();
    for (const worker of this.#running.keys()) worker.close();
    await Promise.all([...this.#running.keys()].map((worker) => this.#killAfter(worker, ms)));
  }

  kill(): void {
    this.#stopStarting();
    for (const worker of this.#running.keys()) worker.kill();
  }

  #stopStarting(): void {
    this.#isClosing = true;
    for (const { timer } of this.#slots) clearTimeout(timer);
  }

  #launch({ number }: Slot): WorkerProcess {
    const worker = this.#options.start(number);
    this.#running.set(worker, number);
    void worker.ended.then(() => this.#running.delete(worker));
    worker.serving.then(
      () => this.#options.log.info({ worker: number, pid: worker.pid }, 'a worker is serving'),
      () => {},
    );
    return worker;
  }

  #occupy(slot: Slot, worker: WorkerProcess): void {
    slot.worker = worker;
    void worker.ended.then(async (end) => {
      // Before that, the caller of start() handles the exit.
      await this.#started.promise;
      if (slot.worker !== worker || this.#isClosing) return;
      slot.worker = undefined;
      this.#replace(slot, worker, end);
    });
  }

  #replace(slot: Slot, { pid }: WorkerProcess, { exitCode, signal, error, servedMs }: WorkerEnd): void {
    if (servedMs >= steadyMs) slot.exits = 0;
    const againInMs = slot.exits === 0 ? 0 : Math.min(backOffMs * 2 ** (slot.exits - 1), backOffMsMax);
    slot.exits++;
    this.#exits++;
    const fields = { worker: slot.number, pid, exitCode, signal, error, againInMs };
    this.#options.log.error(fields, error === undefined ? 'a worker has exited' : 'a worker did not start');
    // If the slot is being restarted, a replacement is already starting.
    if (!slot.isRestarting) this.#fill(slot, againInMs);
  }

  #fill(slot: Slot, inMs: number): void {
    slot.timer = setTimeout(() => this.#occupy(slot, this.#launch(slot)), inMs);
  }

  async #restartAll(): Promise<void> {
    const { log } = this.#options;
    this.#isRestarting = true;
    do {
      this.#isRestartRequested = false;
      log.info({}, 'restarting the workers');
      let isDone = true;
      for (const slot of this.#slots) isDone &&= await this.#restartOne(slot);
      if (isDone) log.info({}, 'restarted the workers');
    } while (this.#isRestartRequested && !this.#isClosing);
    this.#isRestarting = false;
  }

  /** Returns whether the worker was replaced. */
  async #restartOne(slot: Slot): Promise<boolean> {
    if (this.#isClosing) return false;
    clearTimeout(slot.timer);
    slot.isRestarting = true;
    const replacement = this.#launch(slot);
    const failure = await replacement.serving.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    slot.isRestarting = false;
    if (this.#isClosing) return false;
    if (failure !== undefined) {
      const fields = { worker: slot.number, ...failure };
      this.#options.log.error(fields, 'the restart has stopped because a new worker did not start');
      if (slot.worker === undefined) this.#fill(slot, backOffMs);
      return false;
    }
    const old = slot.worker;
    this.#occupy(slot, replacement);
    if (old === undefined) return true;
    // No delay: load balancers need not react, because the other workers accept new connections.
    old.close({ delayMs: 0 });
    await this.#killAfter(old, this.#options.closeMs);
    return true;
  }

  async #killAfter(worker: WorkerProcess, ms: number): Promise<void> {
    if (!(await settlesWithin(worker.ended, ms))) {
      const fields = { worker: this.#running.get(worker), pid: worker.pid };
      this.#options.log.warn(fields, 'killing a worker that did not exit in time');
      worker.kill();
    }
    await worker.ended;
  }
}
