/**
 * Limits the concurrent work for each key, and queues the rest. It is for work that the batcher cannot combine because
 * it is not a single row.
 */
import { overloaded } from '../model/fault.js';

export interface LimiterOptions {
  /** Maximum concurrency for each key. */
  concurrencyMax: number;
  /** Maximum number of waiting calls for all keys together. Further calls fail with OVERLOADED. */
  queuedMax: number;
  /**
   * If the oldest call in a queue has waited longer than this, the newest call runs first. In order of arrival, all
   * calls of an overloaded queue would run just before their deadline, and their results would come too late.
   */
  newestFirstAfterMs?: number;
}

export interface Limiter {
  /** Runs `work` with a permit. If the signal aborts first, rejects with its reason and does not run `work`. */
  run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Acquires a permit, which the caller releases by disposing it. */
  acquire(key: string, signal?: AbortSignal): Promise<Disposable>;
}

interface Queue {
  active: number;
  /** The waiters, in order of arrival. */
  first: Waiter | undefined;
  last: Waiter | undefined;
}

interface Waiter {
  readonly sinceMs: number;
  previous: Waiter | undefined;
  next: Waiter | undefined;
  resume(): void;
}

export function createLimiter({ concurrencyMax, queuedMax, newestFirstAfterMs }: LimiterOptions): Limiter {
  const queues = new Map<string, Queue>();
  let waitingCount = 0;

  async function acquire(key: string, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const queue: Queue = queues.get(key) ?? { active: 0, first: undefined, last: undefined };
    queues.set(key, queue);
    if (queue.active < concurrencyMax) queue.active++;
    else await wait(queue, signal);
    return {
      [Symbol.dispose]() {
        const next = nextOf(queue);
        // Pass the permit on directly, so that a new call cannot overtake the queue.
        if (next !== undefined) next.resume();
        else if (--queue.active === 0) queues.delete(key);
      },
    };
  }

  function nextOf({ first, last }: Queue): Waiter | undefined {
    const isLate = first !== undefined && performance.now() - first.sinceMs > (newestFirstAfterMs ?? Infinity);
    return isLate ? last : first;
  }

  return {
    acquire,

    async run(key, work, signal) {
      using _permit = await acquire(key, signal);
      return await work();
    },
  };

  function wait(queue: Queue, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (waitingCount >= queuedMax) throw overloaded();
      const leave = () => {
        if (waiter.previous === undefined) queue.first = waiter.next;
        else waiter.previous.next = waiter.next;
        if (waiter.next === undefined) queue.last = waiter.previous;
        else waiter.next.previous = waiter.previous;
        waitingCount--;
        signal?.removeEventListener('abort', abort);
      };
      const abort = () => {
        leave();
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        sinceMs: performance.now(),
        previous: queue.last,
        next: undefined,
        resume() {
          leave();
          resolve();
        },
      };
      if (queue.last === undefined) queue.first = waiter;
      else queue.last.next = waiter;
      queue.last = waiter;
      waitingCount++;
      signal?.addEventListener('abort', abort);
    });
  }
}
