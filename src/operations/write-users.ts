/** Creates, updates and deletes users. A call that repeats a request id returns the users of the first call. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createLimiter, type Limiter } from '../concurrency/limiter.js';
import { decodeStoredUser } from '../database/columns.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { userNotFound } from '../model/fault.js';
import type { BatchCreateUsersRequest, CreateUserRequest, DeleteUserRequest } from '../model/requests.js';
import type { AnyUser } from '../model/stored-user.js';
import type { UpdateUserRequest } from '../model/update-request.js';
import type { User } from '../model/user.js';
import { type DeletionOutcome, deleteUsers, type UserDeletion } from '../store/delete-users.js';
import { insertAllUsers } from '../store/insert-all-users.js';
import { type InsertOutcome, insertUsers, type NewUser } from '../store/insert-users.js';
import type { locked } from '../store/locking.js';
import { type UpdateOutcome, type UserUpdate, updateUsers } from '../store/update-users.js';
import type { BatcherLimits } from './call-batcher.js';
import type { ConnectionBudget } from './connection-budget.js';
import { createContendedWrites } from './contended-write.js';
import { foundUser, type UserReads } from './read-users.js';
import { emailsTaken, orThrow } from './refusals.js';
import { createRequestKeys } from './request-keys.js';
import { readsFirst, updateUser } from './update-user.js';
import { createRowIds, createUserId } from './user-ids.js';
import type { Authored, RunWrite } from './write-positions.js';

/** Without an author, the change log does not say who made a change. */
export interface UserWrites {
  /** Throws EMAIL_TAKEN, REQUEST_ID_REUSED, and USER_NOT_FOUND if the user of a repeated call was deleted since. */
  createUser(request: CreateUserRequest, signal: AbortSignal, author?: ChangeAuthor): Promise<User>;
  /** Throws EMAIL_TAKEN with a violation for each taken email, REQUEST_ID_REUSED, USER_NOT_FOUND. */
  batchCreateUsers(request: BatchCreateUsersRequest, signal: AbortSignal, author?: ChangeAuthor): Promise<AnyUser[]>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN, INVALID_FIELD. */
  updateUser(request: UpdateUserRequest, signal: AbortSignal, author?: ChangeAuthor): Promise<User>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH. */
  deleteUser(request: DeleteUserRequest, signal: AbortSignal, author?: ChangeAuthor): Promise<void>;
}

export interface UserWritesOptions {
  readonly database: Database;
  readonly connections: ConnectionBudget;
  readonly batchCalls: Limiter;
  readonly limits: BatcherLimits;
  /** Keys the digests of requests. */
  readonly secret: Buffer;
  readonly reads: UserReads;
  /** Called after each commit. */
  onWritten(): void;
  /** Runs each write, if callers get consistency tokens. */
  readonly runWrite?: RunWrite | undefined;
}

export function createUserWrites(options: UserWritesOptions) {
  const { database, reads, batchCalls, limits, onWritten, runWrite } = options;
  const requestKeys = createRequestKeys(options.secret);
  const contendedWrite = createContendedWrites(options.connections, limits);
  // Updates of one user that read it first run one at a time. Otherwise, all but one would fail and read it again.
  const readingUpdates = createLimiter({ concurrencyMax: 1, queuedMax: limits.queueRowsMax });

  async function written<T>(rows: readonly Authored[], write: (to: Database) => Promise<T>): Promise<T> {
    const outcome = await (runWrite === undefined ? write(database) : runWrite(rows, write));
    onWritten();
    return outcome;
  }

  const creates = contendedWrite<NewUser, Exclude<InsertOutcome, typeof locked>>({
    name: 'create',
    run: (users, locking) => written(users, (to) => insertUsers(to, users, locking)),
    keyOf: ({ request }) => request?.id,
    lockOf: ({ fields }) => fields.email.toLowerCase(),
  });
  const updates = contendedWrite<UserUpdate, Exclude<UpdateOutcome, typeof locked>>({
    name: 'update',
    run: (changes, locking) => written(changes, (to) => updateUsers(to, changes, locking)),
    keyOf: ({ id }) => id,
    lockOf: ({ id }) => id,
  });
  const deletions = contendedWrite<UserDeletion, Exclude<DeletionOutcome, typeof locked>>({
    name: 'delete',
    run: (users, locking) => written(users, (to) => deleteUsers(to, users, locking)),
    keyOf: ({ id }) => id,
    lockOf: ({ id }) => id,
  });

  const calls: UserWrites = {
    async createUser({ fields, requestId }, signal, author) {
      const request = requestId === undefined ? undefined : requestKeys.keyOf(requestId, [fields]);
      const id = createUserId();
      author?.onUsers?.([id]);
      const outcome = await creates.write({ id, fields, request, author }, signal);
      if (typeof outcome !== 'string' && !('repeatedUserIds' in outcome)) return outcome;
      author?.onUsers?.([]);
      const [firstId] = orThrow(outcome).repeatedUserIds;
      if (firstId === undefined) throw userNotFound();
      return decodeStoredUser(await reads.getUser(firstId, signal));
    },

    async batchCreateUsers({ users, requestId }, signal, author) {
      if (users.length === 0) return [];
      const request = requestId === undefined ? undefined : requestKeys.keyOf(requestId, users);
      // The digest of a large batch takes about as long as its statement. Other calls run between the two.
      if (request !== undefined) await nextTurn();
      const idOf = createRowIds();
      const rows = users.map((fields, row) => ({ id: idOf(row), fields }));
      const insertAll = () => written([{ author }], (to) => insertAllUsers(to, rows, request, author));
      author?.onUsers?.(rows.map(({ id }) => id));
      const outcome = await batchCalls.run('', insertAll, signal);
      if (Array.isArray(outcome)) return outcome;
      author?.onUsers?.([]);
      const refusal = orThrow(outcome);
      if ('takenIndexes' in refusal) throw emailsTaken(refusal.takenIndexes);
      return (await reads.batchGetUsers(refusal.repeatedUserIds, signal)).map(foundUser);
    },

    async updateUser(request, signal, author) {
      author?.onUsers?.([request.id]);
      const run = () =>
        updateUser(request, {
          read: async (id) => decodeStoredUser(await reads.getUser(id, signal)),
          write: async (change) => orThrow(await updates.write({ ...change, author }, signal)),
        });
      return readsFirst(request) ? readingUpdates.run(request.id, run, signal) : run();
    },

    async deleteUser({ id, version, updateTime, allowMissing }, signal, author) {
      author?.onUsers?.([id]);
      const outcome = await deletions.write({ id, version, updateTime, author }, signal);
      if (!(allowMissing && outcome === 'USER_NOT_FOUND')) orThrow(outcome);
    },
  };
  const batchers = { create: creates.batcher, update: updates.batcher, delete: deletions.batcher };
  return { calls, batchers };
}
