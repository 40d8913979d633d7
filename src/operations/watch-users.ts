/**
 * Watches the change log for one caller, in up to three steps:
 *
 * 1. Send the existing users, if requested.
 * 2. Read the changes that the caller has missed, for this caller alone.
 * 3. Send new changes from the feed, which all watchers share. If the feed drops this watcher, return to step 2.
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
  /** Limits connections outside the pool. Each snapshot of the existing users needs one. */
  sessions: Limiter;
  /** Limits how many watchers read the change log on their own at once. */
  catchUps: Limiter;
  /** The time limit for the snapshot of the existing users. */
  snapshotTimeoutMs: number;
}

// The maximum number of changes that one watcher reads at once.
const pageChangesMax = 500;

/** Runs until the signal aborts or an error occurs. Throws RESUME_TOKEN_EXPIRED and WATCHER_TOO_SLOW. */
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
        // The first message promises that all later changes follow. Without existing users, that needs a position.
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
   * All changes before this position have been sent. Undefined until all existing users have been sent, or until the
   * starting point is known.
   */
  position: WatchPosition | undefined;
  /** Set while the watcher waits for the feed. The position of the feed advances even if nothing changes. */
  subscription: Subscription | undefined;
}

function currentPosition({ position, subscription }: WatchProgress): WatchPosition | undefined {
  if (position === undefined || subscription === undefined) return position;
  // This watcher may have joined at a position that the feed has not reached yet.
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

  // Whether the caller still needs a message that says that it is caught up, and at which position.
  let mustReportCaughtUp = true;
  while (true) {
    const from = progress.position;
    // Subscribe before reading, so that no change is missed in between. Inside a window, do not subscribe yet: another
    // read must follow in any case, and the feed would wait for this watcher until then.
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
    // The page began or ended inside a window, so many changes may follow. Read them before subscribing, because the
    // feed would queue too many changes meanwhile.
    if (subscription === undefined || missed.position.window !== undefined) continue;
    if (mustReportCaughtUp) yield messageAt([], missed.position);
    mustReportCaughtUp = false;

    // Set until the feed has passed this position. Before it, pages may contain changes that have already been sent.
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

// A client that reads nothing fails earlier, because fault-middleware.ts ends its stream.
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
 * Removes changes that the watcher has already read on its own. The page may begin before `reached`. Without this, a
 * user would return to an older state or reappear after a deletion. `reached` is always the end of a window.
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
