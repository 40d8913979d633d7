/**
 * Regular background work: every ten minutes, it deletes expired request ids and old changes, and looks for transactions
 * that prevent this.
 */
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { deleteExpiredRequests } from '../store/request-ids.js';
import { findTrimBlocker, type TrimBlocker } from '../store/trim-blocker.js';
import { type ChangesKept, trimChanges } from '../store/trim-changes.js';

export interface Housekeeping {
  /** The age of the blocker that the last check found, up to ten minutes ago; 0 without one. */
  readonly trimBlockerSeconds: number;
  /** Resolves when the current work has ended. */
  close(): Promise<void>;
}

const everyMs = 10 * 60_000;
// No call takes this long, and few jobs do.
const defaultOldBlockerSeconds = 60 * 60;
// The same blocker is reported again after an hour.
const sweepsBetweenWarnings = 6;
// Small steps hold locks only briefly, and calls can use the disk between them.
const rowsMax = 1_000;

export interface HousekeepingOptions {
  readonly database: Database;
  readonly changes: ChangesKept;
  /** Limits the statements of all background work. */
  readonly background: Limiter;
  onError(error: unknown): void;
  /**
   * Called if something has kept the change log from shrinking for an hour; at most once an hour for the same blocker.
   */
  onTrimBlocked?(blocker: TrimBlocker): void;
  /** The age from which a blocker is reported, instead of an hour. */
  readonly oldBlockerSeconds?: number;
}

export function startHousekeeping({
  database,
  changes,
  background,
  onError,
  onTrimBlocked,
  oldBlockerSeconds = defaultOldBlockerSeconds,
}: HousekeepingOptions): Housekeeping {
  let isClosed = false;

  /** Each step returns the number of rows that it deleted. */
  const steps = [() => deleteExpiredRequests(database, rowsMax), () => trimChanges(database, changes, rowsMax)];

  async function sweep(): Promise<void> {
    if (isClosed) return;
    try {
      for (const step of steps) {
        // A step that deletes fewer rows has nothing left to delete.
        let deleted: number;
        do deleted = await background.run('', step);
        while (!isClosed && deleted === rowsMax);
      }
    } catch (error) {
      // The next sweep tries again.
      onError(error);
    }
  }

  let trimBlockerSeconds = 0;
  let reported = '';
  let sweepsUntilWarning = 0;
  async function lookForBlocker(): Promise<void> {
    if (isClosed) return;
    try {
      const blocker = await background.run('', () => findTrimBlocker(database));
      trimBlockerSeconds = blocker?.ageSeconds ?? 0;
      sweepsUntilWarning--;
      if (blocker === undefined || blocker.ageSeconds < oldBlockerSeconds) return;
      const name = `${blocker.kind} ${blocker.name}`;
      if (name === reported && sweepsUntilWarning > 0) return;
      reported = name;
      sweepsUntilWarning = sweepsBetweenWarnings;
      onTrimBlocked?.(blocker);
    } catch (error) {
      if (!isClosed) onError(error);
    }
  }

  let running = lookForBlocker();
  const timer = setInterval(() => {
    running = running.then(sweep).then(lookForBlocker);
  }, everyMs).unref();
  return {
    get trimBlockerSeconds() {
      return trimBlockerSeconds;
    },

    close() {
      isClosed = true;
      clearInterval(timer);
      return running;
    },
  };
}
