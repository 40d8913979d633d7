/**
 * What has to be done now and then, whoever calls: forgetting request ids after their day, and old changes; and at once as
 * well, the index that searches go along.
 */
import { type ChangesKept, trimChanges } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { ensureSearchIndex, type SearchIndexState } from '../store/search-index.js';
import { findTrimBlocker, type TrimBlocker } from '../store/trim-blocker.js';
import { forgetRequests } from '../store/users.js';

export interface Housekeeping {
  /** The age of what kept the change log from shrinking at the last look, up to ten minutes ago; 0 if there was nothing. */
  readonly trimBlockerSeconds: number;
  /** Resolves when what is under way has ended. */
  close(): Promise<void>;
}

const everyMs = 10 * 60_000;
// No call takes this long, and few jobs do.
const defaultOldBlockerSeconds = 60 * 60;
// The same blocker is reported again after an hour.
const sweepsBetweenWarnings = 6;
// Small steps hold no lock for long, and leave the disk to calls in between.
const rowsMax = 1_000;

export interface HousekeepingOptions {
  readonly database: Database;
  readonly changes: ChangesKept;
  /** Whether searches are to have an index. */
  readonly searchIndex: boolean;
  onError(error: unknown): void;
  /** Hears what becomes of the index, at each change. */
  onSearchIndex?(state: SearchIndexState): void;
  /** Receives what has kept the change log from shrinking for an hour; the same blocker once an hour at most. */
  onTrimBlocked?(blocker: TrimBlocker): void;
  /** From which age on a blocker is reported, instead of an hour. */
  readonly oldBlockerSeconds?: number;
}

export function startHousekeeping({
  database,
  changes,
  searchIndex: isIndexed,
  onError,
  onSearchIndex,
  onTrimBlocked,
  oldBlockerSeconds = defaultOldBlockerSeconds,
}: HousekeepingOptions): Housekeeping {
  let isClosed = false;
  const closed = new AbortController();

  /** Each says how many rows it has dealt with. */
  const steps = [() => forgetRequests(database, rowsMax), () => trimChanges(database, changes, rowsMax)];

  async function sweep(): Promise<void> {
    if (isClosed) return;
    try {
      for (const step of steps) {
        // A step that finds less has found the last.
        let done: number;
        do done = await step();
        while (!isClosed && done === rowsMax);
      }
    } catch (error) {
      // The next turn comes.
      onError(error);
    }
  }

  let searchIndex: SearchIndexState | undefined;
  async function index(): Promise<void> {
    if (isClosed || !isIndexed) return;
    try {
      const state = await ensureSearchIndex(database, closed.signal);
      if (state !== searchIndex) onSearchIndex?.(state);
      searchIndex = state;
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

  let underWay = lookForBlocker().then(index);
  const timer = setInterval(() => {
    underWay = underWay.then(sweep).then(lookForBlocker).then(index);
  }, everyMs).unref();
  return {
    get trimBlockerSeconds() {
      return trimBlockerSeconds;
    },

    close() {
      isClosed = true;
      closed.abort();
      clearInterval(timer);
      return underWay;
    },
  };
}
