/**
 * Watches the change log for one caller: existing users where it asks for them, then what it has missed, read for it
 * alone, then what comes, from the feed that all watchers share. A watcher that falls behind the feed goes back a step.
 */
import type { WatchUsersRequest } from '../model/requests.js';
import type { User } from '../model/user.js';
import { type WatchPosition, watchTokenOf } from '../model/watch-token.js';
import type { ChangeType } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { openUsersSnapshot } from '../store/export-users.js';
import { readChanges } from '../store/read-changes.js';
import type { ChangeFeed, FeedPage, Subscription } from './change-feed.js';
import { cutByBytes } from './message-bytes.js';
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
}

// Of one reading for one watcher; a little of what a message may hold.
const pageChangesMax = 500;

/** Ends only with an error or the signal. Throws INVALID_RESUME_TOKEN, RESUME_TOKEN_EXPIRED. */
export async function* watchUsers(
  parts: WatchUsersParts,
  request: WatchUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  // Where a watcher stands that nothing is being sent to.
  const standing: Standing = { position: undefined, subscription: undefined };
  const messages = messagesFor(parts, request, standing, signal);
  let next = messages.next();
  try {
    while (true) {
      if (await settlesWithin(next, request.heartbeatMs, signal)) {
        const { value, done } = await next;
        if (done) return;
        yield value;
        next = messages.next();
      } else {
        yield messageAt([], standing.subscription?.position ?? standing.position);
      }
    }
  } finally {
    next.catch(() => {});
    messages.return().catch(() => {});
  }
}

interface Standing {
  /** Undefined while existing users are being sent. */
  position: WatchPosition | undefined;
  /** While it waits for the feed, which moves on even when there are no changes. */
  subscription: Subscription | undefined;
}

async function* messagesFor(
  { database, feed, sessions, catchUps }: WatchUsersParts,
  request: WatchUsersRequest,
  standing: Standing,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void, undefined> {
  if (request.includeExisting) {
    using _turn = await sessions.enter('', signal);
    await using snapshot = await openUsersSnapshot(database, {}, signal);
    yield messageAt([], undefined);
    for await (const { users } of snapshot.pieces()) {
      const changes = users.map(({ user }) => existing(user));
      for (const part of cutByBytes(changes)) yield messageAt(part, undefined);
    }
    standing.position = { feedId: snapshot.feedId, behind: snapshot.snapshot };
  } else {
    standing.position = request.position;
  }

  // Whether the caller has yet to hear that it is caught up, and where.
  let isNews = true;
  while (true) {
    using subscription = await feed.subscribe();
    const end = subscription.start;
    let position = standing.position ?? end;
    while (!isSame(position, end)) {
      const from = position;
      const page = await catchUps.take('', () => readChanges(database, from, pageChangesMax, end.behind), signal);
      for (const message of messagesOf(page)) {
        isNews = false;
        yield message;
      }
      position = page.position;
      standing.position = position;
    }
    standing.position = position;
    if (isNews) yield messageAt([], position);
    isNews = false;

    while (true) {
      standing.subscription = subscription;
      const pages = await subscription.take(signal);
      standing.subscription = undefined;
      if (pages === undefined) break;
      for (const page of pages) {
        for (const message of messagesOf(page)) yield message;
        standing.position = page.position;
      }
    }
  }
}

/** `end` is the end of a window. One server's databases have snapshots in common. */
function isSame({ feedId, behind, within }: WatchPosition, end: WatchPosition): boolean {
  return feedId === end.feedId && behind === end.behind && within === undefined;
}

function existing(user: User): WatchedChange {
  return { type: 'existing', userId: user.id, user, changeTime: user.updateTime };
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

/** Whether a promise is settled within `ms`; rejects with the signal's reason where that is aborted before. */
function settlesWithin(promise: Promise<unknown>, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      settle();
    };
    const abort = () => end(() => reject(signal.reason));
    const timer = setTimeout(() => end(() => resolve(false)), ms);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort);
    const settled = () => end(() => resolve(true));
    promise.then(settled, settled);
  });
}
