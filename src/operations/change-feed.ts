/**
 * Reads the change log once for all watchers of the process, and hands each page to the watchers that keep up.
 *
 * It reads only while there are watchers: immediately after this process writes, and every 150 ms for writes of other
 * processes. A watcher with too many queued changes is dropped and continues on its own (watch-users.ts). NOTIFY in the
 * transaction of a write was rejected: at commit it takes a lock on the whole database.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.js';
import { Fault, serverStopping } from '../model/fault.js';
import type { WatchPosition } from '../model/watch-token.js';
import { type Change, readChanges, readFeedPosition } from '../store/read-changes.js';

export interface ChangeFeed {
  /** Reports a write, so that this process's watchers receive it immediately. */
  wake(): void;
  /**
   * Starts at the feed's position when this resolves. That may be before data that the caller has already read, but
   * never after data that it reads from now on. Rejects if the log cannot be read.
   */
  subscribe(): Promise<Subscription>;
  /** The number of current subscriptions. */
  readonly watcherCount: number;
  /** How long the feed has not reached the end of the log; 0 without watchers. */
  readonly lagMs: number;
  close(): Promise<void>;
}

/** A part of the log that was read once for all watchers. */
export interface FeedPage {
  readonly changes: readonly Change[];
  /** The next page starts after this position. */
  readonly position: WatchPosition;
}

export interface Subscription extends Disposable {
  /** The current position: no change lies between the last page taken, or the start, and this position. */
  readonly position: WatchPosition;
  /**
   * Waits for changes and returns them in pages. Returns undefined if too many changes were queued, which ends the
   * subscription. Rejects with the error that ended reading, or with the signal's reason.
   */
  take(signal: AbortSignal): Promise<FeedPage[] | undefined>;
}

export interface ChangeFeedOptions {
  database: Database;
  /** For the server's log. */
  onError(error: unknown): void;
  /** Called with true when the first watcher starts, and with false when the last one ends. */
  onWatched?(isWatched: boolean): void;
}

// Well below the 300 ms within which other processes' changes should arrive. The statement costs Postgres 0.1 ms.
const pollEveryMs = 150;
// Between two reads, so that a read on a busy server returns many changes.
const pauseMs = 5;
const pageChangesMax = 500;
// The maximum queue of one watcher. Watchers share the users, but a queue keeps them in memory.
const waitingChangesMax = 2_000;
// If many pages follow one another, as after an import, each page waits until all watchers have taken the previous one,
// but not longer than this. A watcher that takes nothing is dropped after four pages.
const paceMs = 100;
// If the log cannot be read for this long, watchers fail. Their clients then reconnect.
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
  // Watchers with queued changes.
  const lagging = new Set<Watcher>();
  // Subscribers that arrived before the end of the log was known.
  const pendingSubscribers = new Set<{ resolve(position: WatchPosition): void; reject(error: unknown): void }>();
  let position: WatchPosition | undefined;
  // When the read began that last reached the end of the log.
  let atEndMs = 0;
  let running: Promise<void> | undefined;
  let isClosed = false;
  let isWoken = false;
  let wakeReader = ignore;
  let onCaughtUp = ignore;

  function wake(): void {
    isWoken = true;
    wakeReader();
  }

  /** Waits for the next wake-up, or for the next poll. */
  async function rest(): Promise<void> {
    if (!isWoken) await callWithin(pollEveryMs, (done) => (wakeReader = done));
  }

  /** Waits until all watchers have caught up, for at most `paceMs`. */
  async function pace(): Promise<void> {
    if (lagging.size > 0) await callWithin(paceMs, (done) => (onCaughtUp = done));
  }

  function caughtUp(watcher: Watcher): void {
    watcher.pages = [];
    watcher.waitingChanges = 0;
    if (lagging.delete(watcher) && lagging.size === 0) onCaughtUp();
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
      lagging.add(watcher);
      if (watcher.waitingChanges > waitingChangesMax) end(watcher);
      else watcher.wake();
    }
  }

  function failAll(error: unknown): void {
    for (const watcher of watchers) end(watcher, error);
    for (const subscriber of pendingSubscribers) subscriber.reject(error);
    pendingSubscribers.clear();
  }

  async function read(): Promise<void> {
    // Reset before reading, because a change that is committed in between must wake the reader.
    isWoken = false;
    const startedMs = performance.now();
    if (position === undefined) {
      position = await readFeedPosition(database);
      atEndMs = startedMs;
      for (const subscriber of pendingSubscribers) subscriber.resolve(position);
      pendingSubscribers.clear();
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
    while (!isClosed && (watchers.size > 0 || pendingSubscribers.size > 0)) {
      try {
        await read();
        failingSinceMs = undefined;
      } catch (error) {
        const nowMs = performance.now();
        failingSinceMs ??= nowMs;
        const mayRecover = error instanceof Fault && error.reason !== 'RESUME_TOKEN_EXPIRED';
        if (mayRecover && nowMs - failingSinceMs < outageMsMax) {
          await sleep(retryEveryMs);
          continue;
        }
        onError(error);
        failAll(error);
        position = undefined;
        failingSinceMs = undefined;
      }
    }
    // Synchronously after the loop's condition, so that no watcher subscribes to a reader that is ending.
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
        // Synchronously, not when the promise's reactions run, because the next page starts after this position.
        const begin = (start: WatchPosition) => resolve(subscriptionAt(start));
        if (position !== undefined) return begin(position);
        pendingSubscribers.add({ resolve: begin, reject });
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
      onCaughtUp();
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

/** Waits until the callback that it hands out is called, for at most `ms`. */
function callWithin(ms: number, handOut: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    handOut(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
