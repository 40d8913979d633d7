/**
 * Watches the change log for one client, in up to three steps:
 *
 * 1. Send the existing users, if requested.
 * 2. Read the changes since the client's position, for this client alone.
 * 3. Send new changes from the feed, which all watchers share. If the feed drops this watcher, return to step 2.
 */
import { settlesWithin } from '../concurrency/abort.js';
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { Fault } from '../model/fault.js';
import type { WatchUsersRequest } from '../model/requests.js';
import { type AnyUser, isStored, type StoredUser, storedCells, storedId, storedTime } from '../model/stored-user.js';
import { hasSeenAll, isVisible, snapshotOf, type WatchPosition, watchTokenOf } from '../model/watch-token.js';
import type { ChangeType } from '../store/changes.js';
import { openUsersSnapshot } from '../store/export-users.js';
import { type ChangesPage, readChanges, readFeedPosition } from '../store/read-changes.js';
import type { ChangeFeed, Subscription } from './change-feed.js';
import { cutByBytes, storedUserBytesMax, userBytesMax } from './message-bytes.js';

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
  readonly user: AnyUser | undefined;
  /** The size of the attributes as Postgres' JSON text, of a decoded user. */
  readonly attributesBytes?: number;
  /** For an existing user, the time of the last change. */
  readonly changeTime: Date;
  readonly actor?: string | undefined;
  readonly requestId?: string | undefined;
}

export interface WatchUsersOptions {
  database: Database;
  feed: ChangeFeed;
  /** Limits connections outside the pool. Each snapshot of the existing users needs one. */
  sessions: Limiter;
  /** Limits how many watchers read the change log on their own (step 2) at once. */
  catchUps: Limiter;
  /** The time limit for the snapshot of the existing users. */
  snapshotTimeoutMs: number;
}

// The maximum number of changes that one watcher reads at once.
const pageChangesMax = 500;

/** Runs until the signal aborts or an error occurs. Throws RESUME_TOKEN_EXPIRED and WATCHER_TOO_SLOW. */
export async function* watchUsers(
  options: WatchUsersOptions,
  request: WatchUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  const progress: WatchProgress = { position: request.position, subscription: undefined };
  const messages = messagesFor(options, request, progress, signal);
  let next = messages.next();
  try {
    while (true) {
      if (await settlesWithin(next, request.heartbeatMs, signal)) {
        const { value, done } = await next;
        if (done) return;
        yield value;
        next = messages.next();
      } else if (request.includeExisting || progress.position !== undefined) {
        // The first message promises that all later changes follow. Without existing users, that requires a position.
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
  const feedPosition = subscription.position;
  if (feedPosition.window !== undefined) return position;
  // The feed may not have reached the position up to which this watcher has read on its own.
  return hasSeenAll(snapshotOf(feedPosition.snapshot), snapshotOf(position.snapshot)) ? feedPosition : position;
}

async function* messagesFor(
  { database, feed, sessions, catchUps, snapshotTimeoutMs }: WatchUsersOptions,
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
      for (const part of cutByBytes(changes, changeBytesMax)) yield messageAt(part, undefined);
      if (performance.now() > endMs) throw watcherTooSlow();
    }
    progress.position = snapshot.position;
  }

  // Whether the client has not yet received a message with `caughtUp` and a resume token.
  let mustReportCaughtUp = true;
  while (true) {
    const from = progress.position;
    // Subscribe before reading, so that no change between the two is missed. Inside a window, do not subscribe yet,
    // because another read must follow, and the feed would wait for this watcher until then.
    using subscription = from?.window === undefined ? await feed.subscribe() : undefined;
    const ownPage: ChangesPage =
      from === undefined
        ? { changes: [], position: await catchUps.run('', () => readFeedPosition(database), signal) }
        : await catchUps.run('', () => readChanges(database, from, pageChangesMax), signal);
    for (const message of messagesOf(ownPage)) {
      mustReportCaughtUp = false;
      yield message;
    }
    progress.position = ownPage.position;
    // The page began or ended inside a window, so many changes may follow. Read them before subscribing, because the
    // feed would queue too many changes in the meantime.
    if (subscription === undefined || ownPage.position.window !== undefined) continue;
    if (mustReportCaughtUp) yield messageAt([], ownPage.position);
    mustReportCaughtUp = false;

    // Set until the feed has passed this position. Until then, its pages may contain changes that were already sent.
    let ownPosition: WatchPosition | undefined = ownPage.position;
    while (true) {
      progress.subscription = subscription;
      const pages = await subscription.take(signal);
      progress.subscription = undefined;
      if (pages === undefined) break;
      for (const page of pages) {
        const newPage = ownPosition === undefined ? page : removeSeenChanges(page, ownPosition);
        if (newPage === page) ownPosition = undefined;
        for (const message of messagesOf(newPage)) yield message;
        progress.position = newPage.position;
      }
    }
  }
}

// A client that reads nothing fails earlier, because the gRPC server ends its call.
function watcherTooSlow(): Fault {
  return new Fault(
    'WATCHER_TOO_SLOW',
    'The client read the existing users too slowly. Export them, and watch from the watch_token of the export.',
  );
}

function existing(user: StoredUser): WatchedChange {
  return { type: 'existing', userId: storedId(user), user, changeTime: storedTime(user, storedCells.updateTime) };
}

function changeBytesMax({ user, attributesBytes = 0, actor = '', requestId = '' }: WatchedChange): number {
  // Both are ASCII.
  const authorBytes = actor.length + requestId.length;
  if (user === undefined) return 100 + authorBytes;
  return authorBytes + (isStored(user) ? storedUserBytesMax(user) : userBytesMax(user, attributesBytes));
}

function messageAt(changes: readonly WatchedChange[], position: WatchPosition | undefined): WatchMessage {
  const resumeToken = position === undefined ? '' : watchTokenOf(position);
  return { changes, resumeToken, caughtUp: position !== undefined };
}

const messagesOfPage = new WeakMap<ChangesPage, readonly WatchMessage[]>();

/** Splits a page of the feed into messages of bounded size, once for all watchers. */
function messagesOf(page: ChangesPage): readonly WatchMessage[] {
  const known = messagesOfPage.get(page);
  if (known !== undefined) return known;
  const parts = cutByBytes(page.changes, changeBytesMax);
  const messages = parts.map((part, index) =>
    messageAt(part, index === parts.length - 1 ? page.position : part.at(-1)?.position),
  );
  messagesOfPage.set(page, messages);
  return messages;
}

/**
 * Removes the changes of a page of the feed that are before `ownPosition`, because the watcher has already read them on
 * its own. Otherwise, a user would return to an older state or reappear after a deletion. `ownPosition` is always the
 * end of a window.
 */
function removeSeenChanges(page: ChangesPage, ownPosition: WatchPosition): ChangesPage {
  const { snapshot } = ownPosition;
  const seen = snapshotOf(snapshot);
  const begin = page.changes[0]?.position.snapshot;
  if (begin === undefined || hasSeenAll(snapshotOf(begin), seen)) return page;
  const { window } = page.position;
  const end = window?.until ?? page.position.snapshot;
  if (!hasSeenAll(snapshotOf(end), seen)) return { changes: [], position: ownPosition };
  const changes = page.changes
    .filter(({ xid }) => !isVisible(xid, seen))
    .map((change) => ({ ...change, position: { ...change.position, snapshot } }));
  return { changes, position: window === undefined ? page.position : { ...page.position, snapshot } };
}
