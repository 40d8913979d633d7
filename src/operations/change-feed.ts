/**
 * Reads the change log once for all watchers of the process, and gives each page to every watcher.
 *
 * It reads only while there are watchers: immediately after this process writes, and every 150 ms for writes of other
 * processes. It drops a watcher with too many queued changes, and all watchers after a failover of Postgres. They then
 * read on their own (watch-users.ts). NOTIFY in the transaction of a write was rejected, because it takes a lock on the
 * whole database at commit.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { settlesWithin, unlessAborted } from '../concurrency/abort.js';
import type { Database } from '../database/database.js';
import { Fault, serverStopping } from '../model/fault.js';
import type { WatchPosition } from '../model/watch-token.js';
import { type ChangesPage, readChanges, readFeedPosition } from '../store/read-changes.js';

export interface ChangeFeed {
  /** Reports a write, so that this process's watchers receive it immediately. */
  wake(): void;
  /**
   * Starts at the feed's position when this resolves. That position may be older than data that the caller has already
   * read, but never newer than data that it reads after this. Rejects if the log cannot be read.
   */
  subscribe(): Promise<Subscription>;
  /** The number of current subscriptions. */
  readonly watcherCount: number;
  /** The time since the feed last reached the end of the log; 0 without watchers. */
  readonly lagMs: number;
  close(): Promise<void>;
}

export interface Subscription extends Disposable {
  /** There is no change between the last page taken, or the start, and this position. */
  readonly position: WatchPosition;
  /**
   * Waits for changes and returns them in pages. Returns undefined if the feed has dropped the watcher, which must then
   * read on its own. Rejects with the error that ended reading, or with the signal's reason.
   */
  take(signal: AbortSignal): Promise<ChangesPage[] | undefined>;
}

export interface ChangeFeedOptions {
  database: Database;
  /** Called with an error that ends the subscriptions. */
  onError(error: unknown): void;
  /** Called with true when the first watcher starts, and with false when the last one ends. */
  onWatched?(isWatched: boolean): void;
}

// Well below the 300 ms within which other processes' changes should arrive. The statement costs Postgres 0.1 ms.
const pollEveryMs = 150;
// The pause between two reads, so that a read on a busy server returns many changes.
const pauseMs = 5;
const pageChangesMax = 500;
// The maximum number of changes in the queue of one watcher. Queues share the users, but keep them in memory.
const queuedChangesMax = 2_000;
// If many pages follow one another, as after an import, the feed waits before each page until all watchers have taken
// the previous one, but at most this long. A watcher that takes nothing is dropped after four pages.
const watcherWaitMs = 100;
// If the log cannot be read for this long, watchers fail. Their clients then reconnect.
const outageMsMax = 5_000;
const retryEveryMs = 200;

const doNothing = () => {};

export function createChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  return new FeedReader(options);
}

class FeedReader implements ChangeFeed {
  private readonly watchers = new Set<Watcher>();
  /** Watchers with queued changes. */
  private readonly lagging = new Set<Watcher>();
  /** Subscribers that wait until the end of the log is known. */
  private readonly pendingSubscribers = new Set<PromiseWithResolvers<Subscription>>();
  /** The next read starts here; undefined until the end of the log is known. */
  private position: WatchPosition | undefined;
  /** The start of the last read that reached the end of the log. */
  private atEndMs = 0;
  private running: Promise<void> | undefined;
  private isClosed = false;
  private isWoken = false;
  private endWakeWait = doNothing;
  private endWatcherWait = doNothing;

  constructor(private readonly options: ChangeFeedOptions) {}

  wake(): void {
    this.isWoken = true;
    this.endWakeWait();
  }

  async subscribe(): Promise<Subscription> {
    if (this.isClosed) throw serverStopping();
    if (this.position !== undefined) return this.subscribeAt(this.position);
    const subscriber = Promise.withResolvers<Subscription>();
    this.pendingSubscribers.add(subscriber);
    this.running ??= this.run();
    return subscriber.promise;
  }

  get watcherCount(): number {
    return this.watchers.size;
  }

  get lagMs(): number {
    return this.running === undefined ? 0 : performance.now() - this.atEndMs;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.wake();
    this.endWatcherWait();
    await this.running;
  }

  private subscribeAt(position: WatchPosition): Subscription {
    const watcher = new Watcher(position, () => {
      if (watcher.isOver) this.watchers.delete(watcher);
      if (this.lagging.delete(watcher) && this.lagging.size === 0) this.endWatcherWait();
    });
    this.watchers.add(watcher);
    return watcher;
  }

  private async run(): Promise<void> {
    let failingSinceMs: number | undefined;
    this.atEndMs = performance.now();
    this.options.onWatched?.(true);
    while (!this.isClosed && (this.watchers.size > 0 || this.pendingSubscribers.size > 0)) {
      try {
        await this.read();
        failingSinceMs = undefined;
      } catch (error) {
        const nowMs = performance.now();
        failingSinceMs ??= nowMs;
        if (error instanceof Fault && error.reason === 'RESUME_TOKEN_EXPIRED') {
          this.dropAll();
          continue;
        }
        if (error instanceof Fault && nowMs - failingSinceMs < outageMsMax) {
          await sleep(retryEveryMs);
          continue;
        }
        this.options.onError(error);
        this.failAll(error);
        this.position = undefined;
        failingSinceMs = undefined;
      }
    }
    // No await since the loop's condition, so no watcher can subscribe to a loop that is ending.
    this.running = undefined;
    this.position = undefined;
    this.options.onWatched?.(false);
    if (this.isClosed) this.failAll(serverStopping());
  }

  private async read(): Promise<void> {
    // Reset before the read, because a write during the read must wake the reader.
    this.isWoken = false;
    const startedMs = performance.now();
    if (this.position === undefined) {
      this.position = await readFeedPosition(this.options.database);
      this.atEndMs = startedMs;
      // Add the watchers now, and not when subscribe() continues, because the next page starts after this position.
      for (const subscriber of this.pendingSubscribers) subscriber.resolve(this.subscribeAt(this.position));
      this.pendingSubscribers.clear();
      return;
    }
    const page = await readChanges(this.options.database, this.position, pageChangesMax);
    if (page.position.wal?.timelineId !== this.position.wal?.timelineId) return this.dropAll();
    this.position = page.position;
    this.deliver(page);
    if (page.position.window !== undefined) return this.waitForWatchers();
    this.atEndMs = startedMs;
    await sleep(pauseMs);
    await this.waitForWake();
  }

  private deliver(page: ChangesPage): void {
    for (const watcher of this.watchers) {
      watcher.push(page);
      if (watcher.isLagging) this.lagging.add(watcher);
    }
  }

  /**
   * Drops all watchers, after the log was trimmed past the feed's position or Postgres has switched to a new timeline.
   * Each watcher then reads on its own. Some may be at a position after the feed's that is no longer valid.
   */
  private dropAll(): void {
    for (const watcher of this.watchers) watcher.end();
    this.position = undefined;
  }

  private failAll(error: unknown): void {
    for (const watcher of this.watchers) watcher.end(error);
    for (const subscriber of this.pendingSubscribers) subscriber.reject(error);
    this.pendingSubscribers.clear();
  }

  /** Waits until wake() is called, or until the next poll. */
  private async waitForWake(): Promise<void> {
    if (this.isWoken) return;
    const woken = Promise.withResolvers<void>();
    this.endWakeWait = woken.resolve;
    await settlesWithin(woken.promise, pollEveryMs);
  }

  /** Waits until all watchers have caught up, for at most `watcherWaitMs`. */
  private async waitForWatchers(): Promise<void> {
    if (this.lagging.size === 0) return;
    const caughtUp = Promise.withResolvers<void>();
    this.endWatcherWait = caughtUp.resolve;
    await settlesWithin(caughtUp.promise, watcherWaitMs);
  }
}

/** The queue of one watcher. */
class Watcher implements Subscription {
  private pages: ChangesPage[] = [];
  private queuedChanges = 0;
  isOver = false;
  private failure: unknown;
  private wake = doNothing;

  constructor(
    public position: WatchPosition,
    private readonly onEmptied: () => void,
  ) {}

  get isLagging(): boolean {
    return this.queuedChanges > 0;
  }

  push(page: ChangesPage): void {
    if (page.changes.length === 0) {
      if (!this.isLagging) this.position = page.position;
      return;
    }
    this.pages.push(page);
    this.queuedChanges += page.changes.length;
    if (this.queuedChanges > queuedChangesMax) this.end();
    else this.wake();
  }

  async take(signal: AbortSignal): Promise<ChangesPage[] | undefined> {
    signal.throwIfAborted();
    if (!this.isOver && !this.isLagging) {
      const woken = Promise.withResolvers<void>();
      this.wake = woken.resolve;
      await unlessAborted(woken.promise, signal);
    }
    if (this.failure !== undefined) throw this.failure;
    if (this.isOver) return undefined;
    const { pages } = this;
    this.position = pages.at(-1)?.position ?? this.position;
    this.empty();
    return pages;
  }

  end(failure?: unknown): void {
    this.isOver = true;
    this.failure = failure;
    this.empty();
    this.wake();
  }

  [Symbol.dispose](): void {
    this.end();
  }

  private empty(): void {
    this.pages = [];
    this.queuedChanges = 0;
    this.onEmptied();
  }
}
