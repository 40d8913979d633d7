/**
 * Regular background work: every ten minutes, it deletes expired request ids and old changes, looks for transactions
 * that prevent this, and creates the search index if it is missing.
 */
import type { Database } from '../database/database.js';
import { deleteExpiredRequests } from '../store/request-ids.js';
import { ensureSearchIndex, type SearchIndexState } from '../store/search-index.js';
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
  /** Whether to create the search index. */
  readonly searchIndex: boolean;
  onError(error: unknown): void;
  /** Called when the state of the index changes. */
  onSearchIndex?(state: SearchIndexState): void;
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
  searchIndex: wantsIndex,
  onError,
  onSearchIndex,
  onTrimBlocked,
  oldBlockerSeconds = defaultOldBlockerSeconds,
}: HousekeepingOptions): Housekeeping {
  let isClosed = false;
  const closed = new AbortController();

  /** Each step returns the number of rows that it deleted. */
  const steps = [() => deleteExpiredRequests(database, rowsMax), () => trimChanges(database, changes, rowsMax)];

  async function sweep(): Promise<void> {
    if (isClosed) return;
    try {
      for (const step of steps) {
        // A step that deletes fewer rows has nothing left to delete.
        let deleted: number;
        do deleted = await step();
        while (!isClosed && deleted === rowsMax);
      }
    } catch (error) {
      // The next sweep tries again.
      onError(error);
    }
  }

  let indexState: SearchIndexState | undefined;
  async function ensureIndex(): Promise<void> {
    if (isClosed || !wantsIndex) return;
    try {
      const state = await ensureSearchIndex(database, closed.signal);
      if (state !== indexState) onSearchIndex?.(state);
      indexState = state;
    } catch (error) {
      if (!isClosed) onError(error);
    }
  }

  let trimBlockerSeconds = 0;
  let reported = '';
  let sweepsUntilWarning = 0;
  async function lookForBlocker(): Promise<void> {
    if (isClosed) return;
    try {
      const blocker = await findTrimBlocker(database);
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

  let running = lookForBlocker().then(ensureIndex);
  const timer = setInterval(() => {
    running = running.then(sweep).then(lookForBlocker).then(ensureIndex);
  }, everyMs).unref();
  return {
    get trimBlockerSeconds() {
      return trimBlockerSeconds;
    },

    close() {
      isClosed = true;
      closed.abort();
      clearInterval(timer);
      return running;
    },
  };
}
