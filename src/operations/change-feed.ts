/**
 * One reader of the change log for all watchers of the process, which hands each page to everybody who keeps up.
 *
 * It reads while somebody watches: after this process's own writes at once, and now and then for those of others. It waits
 * for nobody: who has too much waiting is let go, and reads for itself from where it is (watch-users.ts). NOTIFY in a
 * write's transaction was rejected: it takes one lock for the whole database at commit.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, serverStopping } from '../model/fault.js';
import type { WatchPosition } from '../model/watch-token.js';
import type { Database } from '../store/database.js';
import { type Change, readChanges, readFeedPosition } from '../store/read-changes.js';

export interface ChangeFeed {
  /** Says that something was written, so that this process's watchers hear of it at once. */
  wake(): void;
  /**
   * Begins where the feed stands when this resolves, which may be before what a caller has read for itself, never behind
   * what it reads from now on. Rejects where the log cannot be read.
   */
  subscribe(): Promise<Subscription>;
  /** Those that follow it now. */
  readonly watcherCount: number;
  /** For how long it has not been at the end of the log; 0 while nobody watches. */
  readonly lagMs: number;
  close(): Promise<void>;
}

/** A part of the log that was read once for everybody. */
export interface FeedPage {
  readonly changes: readonly Change[];
  /** What comes next is behind it. */
  readonly position: WatchPosition;
}

export interface Subscription extends Disposable {
  /** Where it stands: there is nothing between what was taken last, or its beginning, and here. */
  readonly position: WatchPosition;
  /**
   * Waits for changes and gives them, page by page. Undefined where too much has waited: then the subscription is over.
   * Rejects with why the log can no longer be read, or with the signal's reason.
   */
  take(signal: AbortSignal): Promise<FeedPage[] | undefined>;
}

export interface ChangeFeedOptions {
  database: Database;
  /** For the log of the server. */
  onError(error: unknown): void;
  /** Hears when the first watcher comes, and when the last has gone. */
  onWatched?(isWatched: boolean): void;
}

// Well below the 300 ms in which another process's change is to arrive. The statement costs Postgres 0.1 ms.
const pollEveryMs = 150;
// Between two readings, so that those of a busy server hold many changes each.
const pauseMs = 5;
const pageChangesMax = 500;
// What may wait for one watcher. Users are shared by all watchers, but a queue is what keeps them in memory.
const waitingChangesMax = 2_000;
// When many pages follow one another, as after an import, each waits until all have taken the one before, but not for
// longer: who takes nothing has too much waiting after four pages, and is let go.
const paceMs = 100;
// How long the database may be away before watchers are told, who then come back by themselves.
const outageMsMax = 5_000;
const retryEveryMs = 200;

interface Watcher {
  position: WatchPosition;
  pages: FeedPage[];
  waitingChanges: number;
  over: boolean;
  failure: unknown;
  wake(): void;
}

const ignore = () => {};

export function createChangeFeed({ database, onError, onWatched = ignore }: ChangeFeedOptions): ChangeFeed {
  const watchers = new Set<Watcher>();
  // Those of them that have changes waiting.
  const behind = new Set<Watcher>();
  // Who came before it was known where the log ends.
  const newcomers = new Set<{ resolve(position: WatchPosition): void; reject(error: unknown): void }>();
  let position: WatchPosition | undefined;
  // When it began to read what turned out to be the rest of the log.
  let atEndMs = 0;
  let running: Promise<void> | undefined;
  let isClosed = false;
  let isWoken = false;
  let wakeReader = ignore;
  let nobodyBehind = ignore;

  function wake(): void {
    isWoken = true;
    wakeReader();
  }

  /** Until the next wake-up, but not longer than until the next poll. */
  async function rest(): Promise<void> {
    if (!isWoken) await callWithin(pollEveryMs, (done) => (wakeReader = done));
  }

  /** Until nobody is behind, but not for long. */
  async function pace(): Promise<void> {
    if (behind.size > 0) await callWithin(paceMs, (done) => (nobodyBehind = done));
  }

  function caughtUp(watcher: Watcher): void {
    watcher.pages = [];
    watcher.waitingChanges = 0;
    if (behind.delete(watcher) && behind.size === 0) nobodyBehind();
  }

  function end(watcher: Watcher, failure?: unknown): void {
    watcher.over = true;
    watcher.failure = failure;
    watchers.delete(watcher);
    caughtUp(watcher);
    watcher.wake();
  }

  function deliver(page: FeedPage): void {
    for (const watcher of watchers) {
      if (page.changes.length === 0) {
        if (watcher.waitingChanges === 0) watcher.position = page.position;
        continue;
      }
      watcher.pages.push(page);
      watcher.waitingChanges += page.changes.length;
      behind.add(watcher);
      if (watcher.waitingChanges > waitingChangesMax) end(watcher);
      else watcher.wake();
    }
  }

  function failAll(error: unknown): void {
    for (const watcher of watchers) end(watcher, error);
    for (const newcomer of newcomers) newcomer.reject(error);
    newcomers.clear();
  }

  async function read(): Promise<void> {
    // Forgotten first, read second: a change that is committed between the two would otherwise wake nobody.
    isWoken = false;
    const startedMs = performance.now();
    if (position === undefined) {
      position = await readFeedPosition(database);
      atEndMs = startedMs;
      for (const newcomer of newcomers) newcomer.resolve(position);
      newcomers.clear();
      return;
    }
    const page = await readChanges(database, position, pageChangesMax);
    position = page.position;
    deliver(page);
    if (position.within !== undefined) return pace();
    atEndMs = startedMs;
    await sleep(pauseMs);
    await rest();
  }

  async function run(): Promise<void> {
    let failingSinceMs: number | undefined;
    atEndMs = performance.now();
    onWatched(true);
    while (!isClosed && (watchers.size > 0 || newcomers.size > 0)) {
      try {
        await read();
        failingSinceMs = undefined;
      } catch (error) {
        const nowMs = performance.now();
        failingSinceMs ??= nowMs;
        const mayMend = error instanceof Fault && error.reason !== 'RESUME_TOKEN_EXPIRED';
        if (mayMend && nowMs - failingSinceMs < outageMsMax) {
          await sleep(retryEveryMs);
          continue;
        }
        onError(error);
        failAll(error);
        position = undefined;
        failingSinceMs = undefined;
      }
    }
    // In the same turn as the condition, so that nobody subscribes to a reader that is about to end.
    running = undefined;
    position = undefined;
    onWatched(false);
    if (isClosed) failAll(serverStopping());
  }

  function subscriptionAt(start: WatchPosition): Subscription {
    const watcher: Watcher = {
      position: start,
      pages: [],
      waitingChanges: 0,
      over: false,
      failure: undefined,
      wake: ignore,
    };
    watchers.add(watcher);
    return subscriptionOf(watcher);
  }

  return {
    wake,

    subscribe: () =>
      new Promise<Subscription>((resolve, reject) => {
        if (isClosed) return reject(serverStopping());
        // At once, and not when the promise's waiters run: the next page is behind the position.
        const begin = (start: WatchPosition) => resolve(subscriptionAt(start));
        if (position !== undefined) return begin(position);
        newcomers.add({ resolve: begin, reject });
        running ??= run();
      }),

    get watcherCount() {
      return watchers.size;
    },

    get lagMs() {
      return running === undefined ? 0 : performance.now() - atEndMs;
    },

    async close() {
      isClosed = true;
      wake();
      nobodyBehind();
      await running;
    },
  };

  function subscriptionOf(watcher: Watcher): Subscription {
    return {
      get position() {
        return watcher.position;
      },

      async take(signal) {
        signal.throwIfAborted();
        if (!watcher.over && watcher.waitingChanges === 0) {
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
            signal.addEventListener('abort', watcher.wake, { once: true });
          });
          signal.removeEventListener('abort', watcher.wake);
          signal.throwIfAborted();
        }
        if (watcher.failure !== undefined) throw watcher.failure;
        if (watcher.over) return undefined;
        const { pages } = watcher;
        watcher.position = pages.at(-1)?.position ?? watcher.position;
        caughtUp(watcher);
        return pages;
      },

      [Symbol.dispose]() {
        end(watcher);
      },
    };
  }
}

/** Waits until what it hands out is called, at most for `ms`. */
function callWithin(ms: number, handOut: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    handOut(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
