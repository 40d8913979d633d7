/**
 * The operations of the directory, one method for each verb.
 *
 * Callers are already authorised and requests parsed. Every failure is a Fault.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Batcher, createBatcher } from '../concurrency/batcher.js';
import { createLimiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { isRetryable } from '../database/errors.js';
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
import { type DeletionOutcome, deleteUsers, type UserDeletion } from '../store/delete-users.js';
import { selectUsers, selectUsersByEmail } from '../store/find-users.js';
import type { DirectoryIdentity } from '../store/identity.js';
import { insertAllUsers } from '../store/insert-all-users.js';
import { type InsertOutcome, insertUsers, type NewUser } from '../store/insert-users.js';
import { type Locking, locked } from '../store/locking.js';
import { type UpdateOutcome, type UserUpdate, updateUsers } from '../store/update-users.js';
import type { Metrics } from '../telemetry/metrics.js';
import { createChangeFeed } from './change-feed.js';
import { createExportTokens, type ExportedUsers, exportUsers } from './export-users.js';
import { importUsers } from './import-users.js';
import { listPage, type UserPage } from './list-page.js';
import { emailsTaken, orThrow } from './refusals.js';
import { createRequestKeys } from './request-keys.js';
import { createResolver, type ResolvedUsers } from './resolve-users.js';
import { readsFirst, updateUser } from './update-user.js';
import { createRowIds, createUserId } from './user-ids.js';
import { type WatchMessage, watchUsers } from './watch-users.js';

/** `signal` is aborted when the call is cancelled or its deadline has passed. */
export interface Directory {
  /** Throws EMAIL_TAKEN, REQUEST_ID_REUSED, and USER_NOT_FOUND if the user of a repeated call was deleted since. */
  createUser(request: CreateUserRequest, signal: AbortSignal): Promise<User>;
  /** Throws EMAIL_TAKEN with a violation for each taken email, REQUEST_ID_REUSED, USER_NOT_FOUND. */
  batchCreateUsers(request: BatchCreateUsersRequest, signal: AbortSignal): Promise<User[]>;
  /** Throws USER_NOT_FOUND. */
  getUser(id: string, signal: AbortSignal): Promise<User>;
  /** Throws USER_NOT_FOUND. */
  getUserByEmail(email: string, signal: AbortSignal): Promise<User>;
  /** In the order of the ids; undefined for a missing user. */
  batchGetUsers(ids: readonly string[], signal: AbortSignal): Promise<(User | undefined)[]>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN, INVALID_FIELD. */
  updateUser(request: UpdateUserRequest, signal: AbortSignal): Promise<User>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH. */
  deleteUser(request: DeleteUserRequest, signal: AbortSignal): Promise<void>;
  /** Throws INVALID_PAGE_TOKEN. */
  listUsers(request: ListUsersRequest, signal: AbortSignal): Promise<UserPage>;
  /** Writes at the end of `parts`, or not at all. Throws IMPORT_INCOMPLETE, and the errors of `parts`. */
  importUsers(parts: AsyncIterable<ImportPart>, signal: AbortSignal): Promise<ImportReport>;
  /** Runs until the signal is aborted. Throws RESUME_TOKEN_EXPIRED. */
  watchUsers(request: WatchUsersRequest, signal: AbortSignal): AsyncGenerator<WatchMessage, void, undefined>;
  /** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD. */
  exportUsers(request: ExportUsersRequest, signal: AbortSignal): AsyncGenerator<ExportedUsers, void, undefined>;
  /** Answers in the order of the requests. Throws the errors of `requests` after the answers to earlier requests. */
  resolveUsers(
    requests: AsyncIterable<ResolveUsersRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ResolvedUsers, void, undefined>;
  /** Call it after the last call has ended. Accepts no new calls, and resolves when all background work has ended. */
  close(): Promise<void>;
}

export interface DirectoryOptions {
  database: Database;
  identity: DirectoryIdentity;
  batchRowsMax: number;
  queueRowsMax: number;
  streams: StreamLimits;
  /** Receives errors of background work. */
  onError(error: unknown): void;
  readonly siblings?: Siblings;
  readonly metrics?: Metrics;
}

/** Other processes on the same database that can be notified sooner than through its change log. */
export interface Siblings {
  /** Called with true when this process's first watcher starts, and with false when the last one ends. */
  watched(isWatched: boolean): void;
  /** Called after each commit, so it must be fast. */
  wrote(): void;
  /** `listener` is called when other processes may have wakeAfter. */
  onWrote(listener: () => void): void;
}

export interface StreamLimits {
  /** The maximum number of concurrent imports, exports and watches that start with existing users. */
  connectionsMax: number;
  stallTimeoutMs: number;
  snapshotTimeoutMs: number;
}

// For each verb; the pool also limits all of them together.
const statementsMax = 4;

// A statement that runs longer is waiting for a lock or a slow disk. With a lower value, a busy server would send small
// statements.
const slowStatementMs = 50;

// Rows of a batch in one statement, so that single calls run in between: with all 1000 at once, 16 callers of such
// batches raised GetUser's median to 100 ms.
const readRowsMax = 200;

// A compromise. With 100, one in a hundred of 64 callers that page through lists waited 1.6 s, and the others 20 ms.
// With 500, all calls with deadlines of 1 s were too late under overload.
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
  const limits = { batchRowsMax, queueRowsMax, statementsMax, slowStatementMs, isRetryable };

  const feed = createChangeFeed({ database, onError, onWatched: siblings?.watched });
  siblings?.onWrote(feed.wake);
  /** Notifies watchers immediately, instead of at the next poll. */
  function wake(): void {
    feed.wake();
    siblings?.wrote();
  }
  async function wakeAfter<T>(write: Promise<T>): Promise<T> {
    const outcome = await write;
    wake();
    return outcome;
  }

  // Run once for a batch, which skips locked rows, and again for a single row if needed.
  const insert = (rows: readonly NewUser[], locking: Locking) => wakeAfter(insertUsers(database, rows, locking));
  const update = (rows: readonly UserUpdate[], locking: Locking) => wakeAfter(updateUsers(database, rows, locking));
  const remove = (rows: readonly UserDeletion[], locking: Locking) => wakeAfter(deleteUsers(database, rows, locking));

  const measured = <Item, Outcomes>(statement: string, run: (items: readonly Item[]) => Outcomes) => {
    return (items: readonly Item[]): Outcomes => {
      metrics?.batch(statement, items.length);
      return run(items);
    };
  };
  const creates = createBatcher<NewUser, InsertOutcome>({
    ...limits,
    run: measured('create', (rows) => insert(rows, 'skip')),
    keyOf: (user) => user.request?.id,
  });
  const reads = createBatcher<string, User | undefined>({
    ...limits,
    run: measured('get', (ids) => selectUsers(database, ids)),
  });
  const readsByEmail = createBatcher<string, User | undefined>({
    ...limits,
    run: measured('get_by_email', (emails) => selectUsersByEmail(database, emails)),
  });
  const updates = createBatcher<UserUpdate, UpdateOutcome>({
    ...limits,
    run: measured('update', (rows) => update(rows, 'skip')),
    keyOf: ({ id }) => id,
  });
  const deletions = createBatcher<UserDeletion, DeletionOutcome>({
    ...limits,
    run: measured('delete', (rows) => remove(rows, 'skip')),
    keyOf: ({ id }) => id,
  });

  const queues = { create: creates, get: reads, get_by_email: readsByEmail, update: updates, delete: deletions };
  metrics?.observe({ queues, feed });

  // Long operations get only a share of the connections, so that short calls always find one.
  const share = (of: number) => Math.max(1, Math.floor(database.connectionsMax * of));
  const lists = createLimiter({ concurrencyMax: share(0.4), queuedMax: queueRowsMax, newestFirstAfterMs });
  const batches = createLimiter({ concurrencyMax: share(0.2), queuedMax: queueRowsMax, newestFirstAfterMs });
  // Writes that wait for other transactions are limited separately, so that they delay no other call. A write that its
  // batch skipped is first retried alone. If the row is still locked, it lockWaits for the lock, one write at a time for
  // each user or email.
  const retries = createLimiter({ concurrencyMax: share(0.2), queuedMax: queueRowsMax });
  const lockKeys = createLimiter({ concurrencyMax: 1, queuedMax: queueRowsMax });
  const lockWaits = createLimiter({ concurrencyMax: share(0.2), queuedMax: queueRowsMax });
  // These use separate connections outside the pool.
  const sessions = createLimiter({ concurrencyMax: streams.connectionsMax, queuedMax: queueRowsMax });
  const imports = { stallTimeoutMs: streams.stallTimeoutMs, onWritten: wake, metrics };
  const exports = { database, tokens: exportTokens, sessions, snapshotTimeoutMs: streams.snapshotTimeoutMs };
  const resolver = createResolver({ database, statementsMax: Math.min(statementsMax, share(0.2)) });
  const catchUps = createLimiter({ concurrencyMax: share(0.2), queuedMax: queueRowsMax });
  // Of concurrent updates that read first, only one succeeds in each round. One at a time, none writes in vain.
  const readingUpdates = createLimiter({ concurrencyMax: 1, queuedMax: queueRowsMax });

  /**
   * Sends a write in a batch, and runs it alone if the batch skipped it. `lockedKey` names the user or email whose lock
   * it may wait for.
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
    if (outcome === locked) outcome = await retries.run('', () => runAlone('skip'), signal);
    if (outcome === locked) {
      outcome = await lockKeys.run(lockedKey, () => lockWaits.run('', () => runAlone('wait'), signal), signal);
    }
    return outcome as Outcome;
  }

  async function getUser(id: string, signal: AbortSignal): Promise<User> {
    return found(await reads.submit(id, signal));
  }

  async function batchGetUsers(ids: readonly string[], signal: AbortSignal): Promise<(User | undefined)[]> {
    const users: (User | undefined)[] = [];
    if (ids.length === 0) return users;
    await batches.run(
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
      const outcome = orThrow(await write(creates, insert, user, fields.email.toLowerCase(), signal));
      if (!('repeatedUserIds' in outcome)) return outcome;
      const [id] = outcome.repeatedUserIds;
      if (id === undefined) throw userNotFound();
      return getUser(id, signal);
    },

    async batchCreateUsers({ users, requestId }, signal) {
      if (users.length === 0) return [];
      const request = requestId === undefined ? undefined : requestKeys.keyOf(requestId, users);
      // The digest of a large batch takes about as long as its statement. Other calls run between the two.
      if (request !== undefined) await nextTurn();
      const idOf = createRowIds();
      const rows = users.map((fields, row) => ({ id: idOf(row), fields }));
      const insertAll = () => wakeAfter(insertAllUsers(database, rows, request));
      const outcome = orThrow(await batches.run('', insertAll, signal));
      if ('takenIndexes' in outcome) throw emailsTaken(outcome.takenIndexes);
      if (!('repeatedUserIds' in outcome)) return outcome;
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
          write: async (change) => orThrow(await write(updates, update, change, change.id, signal)),
        });
      return readsFirst(request) ? readingUpdates.run(request.id, run, signal) : run();
    },

    async deleteUser({ id, version, allowMissing }, signal) {
      const outcome = await write(deletions, remove, { id, version }, id, signal);
      if (!(allowMissing && outcome === 'USER_NOT_FOUND')) orThrow(outcome);
    },

    listUsers: (request, signal) => lists.run('', () => listPage(database, pageTokens, request, signal), signal),

    importUsers: (parts, signal) => sessions.run('', () => importUsers(database, imports, parts, signal), signal),

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
