/**
 * The queue of calls that wait for a statement, in order of arrival.
 *
 *     add ────► ready ──► taken
 *        └► waiting ─┘
 *
 * Ready calls are in one list. A call waits in its key's list while another ready or taken call has the same key. When
 * the key is free, the call moves into the ready list, in order of arrival. So a busy key does not delay other keys,
 * and `take` never has to skip a call that cannot run yet.
 */

/** A submitted item and its promise. It is its own abort listener, which saves a closure for each call. */
export class Call<Item, Outcome> {
  /** The neighbours in the list of ready calls. */
  next: Call<Item, Outcome> | undefined = undefined;
  previous: Call<Item, Outcome> | undefined = undefined;
  /** The neighbours in the list of its key. If `previousInKey` is undefined, the call is ready or taken. */
  previousInKey: Call<Item, Outcome> | undefined = undefined;
  nextInKey: Call<Item, Outcome> | undefined = undefined;
  stage: 'queued' | 'in flight' | 'retrying' = 'queued';
  isSettled = false;
  arrival = 0;

  constructor(
    readonly item: Item,
    readonly key: string | undefined,
    private readonly signal: AbortSignal | undefined,
    private readonly resolve: (outcome: Outcome) => void,
    private readonly reject: (reason: unknown) => void,
    private readonly onCancel: (call: Call<Item, Outcome>) => void,
  ) {
    signal?.addEventListener('abort', this);
  }

  settle(outcome: Outcome | Error): void {
    if (this.isSettled) return;
    this.markSettled();
    if (outcome instanceof Error) this.reject(outcome);
    else this.resolve(outcome);
  }

  /** Called when the signal aborts. */
  handleEvent(): void {
    this.markSettled();
    this.reject(this.signal?.reason);
    this.onCancel(this);
  }

  private markSettled(): void {
    this.isSettled = true;
    // Otherwise a long-lived signal, such as that of a connection or the process, would keep every call in memory.
    this.signal?.removeEventListener('abort', this);
  }
}

export class CallQueue<Item, Outcome> {
  /** The number of ready and waiting calls. */
  size = 0;
  // The two ends of the list of ready calls.
  private first: Call<Item, Outcome> | undefined;
  private last: Call<Item, Outcome> | undefined;
  // The last call of each key. The first call of a key is ready or taken.
  private readonly lastOfKey = new Map<string, Call<Item, Outcome>>();
  private arrivals = 0;

  get hasReady(): boolean {
    return this.first !== undefined;
  }

  add(call: Call<Item, Outcome>): void {
    call.arrival = this.arrivals++;
    this.size += 1;
    if (call.key !== undefined) {
      const previous = this.lastOfKey.get(call.key);
      this.lastOfKey.set(call.key, call);
      if (previous !== undefined) {
        call.previousInKey = previous;
        previous.nextInKey = call;
        return;
      }
    }
    this.insertIntoReady(call, undefined);
  }

  /** Takes ready calls with at most `rowsMax` rows, or one call that has more. They keep their keys until `release`. */
  take(rowsMax: number, rowsOf: (item: Item) => number): Call<Item, Outcome>[] {
    const calls: Call<Item, Outcome>[] = [];
    let rows = 0;
    while (this.first !== undefined) {
      const call = this.first;
      rows += rowsOf(call.item);
      if (rows > rowsMax && calls.length > 0) break;
      this.removeFromReady(call);
      calls.push(call);
    }
    this.size -= calls.length;
    return calls;
  }

  /** Frees the keys of taken calls. Returns whether other calls became ready. */
  release(calls: readonly Call<Item, Outcome>[]): boolean {
    const nextCalls: Call<Item, Outcome>[] = [];
    for (const call of calls) {
      const next = this.removeFromKey(call);
      if (next !== undefined) nextCalls.push(next);
    }
    // In this order, one pass over the ready list finds the place of each call.
    nextCalls.sort((a, b) => a.arrival - b.arrival);
    let place = this.first;
    for (const call of nextCalls) place = this.insertIntoReady(call, place);
    return nextCalls.length > 0;
  }

  /** Removes a call that has not been taken. */
  remove(call: Call<Item, Outcome>): void {
    this.size -= 1;
    // The key's next call arrived later than this one, so the search for its place starts here.
    const place = call.next;
    if (call.previousInKey === undefined) this.removeFromReady(call);
    const next = this.removeFromKey(call);
    if (next !== undefined) this.insertIntoReady(next, place);
  }

  /** Removes a call from its key's list. If it was the first one, returns the new first call. */
  private removeFromKey({ key, previousInKey, nextInKey }: Call<Item, Outcome>): Call<Item, Outcome> | undefined {
    if (key === undefined) return undefined;
    if (previousInKey !== undefined) previousInKey.nextInKey = nextInKey;
    if (nextInKey !== undefined) nextInKey.previousInKey = previousInKey;
    else if (previousInKey !== undefined) this.lastOfKey.set(key, previousInKey);
    else this.lastOfKey.delete(key);
    return previousInKey === undefined ? nextInKey : undefined;
  }

  /**
   * Inserts a call into the ready list by arrival, and returns the call after it. The search starts at `place`. If that
   * is undefined, the call becomes the last one.
   */
  private insertIntoReady(call: Call<Item, Outcome>, place: Call<Item, Outcome> | undefined): typeof place {
    let next = place;
    while (next !== undefined && next.arrival < call.arrival) next = next.next;
    const previous = next === undefined ? this.last : next.previous;
    call.next = next;
    call.previous = previous;
    if (previous === undefined) this.first = call;
    else previous.next = call;
    if (next === undefined) this.last = call;
    else next.previous = call;
    return next;
  }

  private removeFromReady(call: Call<Item, Outcome>): void {
    const { next, previous } = call;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    call.next = undefined;
    call.previous = undefined;
  }
}
