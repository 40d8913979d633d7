/**
 * Watchers that record what they receive for the checker: over the client, and with cursors that look correct but are
 * not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import {
  type Client,
  type User,
  type UserChange,
  UserChange_Type,
  type UserFeedMessage,
} from '../../src/client/index.js';
import { parseEtag } from '../../src/model/user.js';
import { parseWatchToken } from '../../src/model/watch-token.js';
import { loggedTypes, type Recording, type Seen, type SeenType } from './feed-checker.js';

export interface WatcherOptions {
  readonly name: string;
  readonly client: Client;
  /** `exported` means an export, and then a watch from its end. */
  readonly start: 'now' | 'existing' | 'exported';
  readonly heartbeatMs?: number;
  /** Disconnects and resumes from its last token, each time after at most this time. */
  readonly cutAfterMsMax?: number;
  /** Sometimes pauses reading, for at most this time. */
  readonly dozesMsMax?: number;
}

export interface Watcher {
  readonly recording: Recording;
  /** The copy of the directory, kept as the comment of Client.followUsers() describes. */
  readonly copy: ReadonlyMap<string, User>;
  /** Whether the copy started with all users. */
  readonly isFull: boolean;
  readonly changesSeen: number;
  readonly cuts: number;
  readonly disconnects: number;
  readonly startsOver: number;
  /** Resolves when it has its first token. */
  readonly begun: Promise<void>;
  /** Throws the error if the watcher has failed. */
  hasSeen(userId: string): boolean;
  /** Rejects if the watcher has failed. */
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
  const seenIds = new Set<string>();
  let unseen: Set<string> | undefined;
  const counts = { cuts: 0, disconnects: 0, startsOver: 0, changesSeen: 0 };

  function beginAgain(): void {
    messages = [];
    seenIds.clear();
    unseen = new Set(copy.keys());
  }

  function onMessage({ changes, caughtUp, resumeToken, startedOver }: UserFeedMessage): void {
    if (startedOver) {
      counts.startsOver++;
      beginAgain();
    }
    for (const { user } of changes) {
      if (user === undefined) continue;
      if (user.email === '') copy.delete(user.id);
      else copy.set(user.id, user);
      unseen?.delete(user.id);
      seenIds.add(user.id);
    }
    if (changes.length > 0) messages.push(changes.map(seenOf));
    counts.changesSeen += changes.length;
    if (!caughtUp) return;
    for (const id of unseen ?? []) copy.delete(id);
    unseen = undefined;
    if (resumeToken === '') throw new Error('A message with caught_up has no token.');
    if (token === '') {
      const position = parseWatchToken(resumeToken);
      if (includeExisting) existingUntil = position.window?.until ?? position.snapshot;
      else if (changes.length === 0) behind = position.snapshot;
      else throw new Error('The first message has changes, so their start is unknown.');
      begun.resolve();
    }
    token = resumeToken;
  }

  async function begin(): Promise<void> {
    if (start !== 'exported') return;
    for await (const { users, watchToken } of client.exportAllUsers({}, { attemptsMax: 100 }).batches()) {
      for (const user of users) {
        copy.set(user.id, user);
        // An export that had to be repeated may contain a user who was created after it first began.
        seenIds.add(user.id);
      }
      token = watchToken;
    }
    behind = parseWatchToken(token).snapshot;
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
          onMessage(message);
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
  // Some tests do not await this promise.
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
      return seenIds.has(userId);
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
    version: user?.email === '' ? 0 : parseEtag(user?.etag ?? '').version,
  };
}

interface Queries {
  query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<R[]>;
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
  database: Queries,
  condition: string,
  nextFrom: (last: MutantRow) => string,
): MutantReader {
  const messages: Seen[][] = [];
  let from = '0';
  return {
    // Before the first transaction of the database.
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

/** The incorrect cursors of docs/decisions/0013, from the beginning of the log. */
export function mutantReaders(database: Queries): [MutantReader, MutantReader, MutantReader] {
  const settled = 'xid >= $1::xid8 and xid < pg_snapshot_xmin(pg_current_snapshot())';
  return [
    // Misses a transaction that commits later with a lower seq.
    mutantReader('seq > last', database, 'seq > $1::bigint order by seq', ({ seq }) => seq),
    // Reads everything before the oldest transaction in flight: complete, but not in order.
    mutantReader('xid < xmin, by xid', database, `${settled} order by xid, seq`, ({ until }) => until),
    mutantReader('xid < xmin, by seq', database, `${settled} order by seq`, ({ until }) => until),
  ];
}
