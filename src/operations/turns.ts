/**
 * Lets work wait for its turn where too much of it at once would harm others.
 *
 * For what is no single row and so cannot go through the batcher. It knows nothing of what the work is.
 */
import { overloaded } from '../model/fault.js';

export interface TurnsOptions {
  /** How much may be under way at once, for each key. */
  atOnceMax: number;
  /** Who comes when so many wait, for all keys together, is refused with OVERLOADED. */
  waitingMax: number;
  /**
   * A line whose first has waited for longer has the newest go first. In order of arrival, a line that never becomes
   * shorter has everybody wait until just before the deadline, and what is done then is of use to nobody.
   */
  newestFirstAfterMs?: number;
}

export interface Turns {
  /** Runs `work` when it is its turn; rejects with the signal's reason, without running it, where that is aborted before. */
  take<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** As take(), for work that is no single promise: it is over when what this gives is disposed of. */
  enter(key: string, signal: AbortSignal): Promise<Disposable>;
}

interface Line {
  active: number;
  /** The ends of those who wait, in order of arrival. */
  first: Waiter | undefined;
  last: Waiter | undefined;
}

interface Waiter {
  readonly sinceMs: number;
  previous: Waiter | undefined;
  next: Waiter | undefined;
  go(): void;
}

export function createTurns({ atOnceMax, waitingMax, newestFirstAfterMs }: TurnsOptions): Turns {
  const lines = new Map<string, Line>();
  let waitingCount = 0;

  async function enter(key: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const line: Line = lines.get(key) ?? { active: 0, first: undefined, last: undefined };
    lines.set(key, line);
    if (line.active < atOnceMax) line.active++;
    else await wait(line, signal);
    return {
      [Symbol.dispose]() {
        const next = nextOf(line);
        // A turn is handed on and not given back, so that nobody who has just come gets in between.
        if (next !== undefined) next.go();
        else if (--line.active === 0) lines.delete(key);
      },
    };
  }

  function nextOf({ first, last }: Line): Waiter | undefined {
    const isLate = first !== undefined && performance.now() - first.sinceMs > (newestFirstAfterMs ?? Infinity);
    return isLate ? last : first;
  }

  return {
    enter,

    async take(key, work, signal) {
      using _turn = await enter(key, signal);
      return await work();
    },
  };

  function wait(line: Line, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (waitingCount >= waitingMax) throw overloaded();
      const leave = () => {
        if (waiter.previous === undefined) line.first = waiter.next;
        else waiter.previous.next = waiter.next;
        if (waiter.next === undefined) line.last = waiter.previous;
        else waiter.next.previous = waiter.previous;
        waitingCount--;
        signal.removeEventListener('abort', abort);
      };
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        sinceMs: performance.now(),
        previous: line.last,
        next: undefined,
        go() {
          leave();
          resolve();
        },
      };
      if (line.last === undefined) line.first = waiter;
      else line.last.next = waiter;
      line.last = waiter;
      waitingCount++;
      signal.addEventListener('abort', abort);
    });
  }
}
