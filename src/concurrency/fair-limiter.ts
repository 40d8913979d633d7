/** Limits concurrent work, and shares it between keys: each waiting key in turn starts one piece of work. */
import { overloaded } from '../model/fault.js';

export interface FairLimiterOptions {
  readonly concurrencyMax: number;
  /** How much work of one key may wait. More fails with OVERLOADED. */
  readonly queuedPerKeyMax: number;
  /** How much work of all keys may wait. Beyond that, the key with the most waiting work loses its latest. */
  readonly queuedMax: number;
}

interface Waiter {
  start(): void;
  refuse(): void;
}

export class FairLimiter {
  #active = 0;
  #queued = 0;
  /** In the order of their turns. */
  readonly #queues = new Map<string, Waiter[]>();

  constructor(private readonly options: FairLimiterOptions) {}

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.#active < this.options.concurrencyMax) this.#active++;
    else await this.#wait(key);
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #wait(key: string): Promise<void> {
    const queue = this.#queues.get(key) ?? [];
    if (queue.length >= this.options.queuedPerKeyMax) return Promise.reject(overloaded());
    return new Promise((start, reject) => {
      queue.push({ start, refuse: () => reject(overloaded()) });
      this.#queues.set(key, queue);
      this.#queued++;
      if (this.#queued > this.options.queuedMax) this.#refuseOne();
    });
  }

  /** Passes the permit on, so that new work cannot overtake the queues. */
  #next(): void {
    const [first] = this.#queues;
    if (first === undefined) {
      this.#active--;
      return;
    }
    const [key, queue] = first;
    const waiter = queue.shift();
    this.#queues.delete(key);
    if (queue.length > 0) this.#queues.set(key, queue);
    this.#queued--;
    waiter?.start();
  }

  #refuseOne(): void {
    let longest: [string, Waiter[]] | undefined;
    for (const entry of this.#queues) if (entry[1].length > (longest?.[1].length ?? 0)) longest = entry;
    if (longest === undefined) return;
    const [key, queue] = longest;
    queue.pop()?.refuse();
    if (queue.length === 0) this.#queues.delete(key);
    this.#queued--;
  }
}
