/**
 * Combines concurrent calls into one statement. While a statement is in flight, new calls wait for the next one. So an
 * idle server adds no delay, and a busy one sends fewer, larger statements
 * (docs/decisions/0034-one-statement-in-flight.md).
 */
import { AsyncResource } from 'node:async_hooks';
import { overloaded, serverStopping } from '../model/fault.js';
import { Call, CallQueue } from './call-queue.js';

export interface BatcherOptions<Item, Outcome> {
  /**
   * Runs one statement and returns one outcome for each item, in the order of the items. If an outcome is an Error,
   * only that call rejects. The statement needs its own timeout: a promise that never settles counts toward
   * `statementsMax` forever.
   */
  run(items: readonly Item[]): PromiseLike<readonly (Outcome | Error)[]>;
  /**
   * Items with the same key never share a statement and are never in flight at once; they run in order of arrival.
   * Returns undefined for an item without a key.
   */
  keyOf?(item: Item): string | undefined;
  /** The number of rows of an item. An item with more than `batchRowsMax` rows runs alone. Default: 1. */
  rowsOf?(item: Item): number;
  /**
   * Whether a failed statement has certainly written nothing and may succeed with fewer rows. If so, the batcher splits
   * it in half and runs each half: about 2 log2(n) statements if one of n rows fails, and 2n if every row fails.
   */
  isRetryable(error: unknown): boolean;
  /** Maximum rows in one statement. */
  batchRowsMax: number;
  /** Maximum number of waiting calls. Further calls fail with OVERLOADED. */
  queueRowsMax: number;
  /** Maximum number of statements in flight. A new one starts only if all others are slow (`slowStatementMs`). */
  statementsMax: number;
  /** A statement that has run this long, for example because it waits for a lock, no longer delays the next one. */
  slowStatementMs: number;
}

export interface Batcher<Item, Outcome> {
  /**
   * Settles with the outcome of this item. If the signal aborts, it rejects at once with the signal's reason: a waiting
   * item never runs, and the outcome of an item in flight is discarded. It also rejects with OVERLOADED, with
   * SERVER_STOPPING, or with an error of `run`.
   */
  submit(item: Item, signal?: AbortSignal): Promise<Outcome>;
  /** Stops accepting calls. Resolves when no call is waiting or in flight, so that the database can be closed next. */
  close(): Promise<void>;
  /** The number of calls that wait for a statement. */
  readonly queued: number;
  /** The number of statements in flight. A statement that was split in half counts once. */
  readonly inFlight: number;
}

export function createBatcher<Item, Outcome>(options: BatcherOptions<Item, Outcome>): Batcher<Item, Outcome> {
  const { batchRowsMax, queueRowsMax, statementsMax, slowStatementMs } = options;
  for (const [name, bound] of Object.entries({ batchRowsMax, queueRowsMax, statementsMax, slowStatementMs })) {
    // The longest delay that setTimeout supports. Timers with a longer delay fire after 1 ms.
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
  // Runs until the latest statement ends or becomes slow. Until then, the next statement waits.
  private slowTimer: NodeJS.Timeout | undefined;
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

  // setImmediate runs after this event loop turn has read its input, so 100 calls of one packet become one batch. A
  // microtask or nextTick would run too early: Node drains both after every frame of a socket
  // (docs/decisions/0034-one-statement-in-flight.md).
  private scheduleSend(): void {
    if (this.sendIsScheduled || this.slowTimer !== undefined || !this.queue.hasReady) return;
    this.sendIsScheduled = true;
    setImmediate(this.sendScheduled);
  }

  // Many calls share a statement. Without the binding, it would run in the async context of the first call, and use
  // that call's request id and span.
  private readonly sendScheduled = AsyncResource.bind(() => {
    this.sendIsScheduled = false;
    this.sendNext();
  });

  private sendNext(): void {
    const { batchRowsMax, statementsMax } = this.options;
    if (this.slowTimer !== undefined || this.inFlight >= statementsMax || !this.queue.hasReady) return;
    void this.send(this.queue.take(batchRowsMax, this.rowsOf));
  }

  /** Runs a statement, and its halves if it fails. Never rejects. */
  private async send(calls: Call<Item, Outcome>[]): Promise<void> {
    this.inFlight += 1;
    const timer = setTimeout(() => {
      this.slowTimer = undefined;
      this.sendNext();
    }, this.options.slowStatementMs).unref();
    this.slowTimer = timer;

    const parts = [calls];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      // Calls may have been cancelled while this half waited for the other one. They do not run again.
      const live = part.filter((call) => !call.isSettled);
      if (live.length === 0) continue;
      for (const call of live) call.stage = 'in flight';
      const result = await this.runOnce(live);
      if (result === 'split') {
        for (const call of live) call.stage = 'retrying';
        this.release(live.filter((call) => call.isSettled));
        const middle = live.length >> 1;
        parts.push(live.slice(middle), live.slice(0, middle));
        continue;
      }
      if (result instanceof Error) for (const call of live) call.settle(result);
      else for (const [index, outcome] of result.entries()) live[index]?.settle(outcome);
      this.release(live);
    }

    clearTimeout(timer);
    if (this.slowTimer === timer) this.slowTimer = undefined;
    this.inFlight -= 1;
    // Send before the callers' continuations run, so that the database does not wait for them.
    this.sendNext();
    this.closeWhenDone();
  }

  private async runOnce(calls: Call<Item, Outcome>[]): Promise<readonly (Outcome | Error)[] | Error | 'split'> {
    try {
      const outcomes = await this.options.run(calls.map((call) => call.item));
      if (Array.isArray(outcomes) && outcomes.length === calls.length) return outcomes;
      // The statement may have written its rows, so it must not run again.
      return new Error(`A statement must return ${calls.length} outcomes, one for each row.`);
    } catch (error) {
      try {
        return calls.length > 1 && this.options.isRetryable(error) ? 'split' : toError(error);
      } catch (bug) {
        return toError(bug);
      }
    }
  }

  /** Frees the keys of calls that are no longer in flight, so that the next calls with these keys can run. */
  private release(calls: readonly Call<Item, Outcome>[]): void {
    // If the statement has run for `slowStatementMs`, the next calls do not wait for its remaining halves.
    if (this.queue.release(calls)) this.sendNext();
  }

  /**
   * Removes an aborted call if it is queued or retrying. A call in flight keeps its key until the statement settles.
   */
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

/** Wraps a thrown value that is not an Error. The text is fixed because the value may contain personal data. */
function toError(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error('A statement threw a value that is not an Error.', { cause: thrown });
}
