/**
 * Calls that wait for a statement, in order of arrival.
 *
 *     add ────► ready ──► taken
 *        └► waiting ─┘
 *
 * Ready calls are in one list. If another ready or taken call has the same key, a call waits in the list of that key.
 * When the key is free, the call moves into the ready list, in order of arrival. So a busy key does not delay other
 * keys, and no code has to skip calls that cannot run yet.
 */

/**
 * A submitted item that has not been answered yet. It is its own abort listener, which saves a closure for each call.
 */
export class Call<Item, Outcome> {
  /** The neighbours in the list of ready calls. */
  next: Call<Item, Outcome> | undefined = undefined;
  previous: Call<Item, Outcome> | undefined = undefined;
  /** The neighbours in the list of its key. If `previousInKey` is undefined, the call is ready or taken. */
  previousInKey: Call<Item, Outcome> | undefined = undefined;
  nextInKey: Call<Item, Outcome> | undefined = undefined;
  stage: 'queued' | 'in flight' | 'retrying' = 'queued';
  isAnswered = false;
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

  answer(outcome: Outcome | Error): void {
    if (this.isAnswered) return;
    this.finish();
    if (outcome instanceof Error) this.reject(outcome);
    else this.resolve(outcome);
  }

  handleEvent(): void {
    this.finish();
    this.reject(this.signal?.reason);
    this.onCancel(this);
  }

  private finish(): void {
    this.isAnswered = true;
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
    this.makeReady(call, undefined);
  }

  /** Takes ready calls with at most `rowsMax` rows in total, or one call that has more. They keep their keys. */
  take(rowsMax: number, rowsOf: (item: Item) => number): Call<Item, Outcome>[] {
    const calls: Call<Item, Outcome>[] = [];
    let rows = 0;
    while (this.first !== undefined) {
      const call = this.first;
      rows += rowsOf(call.item);
      if (rows > rowsMax && calls.length > 0) break;
      this.unready(call);
      calls.push(call);
    }
    this.size -= calls.length;
    return calls;
  }

  /** Frees the keys of taken calls. Returns whether this made other calls ready. */
  release(calls: readonly Call<Item, Outcome>[]): boolean {
    const freed: Call<Item, Outcome>[] = [];
    for (const call of calls) {
      const next = this.leaveKey(call);
      if (next !== undefined) freed.push(next);
    }
    // Sort them, so that one pass over the ready list finds the place of each.
    freed.sort((a, b) => a.arrival - b.arrival);
    let place = this.first;
    for (const call of freed) place = this.makeReady(call, place);
    return freed.length > 0;
  }

  /** Removes a call that has not been taken. */
  remove(call: Call<Item, Outcome>): void {
    this.size -= 1;
    // The key's next call arrived later than this one, so the search for its place starts here.
    const place = call.next;
    if (call.previousInKey === undefined) this.unready(call);
    const next = this.leaveKey(call);
    if (next !== undefined) this.makeReady(next, place);
  }

  /** Removes a call from its key's list. Returns the new first call of the key, if that has changed. */
  private leaveKey({ key, previousInKey, nextInKey }: Call<Item, Outcome>): Call<Item, Outcome> | undefined {
    if (key === undefined) return undefined;
    if (previousInKey !== undefined) previousInKey.nextInKey = nextInKey;
    if (nextInKey !== undefined) nextInKey.previousInKey = previousInKey;
    else if (previousInKey !== undefined) this.lastOfKey.set(key, previousInKey);
    else this.lastOfKey.delete(key);
    return previousInKey === undefined ? nextInKey : undefined;
  }

  /**
   * Inserts a call into the ready list by arrival, and returns the call after it. The search starts at `place`; if that
   * is undefined, the call becomes the last one.
   */
  private makeReady(call: Call<Item, Outcome>, place: Call<Item, Outcome> | undefined): typeof place {
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

  private unready(call: Call<Item, Outcome>): void {
    const { next, previous } = call;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    call.next = undefined;
    call.previous = undefined;
  }
}
