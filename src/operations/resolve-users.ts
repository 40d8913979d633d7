/**
 * Resolves a stream of requests for users in order, with several lookups in flight. The lookups of all streams share
 * statements. It reads no further requests while too many results are unread.
 */
import { unlessAborted } from '../concurrency/abort.js';
import { createBatcher } from '../concurrency/batcher.js';
import { createLimiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { isRetryable } from '../database/errors.js';
import type { ResolveUsersRequest } from '../model/requests.js';
import { copyOfRow, type StoredUser } from '../model/stored-user.js';
import { selectUsers, selectUsersByEmail } from '../store/find-users.js';
import { slowStatementMs } from './call-batcher.js';

export interface ResolvedUsers {
  request: ResolveUsersRequest;
  /** By index of the request's ids and emails; undefined if no user matches. */
  byId: readonly (StoredUser | undefined)[];
  byEmail: readonly (StoredUser | undefined)[];
}

export type LookUp = (request: ResolveUsersRequest, signal: AbortSignal) => Promise<ResolvedUsers>;

export interface Resolver {
  /**
   * Throws an error of `requests` after the results of earlier requests. `through` is called instead of `lookUp`, for
   * requests that other resolvers may serve.
   */
  resolve(
    requests: AsyncIterable<ResolveUsersRequest>,
    signal: AbortSignal,
    through?: LookUp,
  ): AsyncGenerator<ResolvedUsers, void>;
  /** Resolves one request. */
  readonly lookUp: LookUp;
  close(): Promise<void>;
}

// For each stream: enough that the database never waits for a network round trip.
const requestsAtOnceMax = 16;
// For each stream: no request is read while this many ids and emails are being looked up or wait to be sent.
const usersAtOnceMax = 2000;
// Ids or emails in one statement.
const statementRowsMax = 1000;
// A list with a smaller share of a statement's keys gets copies of its rows. Otherwise, a client that does not read its
// results would keep the rows of other streams in memory.
const uncopiedShareMin = 1 / 16;
// For all streams together. Further lookups wait.
const queuedMax = 1000;

export interface ResolverOptions {
  database: Database;
  /** Maximum number of statements in flight, for ids and for emails each. */
  statementsMax: number;
}

export function createResolver({ database, statementsMax }: ResolverOptions): Resolver {
  const byId = createLookups((ids) => selectUsers(database, ids), statementsMax);
  const byEmail = createLookups((emails) => selectUsersByEmail(database, emails), statementsMax);

  const lookUp: LookUp = async (request, signal) => {
    const [users, usersByEmail] = await Promise.all([
      byId.find(request.ids, signal),
      byEmail.find(request.emails, signal),
    ]);
    return { request, byId: users, byEmail: usersByEmail };
  };

  return {
    lookUp,

    async *resolve(requests, signal, through = lookUp) {
      const iterator = requests[Symbol.asyncIterator]();
      // In the order of the requests. If reading requests fails, the error is the last one.
      const results: { readonly promise: Promise<ResolvedUsers>; readonly usersMax: number }[] = [];
      let usersAtOnce = 0;
      let reading: Promise<void> | undefined;
      let ended = false;

      const add = (promise: Promise<ResolvedUsers>, usersMax: number) => {
        // It may fail before it is awaited.
        promise.catch(() => {});
        results.push({ promise, usersMax });
        usersAtOnce += usersMax;
      };
      const read = async () => {
        try {
          const { done, value } = await iterator.next();
          if (done) ended = true;
          else add(through(value, signal), value.ids.length + value.emails.length);
        } catch (error) {
          ended = true;
          add(Promise.reject(error), 0);
        }
        reading = undefined;
      };

      try {
        while (!ended || results.length > 0) {
          const hasRoom = results.length < requestsAtOnceMax && usersAtOnce < usersAtOnceMax;
          if (!ended && hasRoom) reading ??= read();
          const [next] = results;
          const pending = [next?.promise, reading].filter((promise) => promise !== undefined);
          const result = await unlessAborted(Promise.race(pending), signal);
          if (next === undefined || result === undefined) continue;
          results.shift();
          usersAtOnce -= next.usersMax;
          yield result;
        }
      } finally {
        iterator.return?.()?.catch(() => {});
      }
    },

    async close() {
      await Promise.all([byId.close(), byEmail.close()]);
    },
  };
}

/** Finds users by lists of ids or of emails. Several lists share a statement. */
function createLookups(
  select: (keys: readonly string[]) => Promise<(StoredUser | undefined)[]>,
  statementsMax: number,
): { find(keys: readonly string[], signal: AbortSignal): Promise<(StoredUser | undefined)[]>; close(): Promise<void> } {
  const batcher = createBatcher<readonly string[], (StoredUser | undefined)[]>({
    async run(lists) {
      const found = await select(lists.flat());
      let end = 0;
      return lists.map(({ length }) => {
        end += length;
        const users = found.slice(end - length, end);
        return length < uncopiedShareMin * found.length ? users.map((user) => user && copyOfRow(user)) : users;
      });
    },
    rowsOf: (keys) => keys.length,
    batchRowsMax: statementRowsMax,
    queueRowsMax: queuedMax,
    statementsMax,
    slowStatementMs,
    isRetryable,
  });
  // The batcher rejects calls while its queue is full. With this limiter, they wait instead.
  const limiter = createLimiter({ concurrencyMax: queuedMax, queuedMax: Number.POSITIVE_INFINITY });
  return {
    close: () => batcher.close(),
    find: async (keys, signal) =>
      keys.length === 0 ? [] : limiter.run('', () => batcher.submit(keys, signal), signal),
  };
}
