/**
 * Combines concurrent calls into one statement. While a statement is in flight, new calls wait for the next one: an idle
 * server adds no delay, and a busy one sends fewer, larger statements. It caches nothing, and does not know what a user or
 * Postgres is. docs/benchmarks.md#variants-of-the-batcher compares it with other designs.
 *
 *     submit ────► ready ──► in flight ──► answered
 *        └► waiting ─┘
 *
 * Ready calls are in one list, in order of arrival. A call whose key is in use by another ready or in-flight call is waiting
 * in a list of that key, and then joins the ready list in its order of arrival. So a busy key delays no other key, and no
 * code has to skip calls that cannot run yet.
 */
import { AsyncResource } from 'node:async_hooks';
import { overloaded, serverStopping } from '../model/fault.js';

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

  // The two ends of the list of ready calls.
  let first: Call<Item, Outcome> | undefined;
  let last: Call<Item, Outcome> | undefined;
  // The last call of each key. The first call of a key is ready or in flight.
  const lastOfKey = new Map<string, Call<Item, Outcome>>();
  let arrivals = 0;
  let queued = 0;
  let inFlight = 0;
  // The timer of the statement that delays the next one.
  let blockingTimer: NodeJS.Timeout | undefined;
  let sendIsScheduled = false;
  let closed: PromiseWithResolvers<void> | undefined;

  function submit(item: Item, signal?: AbortSignal): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (closed !== undefined) throw serverStopping();
      signal?.throwIfAborted();
      if (queued >= queueRowsMax) throw overloaded();
      const key = options.keyOf?.(item);
      const call = new Call(item, key, arrivals++, signal, resolve, reject, cancel);
      signal?.addEventListener('abort', call);
      queued += 1;
      if (key !== undefined) {
        const previous = lastOfKey.get(key);
        lastOfKey.set(key, call);
        if (previous !== undefined) {
          call.previousInKey = previous;
          previous.nextInKey = call;
          return;
        }
      }
      makeReady(call, undefined);
      if (blockingTimer === undefined) scheduleSend();
    });
  }

  // setImmediate runs after everything that this event loop turn has read, so 100 calls of one packet become one batch.
  // Node drains microtasks and nextTick after every frame of a socket (docs/benchmarks.md#variants-of-the-batcher).
  function scheduleSend(): void {
    if (sendIsScheduled) return;
    sendIsScheduled = true;
    setImmediate(sendScheduled);
  }

  // A statement belongs to no single call. Without the binding it would run in the async context of the first call, and
  // use that call's request id and span.
  const sendScheduled = AsyncResource.bind(() => {
    sendIsScheduled = false;
    sendNext();
  });

  function sendNext(): void {
    if (blockingTimer !== undefined || inFlight >= statementsMax || first === undefined) return;
    const calls: Call<Item, Outcome>[] = [];
    let rows = 0;
    while (first !== undefined) {
      const call = first;
      rows += options.rowsOf?.(call.item) ?? 1;
      if (rows > batchRowsMax && calls.length > 0) break;
      unready(call);
      calls.push(call);
    }
    queued -= calls.length;
    void send(calls);
  }

  /** Runs a statement, and its halves if it fails. Never rejects. */
  async function send(calls: Call<Item, Outcome>[]): Promise<void> {
    inFlight += 1;
    const timer = setTimeout(() => {
      blockingTimer = undefined;
      sendNext();
    }, slowStatementMs).unref();
    blockingTimer = timer;

    const parts = [calls];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      // A half may have waited. Calls that were cancelled meanwhile do not run again.
      const live = part.filter(hasCaller);
      if (live.length === 0) continue;
      for (const call of live) call.stage = 'in flight';
      const result = await runOnce(live);
      if (result === 'again') {
        for (const call of live) call.stage = 'retrying';
        release(live.filter((call) => !hasCaller(call)));
        const middle = live.length >> 1;
        parts.push(live.slice(middle), live.slice(0, middle));
        continue;
      }
      if (result instanceof Error) for (const call of live) call.answer(result);
      else for (const [index, outcome] of result.entries()) live[index]?.answer(outcome);
      release(live);
    }

    clearTimeout(timer);
    if (blockingTimer === timer) blockingTimer = undefined;
    inFlight -= 1;
    // Sends before the continuations of the answers run, which keeps the database busy meanwhile.
    sendNext();
    closeWhenDone();
  }

  async function runOnce(calls: Call<Item, Outcome>[]): Promise<readonly (Outcome | Error)[] | Error | 'again'> {
    try {
      const outcomes = await options.run(calls.map((call) => call.item));
      if (Array.isArray(outcomes) && outcomes.length === calls.length) return outcomes;
      // Its rows may have been written, so it is never run again.
      return new Error(`A statement must return ${calls.length} outcomes, one for each row.`);
    } catch (error) {
      try {
        return calls.length > 1 && options.isRetryable(error) ? 'again' : toError(error);
      } catch (bug) {
        return toError(bug);
      }
    }
  }

  /** Frees the keys of calls that are no longer in flight, for the next calls of these keys. */
  function release(calls: readonly Call<Item, Outcome>[]): void {
    const freed: Call<Item, Outcome>[] = [];
    for (const call of calls) {
      const next = leaveKey(call);
      if (next !== undefined) freed.push(next);
    }
    if (freed.length === 0) return;
    // Sorted, so that one pass over the ready list finds all their places.
    freed.sort((a, b) => a.arrival - b.arrival);
    let place = first;
    for (const call of freed) place = makeReady(call, place);
    // They may run even if the statement still has other halves to run, once it has run for `slowStatementMs`.
    sendNext();
  }

  /** Removes an aborted call from where it waits. In flight, it keeps its key until the statement settles. */
  function cancel(call: Call<Item, Outcome>): void {
    if (call.stage === 'in flight') return;
    if (call.stage === 'retrying') {
      release([call]);
      return;
    }
    queued -= 1;
    // The next call of the key arrived later, so the search for its place starts here.
    const place = call.next;
    if (call.previousInKey === undefined) unready(call);
    const next = leaveKey(call);
    if (next !== undefined) makeReady(next, place);
    closeWhenDone();
  }

  /** Removes a call from its key's list. Returns the new first call of the key, if that has changed. */
  function leaveKey({ key, previousInKey, nextInKey }: Call<Item, Outcome>): Call<Item, Outcome> | undefined {
    if (key === undefined) return undefined;
    if (previousInKey !== undefined) previousInKey.nextInKey = nextInKey;
    if (nextInKey !== undefined) nextInKey.previousInKey = previousInKey;
    else if (previousInKey !== undefined) lastOfKey.set(key, previousInKey);
    else lastOfKey.delete(key);
    return previousInKey === undefined ? nextInKey : undefined;
  }

  /** Inserts a call into the ready list before the first later arrival, searching from `place` on. Returns that arrival. */
  function makeReady(call: Call<Item, Outcome>, place: Call<Item, Outcome> | undefined): typeof place {
    let next = place;
    while (next !== undefined && next.arrival < call.arrival) next = next.next;
    const previous = next === undefined ? last : next.previous;
    call.next = next;
    call.previous = previous;
    if (previous === undefined) first = call;
    else previous.next = call;
    if (next === undefined) last = call;
    else next.previous = call;
    return next;
  }

  function unready(call: Call<Item, Outcome>): void {
    const { next, previous } = call;
    if (previous === undefined) first = next;
    else previous.next = next;
    if (next === undefined) last = previous;
    else next.previous = previous;
    call.next = undefined;
    call.previous = undefined;
  }

  function close(): Promise<void> {
    closed ??= Promise.withResolvers();
    closeWhenDone();
    return closed.promise;
  }

  function closeWhenDone(): void {
    if (queued === 0 && inFlight === 0) closed?.resolve();
  }

  return {
    submit,
    close,
    get queued() {
      return queued;
    },
    get inFlight() {
      return inFlight;
    },
  };
}

/** One submitted item until its answer. It is its own abort listener, which saves a closure for each call. */
class Call<Item, Outcome> {
  /** The neighbours in the list of ready calls. */
  next: Call<Item, Outcome> | undefined = undefined;
  previous: Call<Item, Outcome> | undefined = undefined;
  /** The neighbours in the list of its key. Without a previous call it is ready or in flight. */
  previousInKey: Call<Item, Outcome> | undefined = undefined;
  nextInKey: Call<Item, Outcome> | undefined = undefined;
  stage: 'queued' | 'in flight' | 'retrying' = 'queued';
  isAnswered = false;

  constructor(
    readonly item: Item,
    readonly key: string | undefined,
    readonly arrival: number,
    private readonly signal: AbortSignal | undefined,
    private readonly resolve: (outcome: Outcome) => void,
    private readonly reject: (reason: unknown) => void,
    private readonly cancel: (call: Call<Item, Outcome>) => void,
  ) {}

  answer(outcome: Outcome | Error): void {
    if (this.isAnswered) return;
    this.finish();
    if (outcome instanceof Error) this.reject(outcome);
    else this.resolve(outcome);
  }

  handleEvent(): void {
    this.finish();
    this.reject(this.signal?.reason);
    this.cancel(this);
  }

  private finish(): void {
    this.isAnswered = true;
    // A long-lived signal (of a connection or the process) would keep every call in memory.
    this.signal?.removeEventListener('abort', this);
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
