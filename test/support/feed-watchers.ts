/** Watchers that record what they see, for the checker: over the client, and two cursors that look right and are not. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  type User,
  type UserChange,
  UserChange_Type,
  type UserFeedMessage,
} from '../../src/client/index.js';
import { versionOf } from '../../src/model/user.js';
import { parseWatchToken } from '../../src/model/watch-token.js';
import type { TestDatabase } from './database.js';
import { loggedTypes, type Recording, type Seen, type SeenType } from './feed-checker.js';

export interface WatcherOptions {
  readonly name: string;
  readonly client: Client;
  /** `exported`: an export, and then a watch from its end. */
  readonly start: 'now' | 'existing' | 'exported';
  readonly heartbeatMs?: number;
  /** Cut off and resumed from its last token, each time after at most so long. */
  readonly cutAfterMsMax?: number;
  /** Stops reading now and then, for at most so long. */
  readonly dozesMsMax?: number;
}

export interface Watcher {
  readonly recording: Recording;
  /** What it has made of its changes, in the way that Client.followUsers() says. */
  readonly copy: ReadonlyMap<string, User>;
  /** Whether the copy began with all users. */
  readonly isFull: boolean;
  readonly changesSeen: number;
  readonly cuts: number;
  readonly disconnects: number;
  readonly startsOver: number;
  /** Resolves with its first token. */
  readonly begun: Promise<void>;
  /** Throws what it ended by. */
  hasSeen(userId: string): boolean;
  /** Rejects where it ended by something else. */
  stop(): Promise<void>;
}

export function startWatcher(options: WatcherOptions): Watcher {
  const { name, client, start, heartbeatMs, cutAfterMsMax, dozesMsMax } = options;
  const stopped = new AbortController();
  const begun = Promise.withResolvers<void>();
  const includeExisting = start === 'existing';
  let token = '';
  let behind: string | undefined;
  let existingUntil: string | undefined;
  let messages: Seen[][] = [];
  const copy = new Map<string, User>();
  const heardOf = new Set<string>();
  let unheard: Set<string> | undefined;
  const counts = { cuts: 0, disconnects: 0, startsOver: 0, changesSeen: 0 };

  function beginAgain(): void {
    messages = [];
    heardOf.clear();
    unheard = new Set(copy.keys());
  }

  function take({ changes, caughtUp, resumeToken, startedOver }: UserFeedMessage): void {
    if (startedOver) {
      counts.startsOver++;
      beginAgain();
    }
    for (const { user } of changes) {
      if (user === undefined) continue;
      if (user.email === '') copy.delete(user.id);
      else copy.set(user.id, user);
      unheard?.delete(user.id);
      heardOf.add(user.id);
    }
    if (changes.length > 0) messages.push(changes.map(seenOf));
    counts.changesSeen += changes.length;
    if (!caughtUp) return;
    for (const id of unheard ?? []) copy.delete(id);
    unheard = undefined;
    if (resumeToken === '') throw new Error('A message that has caught up has no token.');
    if (token === '') {
      const position = parseWatchToken(resumeToken);
      if (includeExisting) existingUntil = position.within?.until ?? position.behind;
      else if (changes.length === 0) behind = position.behind;
      else throw new Error('The first message has changes: it is not known behind what.');
      begun.resolve();
    }
    token = resumeToken;
  }

  async function begin(): Promise<void> {
    if (start !== 'exported') return;
    for await (const { users, watchToken } of client.exportAllUsers({}, { attemptsMax: 100 }).batches()) {
      for (const user of users) copy.set(user.id, user);
      token = watchToken;
    }
    behind = parseWatchToken(token).behind;
    begun.resolve();
  }

  async function follow(): Promise<void> {
    await begin();
    while (!stopped.signal.aborted) {
      const cut = new AbortController();
      const timer = cutAfterMsMax && setTimeout(() => cut.abort(), Math.random() * cutAfterMsMax);
      const signal = AbortSignal.any([stopped.signal, cut.signal]);
      if (token === '') beginAgain();
      try {
        const onDisconnect = () => void counts.disconnects++;
        const request = { resumeToken: token, includeExisting, heartbeatMs, signal, onDisconnect };
        for await (const message of client.followUsers(request)) {
          take(message);
          if (dozesMsMax && Math.random() < 0.05) await sleep(Math.random() * dozesMsMax);
        }
      } catch (error) {
        if (!signal.aborted) throw error;
        counts.cuts++;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  const following = follow();
  let failure: unknown;
  following.catch((error) => {
    failure = error;
    begun.reject(error);
  });
  // Nobody waits for some of them to begin.
  begun.promise.catch(() => {});
  return {
    get recording() {
      return { name, behind, existingUntil, messages };
    },
    get changesSeen() {
      return counts.changesSeen;
    },
    get cuts() {
      return counts.cuts;
    },
    get disconnects() {
      return counts.disconnects;
    },
    get startsOver() {
      return counts.startsOver;
    },
    copy,
    isFull: start !== 'now',
    begun: begun.promise,
    hasSeen(userId) {
      if (failure !== undefined) throw failure;
      return heardOf.has(userId);
    },
    async stop() {
      stopped.abort();
      await following;
    },
  };
}

function seenOf({ type, user, changeTime }: UserChange): Seen {
  return {
    userId: user?.id ?? '',
    type: UserChange_Type[type].slice('TYPE_'.length).toLowerCase() as SeenType,
    timeMs: changeTime?.getTime() ?? 0,
    version: user?.email === '' ? 0 : versionOf(user?.etag ?? ''),
  };
}

export interface MutantReader {
  readonly recording: Recording;
  look(): Promise<void>;
}

interface MutantRow {
  seq: string;
  user_id: string;
  type: number;
  change_time: Date;
  until: string;
}

function mutantReader(
  name: string,
  database: TestDatabase,
  condition: string,
  nextFrom: (last: MutantRow) => string,
): MutantReader {
  const messages: Seen[][] = [];
  let from = '0';
  return {
    // Before the first transaction that there ever was.
    recording: { name, behind: '1:1:', messages },
    async look() {
      const rows = await database.query<MutantRow>(
        `select seq, user_id, type, change_time, pg_snapshot_xmin(pg_current_snapshot())::text as until from changes
         where ${condition}`,
        [from],
      );
      const last = rows.at(-1);
      if (last === undefined) return;
      from = nextFrom(last);
      messages.push(
        rows.map(({ user_id: userId, type, change_time: time }) => ({
          userId,
          type: loggedTypes[type] ?? 'existing',
          timeMs: time.getTime(),
          version: undefined,
        })),
      );
    },
  };
}

/** The cursors that read-changes.ts rejects, from the beginning of the log. */
export function mutantReaders(database: TestDatabase): [MutantReader, MutantReader, MutantReader] {
  const settled = 'xid >= $1::xid8 and xid < pg_snapshot_xmin(pg_current_snapshot())';
  return [
    // Whoever commits later with a lower seq is passed over.
    mutantReader('seq > last', database, 'seq > $1::bigint order by seq', ({ seq }) => seq),
    // Everything before the oldest transaction in flight: all of it, but not in order.
    mutantReader('xid < xmin, by xid', database, `${settled} order by xid, seq`, ({ until }) => until),
    mutantReader('xid < xmin, by seq', database, `${settled} order by seq`, ({ until }) => until),
  ];
}
