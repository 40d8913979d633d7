/**
 * Lets work wait for its turn, in order of arrival, where too much of it at once would harm others.
 *
 * For what is no single row and so cannot go through the batcher. It knows nothing of what the work is.
 */
import { Fault } from '../model/fault.js';

export interface TurnsOptions {
  /** How much may be under way at once, for each key. */
  atOnceMax: number;
  /** Who comes when so many wait, for all keys together, is refused with OVERLOADED. */
  waitingMax: number;
}

export interface Turns {
  /** Runs `work` when it is its turn; rejects with the signal's reason, without running it, where that is aborted before. */
  take<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** As take(), for work that is no single promise: it is over when what this gives is disposed of. */
  enter(key: string, signal: AbortSignal): Promise<Disposable>;
}

export function createTurns({ atOnceMax, waitingMax }: TurnsOptions): Turns {
  const lines = new Map<string, { active: number; waiting: Set<() => void> }>();
  let waitingCount = 0;

  async function enter(key: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const line = lines.get(key) ?? { active: 0, waiting: new Set() };
    lines.set(key, line);
    if (line.active < atOnceMax) line.active++;
    else await wait(line.waiting, signal);
    return {
      [Symbol.dispose]() {
        const [next] = line.waiting;
        // A turn is handed on and not given back, so that nobody who has just come gets in between.
        if (next !== undefined) next();
        else if (--line.active === 0) lines.delete(key);
      },
    };
  }

  return {
    enter,

    async take(key, work, signal) {
      using _turn = await enter(key, signal);
      return await work();
    },
  };

  function wait(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (waitingCount >= waitingMax) throw new Fault('OVERLOADED', 'Too many calls are waiting; try again later.');
      const leave = () => {
        waiting.delete(go);
        waitingCount--;
        signal.removeEventListener('abort', abort);
      };
      const go = () => {
        leave();
        resolve();
      };
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      waiting.add(go);
      waitingCount++;
      signal.addEventListener('abort', abort);
    });
  }
}
