/**
 * Checks API keys. Every process has all keys in memory, and reads them again so often that a revoked key stops working
 * within two seconds.
 */
import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.js';
import { digestOf, parseApiKey } from '../model/api-key.js';
import type { Subject } from '../model/caller.js';
import { Fault } from '../model/fault.js';
import { type LiveKey, noteKeyUses, readLiveKeys } from '../store/api-keys.js';

export type KeySubject = Extract<Subject, { kind: 'key' }>;

export interface ApiKeys {
  /**
   * Returns the subject of a key, or why the key is not accepted. Call it for every call: it also records when the key
   * was last used. Returns the same subject as long as the key is unchanged. Returns a promise only if no key has this
   * id, because the key may be new: the promise waits up to about a second for a read. Never rejects.
   */
  find(token: string): KeySubject | Fault | Promise<KeySubject | Fault>;
  /** Whether the key of a subject is neither revoked nor changed. It may have expired: see `expiresMs`. */
  isCurrent(subject: KeySubject): boolean;
  close(): Promise<void>;
}

export interface ApiKeysOptions {
  readonly database: Pick<Database, 'run'>;
  /** Called when the keys can no longer be read, and again only after they could be read in between. */
  onError(error: unknown): void;
  /** The same for writing when keys were last used. */
  onUseError(error: unknown): void;
}

interface Entry extends LiveKey {
  readonly subject: KeySubject;
  /** When a use must be written to the database again, on the clock of performance.now(). */
  noteUseMs: number;
}

// With the time that a read takes, a change is in effect after less than two seconds.
const refreshMs = 1_500;
// Unknown ids cause at most one read in this time, however many calls have them.
const readForUnknownMs = 1_000;
const noteUseEveryMs = 60_000;
// Of calls with unknown ids.
const waitersMax = 1_000;

/** Reads the keys for the first time in the background. Until then, calls wait. */
export function createApiKeys({ database, onError, onUseError }: ApiKeysOptions): ApiKeys {
  let entries: ReadonlyMap<string, Entry> = new Map();
  let subjects: ReadonlySet<KeySubject> = new Set();
  let reading: Promise<void> | undefined;
  let isFailing = false;
  let nextReadForUnknown: Promise<void> | undefined;
  let readForUnknownAtMs = Number.NEGATIVE_INFINITY;
  let waiters = 0;
  let isClosed = false;
  const closing = new AbortController();
  const uses = createUses(database, (error) => void (isClosed || onUseError(error)));

  async function read(): Promise<void> {
    try {
      const keys = await readLiveKeys(database.run);
      entries = new Map(keys.map((key): [string, Entry] => [key.id, entryOf(key, entries.get(key.id))]));
      subjects = new Set([...entries.values()].map(({ subject }) => subject));
      isFailing = false;
    } catch (error) {
      // The known keys go on working during an outage.
      if (!isFailing && !isClosed) onError(error);
      isFailing = true;
    }
    reading = undefined;
  }

  let refreshing: Promise<unknown> = Promise.resolve();
  const refresh = () => {
    reading ??= read();
    refreshing = Promise.all([reading, isFailing ? undefined : uses.write()]);
  };
  refresh();
  const timer = setInterval(refresh, refreshMs).unref();

  function check(entry: Entry, secret: string): KeySubject | Fault {
    const digest = digestOf(secret);
    if (entry.digest.length !== digest.length || !timingSafeEqual(entry.digest, digest)) return invalidKey();
    const { expiresMs } = entry.subject;
    if (expiresMs !== undefined && expiresMs <= Date.now()) {
      return new Fault('CREDENTIALS_EXPIRED', 'The API key has expired.');
    }
    uses.note(entry);
    return entry.subject;
  }

  /** Waits until a read for unknown ids is allowed again. All calls that arrive before the read begins share it. */
  async function readForUnknown(): Promise<void> {
    const waitMs = Math.max(0, readForUnknownAtMs + readForUnknownMs - performance.now());
    await sleep(waitMs, undefined, { ref: false, signal: closing.signal }).catch(() => {});
    await reading;
    nextReadForUnknown = undefined;
    if (isClosed) return;
    readForUnknownAtMs = performance.now();
    reading ??= read();
    await reading;
  }

  /** A read that began before the call may miss a key that was created before the call. */
  async function findNew(id: string, secret: string): Promise<KeySubject | Fault> {
    waiters++;
    const next = nextReadForUnknown;
    await reading;
    if (!entries.has(id)) {
      nextReadForUnknown ??= readForUnknown();
      await (next ?? nextReadForUnknown);
    }
    waiters--;
    const entry = entries.get(id);
    if (entry !== undefined) return check(entry, secret);
    return isFailing || isClosed ? cannotCheck() : invalidKey();
  }

  return {
    find(token) {
      const key = parseApiKey(token);
      if (key === undefined) return invalidKey();
      const entry = entries.get(key.id);
      if (entry !== undefined) return check(entry, key.secret);
      if (isFailing || isClosed || waiters >= waitersMax) return cannotCheck();
      return findNew(key.id, key.secret);
    },

    isCurrent: (subject) => subjects.has(subject),

    async close() {
      isClosed = true;
      closing.abort();
      clearInterval(timer);
      await reading;
      await refreshing;
      if (!isFailing) await uses.write();
    },
  };
}

/** Notes the uses of keys, and writes them together. */
function createUses(database: ApiKeysOptions['database'], onError: (error: unknown) => void) {
  let used = new Set<string>();
  let isFailing = false;
  return {
    note(entry: Entry): void {
      const nowMs = performance.now();
      if (nowMs < entry.noteUseMs) return;
      entry.noteUseMs = nowMs + noteUseEveryMs;
      used.add(entry.id);
    },
    async write(): Promise<void> {
      const ids = [...used];
      used = new Set();
      if (ids.length === 0) return;
      try {
        await noteKeyUses(database.run, ids);
        isFailing = false;
      } catch (error) {
        // The calls are served, but an operator may believe that a key is unused.
        if (!isFailing) onError(error);
        isFailing = true;
      }
    },
  };
}

/** Keeps the previous entry, with its subject, if the key is unchanged. */
function entryOf(key: LiveKey, previous: Entry | undefined): Entry {
  const { name, roles, expireTime } = key;
  if (
    previous?.digest.equals(key.digest) &&
    JSON.stringify([name, roles, expireTime]) === JSON.stringify([previous.name, previous.roles, previous.expireTime])
  ) {
    return previous;
  }
  const subject = { kind: 'key' as const, name, roles, ...(expireTime && { expiresMs: expireTime.getTime() }) };
  return { ...key, subject, noteUseMs: Number.NEGATIVE_INFINITY };
}

/** The same for an unknown id, a wrong secret and a revoked key. */
function invalidKey(): Fault {
  return new Fault('CREDENTIALS_INVALID', 'The API key is not valid.');
}

function cannotCheck(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The API key cannot be checked, because the database cannot be reached. Try again later.',
  );
}
