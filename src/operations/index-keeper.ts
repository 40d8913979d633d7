/**
 * Builds the indexes for lists by name and for searches in the background, one at a time, when a list needs one. It also
 * knows which of them exist, so that lists can choose their statements.
 *
 * If what it knows is out of date, lists are slow, but correct.
 */
import type { Limiter } from '../concurrency/limiter.js';
import type { Database, RunStatement } from '../database/database.js';
import {
  buildListIndex,
  type ForbiddenBuild,
  findListIndexes,
  hasManyUsers,
  type ListIndex,
  type ListIndexName,
  type ListIndexStatus,
  listIndexes,
  readListIndexStatus,
} from '../store/list-indexes.js';
import type { ListIndexLookup } from '../store/list-users.js';
import { createBackgroundValue } from './background-value.js';

/** `auto` builds an index when a list needs it, `all` builds all at the start, and `none` builds none. */
export type ListIndexMode = 'auto' | 'all' | 'none';

export interface IndexKeeper extends ListIndexLookup {
  /** The state of all list indexes, at most a few seconds old when it is read regularly. Empty before the first read. */
  status(): readonly ListIndexStatus[];
  /** Aborts a build. Resolves when the background work has ended. */
  close(): Promise<void>;
}

export interface IndexKeeperOptions {
  readonly database: Database;
  readonly mode: ListIndexMode;
  /** Limits the statements of all background work. */
  readonly background: Limiter;
  onError(error: unknown, index: ListIndex): void;
  onBuilt?(index: ListIndex): void;
  /** Called once for each reason. */
  onForbidden?(index: ListIndex, reason: ForbiddenBuild): void;
}

// How long a process may not notice that another process has built or dropped an index.
const checkEveryMs = 10_000;
// When a process again tries a build that failed or that its role may not do, because a build may fail only at its end.
// The same applies if it saw another process build the index. Otherwise each process in turn would fill the disk.
const retryAfterMs = 10 * 60_000;

export function startIndexKeeper(options: IndexKeeperOptions): IndexKeeper {
  const { database, mode, background, onError } = options;
  const closed = new AbortController();
  const checkedMs = new Map<ListIndexName, number>();
  const retryAtMs = new Map<ListIndexName, number>();
  const queue = new Set<ListIndex>();
  const reported = new Set<ForbiddenBuild>();
  let known: ReadonlySet<ListIndexName> = new Set();
  let building: Promise<void> | undefined;

  function request(indexes: readonly ListIndex[]): void {
    for (const index of indexes) queue.add(index);
    if (queue.size > 0) building ??= buildAll();
  }

  const mayRetry = ({ name }: ListIndex) => performance.now() >= (retryAtMs.get(name) ?? 0);
  const waitToRetry = ({ name }: ListIndex) => retryAtMs.set(name, performance.now() + retryAfterMs);

  async function buildAll(): Promise<void> {
    for (const index of queue) {
      if (closed.signal.aborted) break;
      await build(index);
      queue.delete(index);
    }
    building = undefined;
  }

  async function build(index: ListIndex): Promise<void> {
    try {
      const outcome = await buildListIndex(database, index, closed.signal);
      if (outcome === 'notOwner' || outcome === 'noExtension') {
        waitToRetry(index);
        if (!reported.has(outcome)) options.onForbidden?.(index, outcome);
        reported.add(outcome);
        return;
      }
      if (outcome === 'built') options.onBuilt?.(index);
      if (outcome === 'building') waitToRetry(index);
      // The next list reads the state again.
      if (outcome === 'built' || outcome === 'exists') checkedMs.delete(index.name);
    } catch (error) {
      if (closed.signal.aborted) return;
      waitToRetry(index);
      onError(error, index);
    }
  }

  const run: RunStatement = (statement, values) => background.run('', () => database.run(statement, values));
  const status = createBackgroundValue<readonly ListIndexStatus[]>([], () => readListIndexStatus(run));

  const requestAll = () => request(listIndexes);
  if (mode === 'all') requestAll();
  const timer = mode === 'all' ? setInterval(requestAll, retryAfterMs).unref() : undefined;

  return {
    get known() {
      return known;
    },

    async existing(wanted, runInList) {
      const nowMs = performance.now();
      const due = wanted.filter((name) => nowMs - (checkedMs.get(name) ?? Number.NEGATIVE_INFINITY) >= checkEveryMs);
      if (due.length === 0) return known;
      // Other lists do not wait for this check.
      for (const name of due) checkedMs.set(name, nowMs);
      try {
        known = await findListIndexes(runInList);
        const missing = listIndexes.filter(({ name }) => due.includes(name) && !known.has(name)).filter(mayRetry);
        if (mode === 'auto' && missing.length > 0 && (await hasManyUsers(runInList))) request(missing);
      } catch (error) {
        for (const name of due) checkedMs.delete(name);
        throw error;
      }
      return known;
    },

    status: status.current,

    async close() {
      clearInterval(timer);
      closed.abort();
      await Promise.all([building, status.close()]);
    },
  };
}
