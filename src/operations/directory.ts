/**
 * What the directory can do, one method for each verb.
 *
 * Callers are already authorised and their requests parsed; whatever goes wrong comes back as a Fault.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Fault, userNotFound } from '../model/fault.js';
import type { ImportPart, ImportReport } from '../model/import-request.js';
import { createPageTokens } from '../model/page-token.js';
import type {
  BatchCreateUsersRequest,
  CreateUserRequest,
  DeleteUserRequest,
  ExportUsersRequest,
  ListUsersRequest,
  ResolveUsersRequest,
  UpdateUserRequest,
  WatchUsersRequest,
} from '../model/requests.js';
import type { User } from '../model/user.js';
import type { Database } from '../store/database.js';
import { mayRunAgain } from '../store/faults.js';
import type { DirectoryIdentity } from '../store/identity.js';
import {
  deleteUsers,
  insertAllUsers,
  insertUsers,
  type Locking,
  locked,
  type NewUser,
  type Repeated,
  selectUsers,
  selectUsersByEmail,
  type UserDeletion,
  type UserUpdate,
  updateUsers,
} from '../store/users.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type Batcher, createBatcher } from './batcher.js';
import { createChangeFeed } from './change-feed.js';
import { createExportTokens, type ExportedUsers, exportUsers } from './export-users.js';
import { importUsers } from './import-users.js';
import { listPage, type UserPage } from './list-page.js';
import { createRequestKeys } from './request-keys.js';
import { createResolver, type ResolvedUsers } from './resolve-users.js';
import { createTurns } from './turns.js';
import { readsFirst, updateUser } from './update-user.js';
import { createRowIds, createUserId } from './user-ids.js';
import { type WatchMessage, watchUsers } from './watch-users.js';

/** `signal` is aborted when the caller has gone or its deadline has passed. */
export interface Directory {
  /** Throws EMAIL_TAKEN, REQUEST_ID_REUSED, and USER_NOT_FOUND where a repeated call's user was deleted since. */
  createUser(request: CreateUserRequest, signal: AbortSignal): Promise<User>;
  /** Throws EMAIL_TAKEN with a violation for each user who is too late, REQUEST_ID_REUSED, USER_NOT_FOUND. */
  batchCreateUsers(request: BatchCreateUsersRequest, signal: AbortSignal): Promise<User[]>;
  /** Throws USER_NOT_FOUND. */
  getUser(id: string, signal: AbortSignal): Promise<User>;
  /** Throws USER_NOT_FOUND. */
  getUserByEmail(email: string, signal: AbortSignal): Promise<User>;
  /** In the order of the ids, undefined for one who is missing. */
  batchGetUsers(ids: readonly string[], signal: AbortSignal): Promise<(User | undefined)[]>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN, INVALID_FIELD. */
  updateUser(request: UpdateUserRequest, signal: AbortSignal): Promise<User>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH. */
  deleteUser(request: DeleteUserRequest, signal: AbortSignal): Promise<void>;
  /** Throws INVALID_PAGE_TOKEN. */
  listUsers(request: ListUsersRequest, signal: AbortSignal): Promise<UserPage>;
  /** Writes at the end of `parts`, or nothing. Throws IMPORT_INCOMPLETE, and whatever `parts` throws. */
  importUsers(parts: AsyncIterable<ImportPart>, signal: AbortSignal): Promise<ImportReport>;
  /** Until the signal is aborted. Throws RESUME_TOKEN_EXPIRED. */
  watchUsers(request: WatchUsersRequest, signal: AbortSignal): AsyncGenerator<WatchMessage, void, undefined>;
  /** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD. */
  exportUsers(request: ExportUsersRequest, signal: AbortSignal): AsyncGenerator<ExportedUsers, void, undefined>;
  /** Answers in the order of the requests; throws what they throw, after the answers to those before. */
  resolveUsers(
    requests: AsyncIterable<ResolveUsersRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ResolvedUsers, void, undefined>;
  /** For when no call is left: takes no new ones, and resolves when what callers have left behind has ended. */
  close(): Promise<void>;
}

export interface DirectoryOptions {
  database: Database;
  identity: DirectoryIdentity;
  batchRowsMax: number;
  queueRowsMax: number;
  streams: StreamLimits;
  /** Hears of what goes wrong in the background. */
  onError(error: unknown): void;
  readonly siblings?: Siblings;
  readonly metrics?: Metrics;
}

/** Other processes on the same database, as far as they can be reached sooner than by its change log. */
export interface Siblings {
  /** Hears when this process's first watcher comes, and when its last has gone. */
  watched(isWatched: boolean): void;
  /** Hears of each write that was committed; cheap. */
  wrote(): void;
  /** `listener` is called when others may have written. */
  onWrote(listener: () => void): void;
}

export interface StreamLimits {
  /** How many imports, exports and watches that begin with existing users there may be at once. */
  connectionsMax: number;
  stallTimeoutMs: number;
  snapshotTimeoutMs: number;
}

// Of one verb; the pool's own bound holds for all of them together.
const statementsMax = 4;

// A statement that takes longer waits for a lock or a slow disk; shorter, and a busy server would send small ones.
const patienceMs = 50;

// Of a batch in one statement, so that single calls get in between: with all 1000 at once, 16 callers of such batches had
// a GetUser take 100 ms at the median.
const readRowsMax = 200;

// Between what 64 callers wait who list one page after the other (with 100 one in a hundred of them waited for 1.6 s, the
// others 20 ms) and what callers in a hurry allow (with 500, calls with deadlines of 1 s were all too late in overload).
const newestFirstAfterMs = 250;

export function createDirectory({
  database,
  identity,
  batchRowsMax,
  queueRowsMax,
  streams,
  onError,
  siblings,
  metrics,
}: DirectoryOptions): Directory {
  const pageTokens = createPageTokens(identity.secret);
  const exportTokens = createExportTokens(identity.secret);
  const requestKeys = createRequestKeys(identity.secret);
  const limits = { batchRowsMax, queueRowsMax, statementsMax, patienceMs, mayRunAgain };

  const feed = createChangeFeed({ database, onError, onWatched: siblings?.watched });
  siblings?.onWrote(feed.wake);
  /** Lets watchers know at once, instead of at the next poll. */
  function wake(): void {
    feed.wake();
    siblings?.wrote();
  }
  async function written<T>(write: Promise<T>): Promise<T> {
    const outcome = await write;
    wake();
    return outcome;
  }

  // Once for a batch, where they skip what is locked, and where need be again for one row alone.
  const insert = (rows: readonly NewUser[], locking: Locking) => written(insertUsers(database, rows, locking));
  const update = (rows: readonly UserUpdate[], locking: Locking) => written(updateUsers(database, rows, locking));
  const remove = (rows: readonly UserDeletion[], locking: Locking) => written(deleteUsers(database, rows, locking));

  const counted = <Item, Outcomes>(statement: string, run: (items: readonly Item[]) => Outcomes) => {
    return (items: readonly Item[]): Outcomes => {
      metrics?.batch(statement, items.length);
      return run(items);
    };
  };
  const creates = createBatcher<NewUser, User | Repeated | typeof locked>({
    ...limits,
    run: counted('create', (rows) => insert(rows, 'skip')),
    keyOf: (user) => user.request?.id,
  });
  const reads = createBatcher<string, User | undefined>({
    ...limits,
    run: counted('get', (ids) => selectUsers(database, ids)),
  });
  const readsByEmail = createBatcher<string, User | undefined>({
    ...limits,
    run: counted('get_by_email', (emails) => selectUsersByEmail(database, emails)),
  });
  const updates = createBatcher<UserUpdate, User | typeof locked>({
    ...limits,
    run: counted('update', (rows) => update(rows, 'skip')),
    keyOf: ({ id }) => id,
  });
  const deletions = createBatcher<UserDeletion, undefined | typeof locked>({
    ...limits,
    run: counted('delete', (rows) => remove(rows, 'skip')),
    keyOf: ({ id }) => id,
  });

  const queues = { create: creates, get: reads, get_by_email: readsByEmail, update: updates, delete: deletions };
  metrics?.observe({ queues, feed });

  // What may take long has a share of the connections only, so that short calls always find one.
  const share = (of: number) => Math.max(1, Math.floor(database.connectionsMax * of));
  const lists = createTurns({ atOnceMax: share(0.4), waitingMax: queueRowsMax, newestFirstAfterMs });
  const batches = createTurns({ atOnceMax: share(0.2), waitingMax: queueRowsMax, newestFirstAfterMs });
  // Writes that have to wait for somebody else's transaction do so here, where they hold up nobody: first all that a
  // batch did not do, to find out which of them have to; then those, one at a time for each user or email.
  const tries = createTurns({ atOnceMax: share(0.2), waitingMax: queueRowsMax });
  const lines = createTurns({ atOnceMax: 1, waitingMax: queueRowsMax });
  const waits = createTurns({ atOnceMax: share(0.2), waitingMax: queueRowsMax });
  // Connections of their own, beside the pool.
  const sessions = createTurns({ atOnceMax: streams.connectionsMax, waitingMax: queueRowsMax });
  const imports = { stallTimeoutMs: streams.stallTimeoutMs, onWritten: wake, metrics };
  const exports = { database, tokens: exportTokens, sessions, snapshotTimeoutMs: streams.snapshotTimeoutMs };
  const resolver = createResolver({ database, statementsMax: Math.min(statementsMax, share(0.2)) });
  const catchUps = createTurns({ atOnceMax: share(0.2), waitingMax: queueRowsMax });
  // Of updates that read first one in each round wins; without turns the others of that round have written in vain.
  const readers = createTurns({ atOnceMax: 1, waitingMax: queueRowsMax });

  /**
   * Sends a write with those of other callers, and where it was not done there alone. `lockedKey` names what it may have
   * to wait for.
   */
  async function write<Item, Outcome>(
    batcher: Batcher<Item, Outcome | typeof locked>,
    run: (items: readonly Item[], locking: Locking) => Promise<(Outcome | typeof locked | Fault)[]>,
    item: Item,
    lockedKey: string,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const runAlone = async (locking: Locking) => {
      const [outcome] = await run([item], locking);
      if (outcome instanceof Fault) throw outcome;
      return outcome as Outcome | typeof locked;
    };
    let outcome = await batcher.submit(item, signal);
    if (outcome === locked) outcome = await tries.take('', () => runAlone('skip'), signal);
    if (outcome === locked) {
      outcome = await lines.take(lockedKey, () => waits.take('', () => runAlone('wait'), signal), signal);
    }
    return outcome as Outcome;
  }

  async function getUser(id: string, signal: AbortSignal): Promise<User> {
    return found(await reads.submit(id, signal));
  }

  async function batchGetUsers(ids: readonly string[], signal: AbortSignal): Promise<(User | undefined)[]> {
    const users: (User | undefined)[] = [];
    if (ids.length === 0) return users;
    await batches.take(
      '',
      async () => {
        while (users.length < ids.length) {
          signal.throwIfAborted();
          users.push(...(await selectUsers(database, ids.slice(users.length, users.length + readRowsMax))));
        }
      },
      signal,
    );
    return users;
  }

  return {
    async createUser({ fields, requestId }, signal) {
      const request = requestId === undefined ? undefined : requestKeys.keyOf(requestId, [fields]);
      const user: NewUser = { id: createUserId(), fields, request };
      const outcome = await write(creates, insert, user, fields.email.toLowerCase(), signal);
      if (!isRepeated(outcome)) return outcome;
      const [id] = outcome.repeatedUserIds;
      if (id === undefined) throw userNotFound();
      return getUser(id, signal);
    },

    async batchCreateUsers({ users, requestId }, signal) {
      if (users.length === 0) return [];
      const request = requestId === undefined ? undefined : requestKeys.keyOf(requestId, users);
      // The digest of a large batch takes about as long as its statement. Other calls get a turn between the two.
      if (request !== undefined) await nextTurn();
      const idOf = createRowIds();
      const rows = users.map((fields, row) => ({ id: idOf(row), fields }));
      const outcome = await batches.take('', () => written(insertAllUsers(database, rows, request)), signal);
      if (!isRepeated(outcome)) return outcome;
      return (await batchGetUsers(outcome.repeatedUserIds, signal)).map(found);
    },

    getUser,

    async getUserByEmail(email, signal) {
      return found(await readsByEmail.submit(email, signal));
    },

    batchGetUsers,

    async updateUser(request, signal) {
      const run = () =>
        updateUser(request, {
          read: (id) => getUser(id, signal),
          write: (change) => write(updates, update, change, change.id, signal),
        });
      return readsFirst(request) ? readers.take(request.id, run, signal) : run();
    },

    async deleteUser({ id, version, allowMissing }, signal) {
      try {
        await write(deletions, remove, { id, version }, id, signal);
      } catch (error) {
        if (allowMissing && error instanceof Fault && error.reason === 'USER_NOT_FOUND') return;
        throw error;
      }
    },

    listUsers: (request, signal) => lists.take('', () => listPage(database, pageTokens, request, signal), signal),

    importUsers: (parts, signal) => sessions.take('', () => importUsers(database, imports, parts, signal), signal),

    watchUsers: (request, signal) =>
      watchUsers({ database, feed, sessions, catchUps, snapshotTimeoutMs: streams.snapshotTimeoutMs }, request, signal),

    exportUsers: (request, signal) => exportUsers(exports, request, signal),

    resolveUsers: (requests, signal) => resolver.resolve(requests, signal),

    async close() {
      await Promise.all([creates, reads, readsByEmail, updates, deletions, resolver, feed].map((part) => part.close()));
    },
  };
}

function found(user: User | undefined): User {
  if (user === undefined) throw userNotFound();
  return user;
}

function isRepeated(outcome: object): outcome is Repeated {
  return 'repeatedUserIds' in outcome;
}
