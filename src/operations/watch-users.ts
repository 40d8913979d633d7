/**
 * Watches the change log for one caller: existing users where it asks for them, then what it has missed, read for it
 * alone, then what comes, from the feed that all watchers share. A watcher that falls behind the feed goes back a step.
 */
import { Fault } from '../model/fault.js';
import type { WatchUsersRequest } from '../model/requests.js';
import type { User } from '../model/user.js';
import { hasSeenAll, isVisible, snapshotOf, type WatchPosition, watchTokenOf } from '../model/watch-token.js';
import type { ChangeType } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { openUsersSnapshot, type SnapshotUser } from '../store/export-users.js';
import { readChanges, readFeedPosition } from '../store/read-changes.js';
import type { ChangeFeed, FeedPage, Subscription } from './change-feed.js';
import { cutByBytes } from './message-bytes.js';
import { settlesWithin } from './settles-within.js';
import type { Turns } from './turns.js';

export interface WatchMessage {
  readonly changes: readonly WatchedChange[];
  /** Empty until all existing users have been sent. */
  readonly resumeToken: string;
  readonly caughtUp: boolean;
}

export interface WatchedChange {
  readonly type: ChangeType | 'existing';
  readonly userId: string;
  /** Undefined where it is no longer in the directory. */
  readonly user: User | undefined;
  /** If known, as Postgres' JSON text. */
  readonly attributesBytes?: number;
  /** Of an existing user when it was changed last. */
  readonly changeTime: Date;
}

export interface WatchUsersParts {
  database: Database;
  feed: ChangeFeed;
  /** For connections of their own, which existing users need. */
  sessions: Turns;
  /** For reading what a single watcher has missed. */
  catchUps: Turns;
  /** How long the snapshot that existing users are read from may be held. */
  snapshotTimeoutMs: number;
}

// Of one reading for one watcher; a little of what a message may hold.
const pageChangesMax = 500;

/** Ends only with an error or the signal. Throws RESUME_TOKEN_EXPIRED, WATCHER_TOO_SLOW. */
export async function* watchUsers(
  parts: WatchUsersParts,
  request: WatchUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  const standing: Standing = { position: request.position, subscription: undefined };
  const messages = messagesFor(parts, request, standing, signal);
  let next = messages.next();
  try {
    while (true) {
      if (await settlesWithin(next, request.heartbeatMs, signal)) {
        const { value, done } = await next;
        if (done) return;
        yield value;
        next = messages.next();
      } else if (request.includeExisting || standing.position !== undefined) {
        // Not before it is known from where on everything is seen, which the first message promises.
        yield messageAt([], whereItStands(standing));
      }
    }
  } finally {
    next.catch(() => {});
    messages.return().catch(() => {});
  }
}

/** What a heartbeat tells of. */
interface Standing {
  /** Where everything before has been sent; undefined while existing users are, and before it is known where now is. */
  position: WatchPosition | undefined;
  /** While it waits for the feed, which moves on even when there are no changes. */
  subscription: Subscription | undefined;
}

function whereItStands({ position, subscription }: Standing): WatchPosition | undefined {
  if (position === undefined || subscription === undefined) return position;
  // The feed may not yet be where this watcher has been when it came.
  const idle = subscription.position;
  return idle.within === undefined && hasSeenAll(snapshotOf(idle.behind), snapshotOf(position.behind))
    ? idle
    : position;
}

async function* messagesFor(
  { database, feed, sessions, catchUps, snapshotTimeoutMs }: WatchUsersParts,
  request: WatchUsersRequest,
  standing: Standing,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  if (request.includeExisting) {
    using _turn = await sessions.enter('', signal);
    await using snapshot = await openUsersSnapshot(database, {}, signal);
    const endMs = performance.now() + snapshotTimeoutMs;
    yield messageAt([], undefined);
    for await (const { users } of snapshot.pieces()) {
      const changes = users.map(existing);
      for (const part of cutByBytes(changes)) yield messageAt(part, undefined);
      if (performance.now() > endMs) throw tooSlow();
    }
    standing.position = { feedId: snapshot.feedId, behind: snapshot.snapshot };
  }

  // Whether the caller has yet to hear that it is caught up, and where.
  let isNews = true;
  while (true) {
    const from = standing.position;
    // Listen first, read second: what is committed between the two would otherwise be in neither. Not in the middle of a
    // window: there is more to read behind it in any case, and the others would wait for who listens and takes nothing.
    using subscription = from?.within === undefined ? await feed.subscribe() : undefined;
    const missed: FeedPage =
      from === undefined
        ? { changes: [], position: await readFeedPosition(database) }
        : await catchUps.take('', () => readChanges(database, from, pageChangesMax), signal);
    for (const message of messagesOf(missed)) {
      isNews = false;
      yield message;
    }
    standing.position = missed.position;
    // That was a window that ended long ago, or a part of one: the feed would have too much waiting before all is read.
    if (subscription === undefined || missed.position.within !== undefined) continue;
    if (isNews) yield messageAt([], missed.position);
    isNews = false;

    // Until the feed, too, has read all of it.
    let reached: WatchPosition | undefined = missed.position;
    while (true) {
      standing.subscription = subscription;
      const pages = await subscription.take(signal);
      standing.subscription = undefined;
      if (pages === undefined) break;
      for (const page of pages) {
        const fresh = reached === undefined ? page : unread(page, reached);
        if (fresh === page) reached = undefined;
        for (const message of messagesOf(fresh)) yield message;
        standing.position = fresh.position;
      }
    }
  }
}

// Whoever takes nothing at all is found out sooner, by who sends.
function tooSlow(): Fault {
  return new Fault(
    'WATCHER_TOO_SLOW',
    'Existing users were read too slowly: export them, and watch from its watch_token.',
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

/** A page of the feed as messages, each small enough; made once, whoever gets them. */
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
 * What a page of the feed has that was not read before it was handed out: the feed may have begun it before `reached`, and
 * a user would seem to go back, or come back when gone. `reached` is the end of a window.
 */
function unread(page: FeedPage, reached: WatchPosition): FeedPage {
  const { behind } = reached;
  const seen = snapshotOf(behind);
  const begin = page.changes[0]?.position.behind;
  if (begin === undefined || hasSeenAll(snapshotOf(begin), seen)) return page;
  const { within } = page.position;
  if (!hasSeenAll(snapshotOf(within?.until ?? page.position.behind), seen)) return { changes: [], position: reached };
  const changes = page.changes
    .filter(({ xid }) => !isVisible(xid, seen))
    .map((change) => ({ ...change, position: { ...change.position, behind } }));
  return { changes, position: within === undefined ? page.position : { ...page.position, behind } };
}
