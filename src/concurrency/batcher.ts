/**
 * Combines concurrent calls into one statement. While a statement is in flight, new calls wait for the next one: an idle
 * server adds no delay, and a busy one sends fewer, larger statements. It caches nothing, and does not know what a user or
 * Postgres is. docs/benchmarks.md#variants-of-the-batcher compares it with other designs.
 */
import { AsyncResource } from 'node:async_hooks';
import { overloaded, serverStopping } from '../model/fault.js';
import { Call, CallQueue } from './call-queue.js';

export interface BatcherOptions<Item, Outcome> {
  /**
   * Runs one statement and returns one outcome for each item, by index. An Error as an outcome rejects that one call. The
   * statement needs its own timeout: a promise that never settles counts toward `statementsMax` forever.
   */
  run(items: readonly Item[]): PromiseLike<readonly (Outcome | Error)[]>;
  /**
   * Items with the same key never share a statement and are never in flight at once; they run in order of arrival.
   * Undefined: no key.
   */
  keyOf?(item: Item): string | undefined;
  /** The number of rows of an item. An item with more than `batchRowsMax` rows runs alone. Default: 1. */
  rowsOf?(item: Item): number;
  /**
   * Whether a statement that failed as a whole certainly wrote nothing and may succeed with fewer rows. Then it runs again
   * in halves: about 2 log2(n) statements for one failing row among n, but 2n if every row fails.
   */
  isRetryable(error: unknown): boolean;
  /** Maximum rows in one statement. */
  batchRowsMax: number;
  /** Maximum number of waiting calls. Further calls fail with OVERLOADED. */
  queueRowsMax: number;
  /** Maximum number of statements in flight. A second one starts only if all others have run for `slowStatementMs`. */
  statementsMax: number;
  /** A statement that has run this long, for example because it waits for a lock, no longer delays the next one. */
  slowStatementMs: number;
}

export interface Batcher<Item, Outcome> {
  /**
   * Settles with the outcome of this item. If the signal aborts, it rejects at once with the signal's reason: a waiting item
   * never runs, and the outcome of an item in flight is discarded.
   * It also rejects with OVERLOADED or SERVER_STOPPING. Every other rejection is an abort's reason or comes from `run`.
   */
  submit(item: Item, signal?: AbortSignal): Promise<Outcome>;
  /** Accepts no new calls, and resolves when none waits or is in flight, so that the database can be closed next. */
  close(): Promise<void>;
  /** The number of calls that wait for a statement. */
  readonly queued: number;
  /** The number of statements in flight. A statement that runs again in halves counts once. */
  readonly inFlight: number;
}

export function createBatcher<Item, Outcome>(options: BatcherOptions<Item, Outcome>): Batcher<Item, Outcome> {
  const { batchRowsMax, queueRowsMax, statementsMax, slowStatementMs } = options;
  for (const [name, bound] of Object.entries({ batchRowsMax, queueRowsMax, statementsMax, slowStatementMs })) {
    // The maximum of setTimeout. Longer timers fire after 1 ms.
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 31 - 1) {
      throw new RangeError(`${name} must be an integer from 1 to 2147483647.`);
    }
  }
  return new QueueBatcher(options);
}

class QueueBatcher<Item, Outcome> implements Batcher<Item, Outcome> {
  inFlight = 0;
  private readonly queue = new CallQueue<Item, Outcome>();
  private readonly rowsOf: (item: Item) => number;
  // The timer of the statement that delays the next one.
  private blockingTimer: NodeJS.Timeout | undefined;
  private sendIsScheduled = false;
  private closed: PromiseWithResolvers<void> | undefined;

  constructor(private readonly options: BatcherOptions<Item, Outcome>) {
    this.rowsOf = options.rowsOf ?? (() => 1);
  }

  get queued(): number {
    return this.queue.size;
  }

  submit(item: Item, signal?: AbortSignal): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.closed !== undefined) throw serverStopping();
      signal?.throwIfAborted();
      if (this.queued >= this.options.queueRowsMax) throw overloaded();
      const key = this.options.keyOf?.(item);
      this.queue.add(new Call(item, key, signal, resolve, reject, this.cancel));
      this.scheduleSend();
    });
  }

  close(): Promise<void> {
    this.closed ??= Promise.withResolvers();
    this.closeWhenDone();
    return this.closed.promise;
  }

  // setImmediate runs after everything that this event loop turn has read, so 100 calls of one packet become one batch.
  // Node drains microtasks and nextTick after every frame of a socket (docs/benchmarks.md#variants-of-the-batcher).
  private scheduleSend(): void {
    if (this.sendIsScheduled || this.blockingTimer !== undefined || !this.queue.hasReady) return;
    this.sendIsScheduled = true;
    setImmediate(this.sendScheduled);
  }

  // A statement belongs to no single call. Without the binding it would run in the async context of the first call, and
  // use that call's request id and span.
  private readonly sendScheduled = AsyncResource.bind(() => {
    this.sendIsScheduled = false;
    this.sendNext();
  });

  private sendNext(): void {
    const { batchRowsMax, statementsMax } = this.options;
    if (this.blockingTimer !== undefined || this.inFlight >= statementsMax || !this.queue.hasReady) return;
    void this.send(this.queue.take(batchRowsMax, this.rowsOf));
  }

  /** Runs a statement, and its halves if it fails. Never rejects. */
  private async send(calls: Call<Item, Outcome>[]): Promise<void> {
    this.inFlight += 1;
    const timer = setTimeout(() => {
      this.blockingTimer = undefined;
      this.sendNext();
    }, this.options.slowStatementMs).unref();
    this.blockingTimer = timer;

    const parts = [calls];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      // A half may have waited. Calls that were cancelled meanwhile do not run again.
      const live = part.filter(hasCaller);
      if (live.length === 0) continue;
      for (const call of live) call.stage = 'in flight';
      const result = await this.runOnce(live);
      if (result === 'again') {
        for (const call of live) call.stage = 'retrying';
        this.release(live.filter((call) => !hasCaller(call)));
        const middle = live.length >> 1;
        parts.push(live.slice(middle), live.slice(0, middle));
        continue;
      }
      if (result instanceof Error) for (const call of live) call.answer(result);
      else for (const [index, outcome] of result.entries()) live[index]?.answer(outcome);
      this.release(live);
    }

    clearTimeout(timer);
    if (this.blockingTimer === timer) this.blockingTimer = undefined;
    this.inFlight -= 1;
    // Sends before the continuations of the answers run, which keeps the database busy meanwhile.
    this.sendNext();
    this.closeWhenDone();
  }

  private async runOnce(calls: Call<Item, Outcome>[]): Promise<readonly (Outcome | Error)[] | Error | 'again'> {
    try {
      const outcomes = await this.options.run(calls.map((call) => call.item));
      if (Array.isArray(outcomes) && outcomes.length === calls.length) return outcomes;
      // Its rows may have been written, so it is never run again.
      return new Error(`A statement must return ${calls.length} outcomes, one for each row.`);
    } catch (error) {
      try {
        return calls.length > 1 && this.options.isRetryable(error) ? 'again' : toError(error);
      } catch (bug) {
        return toError(bug);
      }
    }
  }

  /** Frees the keys of calls that are no longer in flight, for the next calls of these keys. */
  private release(calls: readonly Call<Item, Outcome>[]): void {
    // They may run even if the statement still has other halves to run, once it has run for `slowStatementMs`.
    if (this.queue.release(calls)) this.sendNext();
  }

  /** Removes an aborted call from where it waits. In flight, it keeps its key until the statement settles. */
  private readonly cancel = (call: Call<Item, Outcome>): void => {
    if (call.stage === 'retrying') this.release([call]);
    if (call.stage !== 'queued') return;
    this.queue.remove(call);
    this.closeWhenDone();
  };

  private closeWhenDone(): void {
    if (this.queued === 0 && this.inFlight === 0) this.closed?.resolve();
  }
}

function hasCaller<Item, Outcome>(call: Call<Item, Outcome>): boolean {
  return !call.isAnswered;
}

/** Makes sure that a rejection is an Error. The text is fixed because the thrown value may contain personal data. */
function toError(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error('A statement threw a value that is not an Error.', { cause: thrown });
}
