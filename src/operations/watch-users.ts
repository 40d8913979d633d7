/**
 * Watches the change log for one caller in up to three steps: it sends existing users if requested, then the changes
 * that the caller missed, read for this caller alone, then new changes from the feed that all watchers share. A watcher
 * that the feed drops returns to the second step.
 */
import { settlesWithin } from '../concurrency/abort.js';
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { Fault } from '../model/fault.js';
import type { WatchUsersRequest } from '../model/requests.js';
import type { User } from '../model/user.js';
import { hasSeenAll, isVisible, snapshotOf, type WatchPosition, watchTokenOf } from '../model/watch-token.js';
import type { ChangeType } from '../store/changes.js';
import { openUsersSnapshot, type SnapshotUser } from '../store/export-users.js';
import { readChanges, readFeedPosition } from '../store/read-changes.js';
import type { ChangeFeed, FeedPage, Subscription } from './change-feed.js';
import { cutByBytes } from './message-bytes.js';

export interface WatchMessage {
  readonly changes: readonly WatchedChange[];
  /** Empty until all existing users have been sent. */
  readonly resumeToken: string;
  readonly caughtUp: boolean;
}

export interface WatchedChange {
  readonly type: ChangeType | 'existing';
  readonly userId: string;
  /** Undefined if the user no longer exists. */
  readonly user: User | undefined;
  /** The length of the attributes in Postgres' JSON text, if known. */
  readonly attributesBytes?: number;
  /** For an existing user, the time of the last change. */
  readonly changeTime: Date;
}

export interface WatchUsersParts {
  database: Database;
  feed: ChangeFeed;
  /** Limits connections outside the pool, which existing users need. */
  sessions: Limiter;
  /** Limits reads of the change log for single watchers. */
  catchUps: Limiter;
  /** The time limit for the snapshot of the existing users. */
  snapshotTimeoutMs: number;
}

// Changes in one read for one watcher; much less than a message may hold.
const pageChangesMax = 500;

/** Ends only with an error or the signal. Throws RESUME_TOKEN_EXPIRED, WATCHER_TOO_SLOW. */
export async function* watchUsers(
  parts: WatchUsersParts,
  request: WatchUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  const progress: WatchProgress = { position: request.position, subscription: undefined };
  const messages = messagesFor(parts, request, progress, signal);
  let next = messages.next();
  try {
    while (true) {
      if (await settlesWithin(next, request.heartbeatMs, signal)) {
        const { value, done } = await next;
        if (done) return;
        yield value;
        next = messages.next();
      } else if (request.includeExisting || progress.position !== undefined) {
        // The first message promises that all later changes follow, so no heartbeat comes before that is true.
        yield messageAt([], currentPosition(progress));
      }
    }
  } finally {
    next.catch(() => {});
    messages.return().catch(() => {});
  }
}

/** The state that a heartbeat reports. */
interface WatchProgress {
  /**
   * All changes before this position have been sent; undefined while existing users are sent, and before the start is
   * known.
   */
  position: WatchPosition | undefined;
  /** Set while the watcher waits for the feed, whose position advances even without changes. */
  subscription: Subscription | undefined;
}

function currentPosition({ position, subscription }: WatchProgress): WatchPosition | undefined {
  if (position === undefined || subscription === undefined) return position;
  // The feed may not have reached the position at which this watcher joined.
  const idle = subscription.position;
  return idle.window === undefined && hasSeenAll(snapshotOf(idle.snapshot), snapshotOf(position.snapshot))
    ? idle
    : position;
}

async function* messagesFor(
  { database, feed, sessions, catchUps, snapshotTimeoutMs }: WatchUsersParts,
  request: WatchUsersRequest,
  progress: WatchProgress,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  if (request.includeExisting) {
    using _permit = await sessions.acquire('', signal);
    await using snapshot = await openUsersSnapshot(database, {}, signal);
    const endMs = performance.now() + snapshotTimeoutMs;
    yield messageAt([], undefined);
    for await (const { users } of snapshot.pieces()) {
      const changes = users.map(existing);
      for (const part of cutByBytes(changes)) yield messageAt(part, undefined);
      if (performance.now() > endMs) throw watcherTooSlow();
    }
    progress.position = { feedId: snapshot.feedId, snapshot: snapshot.snapshot };
  }

  // Whether the caller does not know yet that it is caught up, and at which position.
  let mustReportCaughtUp = true;
  while (true) {
    const from = progress.position;
    // Subscribe before reading, so that no change is missed in between. But not inside a window: more must be read
    // after it anyway, and meanwhile the feed would wait for this watcher.
    using subscription = from?.window === undefined ? await feed.subscribe() : undefined;
    const missed: FeedPage =
      from === undefined
        ? { changes: [], position: await catchUps.run('', () => readFeedPosition(database), signal) }
        : await catchUps.run('', () => readChanges(database, from, pageChangesMax), signal);
    for (const message of messagesOf(missed)) {
      mustReportCaughtUp = false;
      yield message;
    }
    progress.position = missed.position;
    // The page ended an old window or was part of one. The feed would queue too many changes before all are read.
    if (subscription === undefined || missed.position.window !== undefined) continue;
    if (mustReportCaughtUp) yield messageAt([], missed.position);
    mustReportCaughtUp = false;

    // Until the feed has reached this position too.
    let reached: WatchPosition | undefined = missed.position;
    while (true) {
      progress.subscription = subscription;
      const pages = await subscription.take(signal);
      progress.subscription = undefined;
      if (pages === undefined) break;
      for (const page of pages) {
        const fresh = reached === undefined ? page : withoutSeen(page, reached);
        if (fresh === page) reached = undefined;
        for (const message of messagesOf(fresh)) yield message;
        progress.position = fresh.position;
      }
    }
  }
}

// A caller that reads nothing at all fails earlier, because the transport notices it.
function watcherTooSlow(): Fault {
  return new Fault(
    'WATCHER_TOO_SLOW',
    'The client read the existing users too slowly. Export them, and watch from the watch_token of the export.',
  );
}

function existing({ user, attributesBytes }: SnapshotUser): WatchedChange {
  return { type: 'existing', userId: user.id, user, attributesBytes, changeTime: user.updateTime };
}

function messageAt(changes: readonly WatchedChange[], position: WatchPosition | undefined): WatchMessage {
  const resumeToken = position === undefined ? '' : watchTokenOf(position);
  return { changes, resumeToken, caughtUp: position !== undefined };
}

const messagesOfPage = new WeakMap<FeedPage, readonly WatchMessage[]>();

/** Splits a page of the feed into messages of bounded size, once for all watchers. */
function messagesOf(page: FeedPage): readonly WatchMessage[] {
  const known = messagesOfPage.get(page);
  if (known !== undefined) return known;
  const parts = cutByBytes(page.changes);
  const messages = parts.map((part, index) =>
    messageAt(part, index === parts.length - 1 ? page.position : part.at(-1)?.position),
  );
  messagesOfPage.set(page, messages);
  return messages;
}

/**
 * Removes changes that were read before the feed handed out the page. The feed may have begun the page before
 * `reached`, and then a user would return to an old state or reappear after a deletion. `reached` is the end of a
 * window.
 */
function withoutSeen(page: FeedPage, reached: WatchPosition): FeedPage {
  const { snapshot } = reached;
  const seen = snapshotOf(snapshot);
  const begin = page.changes[0]?.position.snapshot;
  if (begin === undefined || hasSeenAll(snapshotOf(begin), seen)) return page;
  const { window } = page.position;
  if (!hasSeenAll(snapshotOf(window?.until ?? page.position.snapshot), seen)) return { changes: [], position: reached };
  const changes = page.changes
    .filter(({ xid }) => !isVisible(xid, seen))
    .map((change) => ({ ...change, position: { ...change.position, snapshot } }));
  return { changes, position: window === undefined ? page.position : { ...page.position, snapshot } };
}
