/** Finds users by id or email. Lookups of single users share statements. BatchGetUsers runs its own. */
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { userNotFound } from '../model/fault.js';
import type { StoredUser } from '../model/stored-user.js';
import { selectUsers, selectUsersByEmail } from '../store/find-users.js';
import { type BatcherLimits, createCallBatcher } from './call-batcher.js';
import { type ConnectionBudget, limitConnections } from './connection-budget.js';

export interface UserReads {
  /** Throws USER_NOT_FOUND. */
  getUser(id: string, signal: AbortSignal): Promise<StoredUser>;
  /** Throws USER_NOT_FOUND. */
  getUserByEmail(email: string, signal: AbortSignal): Promise<StoredUser>;
  /** Returns the users in the order of the ids, with undefined for each id that no user has. */
  batchGetUsers(ids: readonly string[], signal: AbortSignal): Promise<(StoredUser | undefined)[]>;
}

export interface UserReadsOptions {
  readonly database: Database;
  readonly connections: ConnectionBudget;
  readonly batchCalls: Limiter;
  readonly limits: BatcherLimits;
}

// The maximum number of ids in one statement of a batch, so that single lookups run between its statements. With all
// 1000 ids in one statement, 16 clients that sent such batches raised GetUser's median to 100 ms.
const batchRowsMax = 200;

export function createUserReads({ database, connections, batchCalls, limits }: UserReadsOptions) {
  const statementsMax = connections.lookups;
  const lookups = limitConnections(database, connections.lookups);
  const byId = createCallBatcher<string, StoredUser | undefined>('get', limits, {
    run: (ids) => selectUsers(lookups, ids),
    statementsMax,
  });
  const byEmail = createCallBatcher<string, StoredUser | undefined>('get_by_email', limits, {
    run: (emails) => selectUsersByEmail(lookups, emails),
    statementsMax,
  });

  const calls: UserReads = {
    getUser: async (id, signal) => foundUser(await byId.submit(id, signal)),

    getUserByEmail: async (email, signal) => foundUser(await byEmail.submit(email, signal)),

    async batchGetUsers(ids, signal) {
      const users: (StoredUser | undefined)[] = [];
      if (ids.length === 0) return users;
      using _permit = await batchCalls.acquire('', signal);
      while (users.length < ids.length) {
        signal.throwIfAborted();
        users.push(...(await selectUsers(database, ids.slice(users.length, users.length + batchRowsMax))));
      }
      return users;
    },
  };
  return { calls, batchers: { get: byId, get_by_email: byEmail } };
}

/** Throws USER_NOT_FOUND. */
export function foundUser(user: StoredUser | undefined): StoredUser {
  if (user === undefined) throw userNotFound();
  return user;
}
