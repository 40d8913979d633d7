/** Closes the parts of a program in the reverse order of their start. Some parts share one deadline. */
import { settlesWithin } from './abort.js';

// A part with a deadline has at least this much time to close, even after the deadline.
const closeMsMin = 250;

export type Cleanup = () => Promise<void>;

export interface Cleanups {
  add(cleanup: Cleanup): void;
  /** For a part that may never close. After the deadline, the next part is closed anyway. */
  addWithDeadline(cleanup: Cleanup): void;
  /** Runs all cleanups, even if some fail, and then throws their errors. The deadline is `ms` from now. */
  run(ms?: number): Promise<void>;
}

/** `onLate` is called for each part that has not closed before the deadline. */
export function createCleanups(onLate: () => void): Cleanups {
  const cleanups: Cleanup[] = [];
  let deadline = 0;
  return {
    add: (cleanup) => void cleanups.push(cleanup),
    addWithDeadline(cleanup) {
      cleanups.push(async () => {
        const closed = cleanup();
        if (await settlesWithin(closed, Math.max(closeMsMin, deadline - performance.now()))) await closed;
        else onLate();
      });
    },
    async run(ms = 0) {
      deadline = performance.now() + ms;
      const failures: unknown[] = [];
      for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
        await cleanup().catch((error: unknown) => failures.push(error));
      }
      if (failures.length > 0) throw new AggregateError(failures, 'Some parts could not be closed.');
    },
  };
}
