/**
 * What has to be done now and then, whoever calls: forgetting request ids after their day, and old changes; and at once as
 * well, the index that searches go along.
 */
import { type ChangesKept, trimChanges } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { ensureSearchIndex, type SearchIndexState } from '../store/search-index.js';
import { forgetRequests } from '../store/users.js';

export interface Housekeeping {
  /** Resolves when what is under way has ended. */
  close(): Promise<void>;
}

const everyMs = 10 * 60_000;
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
}

export function startHousekeeping({
  database,
  changes,
  searchIndex: isIndexed,
  onError,
  onSearchIndex,
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

  let underWay = index();
  const timer = setInterval(() => {
    underWay = underWay.then(sweep).then(index);
  }, everyMs).unref();
  return {
    close() {
      isClosed = true;
      closed.abort();
      clearInterval(timer);
      return underWay;
    },
  };
}
