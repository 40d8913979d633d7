/**
 * Answers a stream of requests for users, in their order, while later ones are being looked up; the lookups of all
 * streams share statements.
 *
 * It takes no more requests than it may hold answers for, so a caller who does not read is not read from.
 */
import type { ResolveUsersRequest } from '../model/requests.js';
import type { User } from '../model/user.js';
import type { Database } from '../store/database.js';
import { mayRunAgain } from '../store/faults.js';
import { selectUsers, selectUsersByEmail } from '../store/users.js';
import { createBatcher } from './batcher.js';
import { createTurns } from './turns.js';

export interface ResolvedUsers {
  request: ResolveUsersRequest;
  /** By index of the request's ids and emails; undefined for one who is missing. */
  byId: readonly (User | undefined)[];
  byEmail: readonly (User | undefined)[];
}

export interface Resolver {
  /** Throws what `requests` throws, after the answers to those before. */
  resolve(requests: AsyncIterable<ResolveUsersRequest>, signal: AbortSignal): AsyncGenerator<ResolvedUsers, void>;
  close(): Promise<void>;
}

// Of one stream: enough that the database never waits for the network's way there and back.
const requestsAtOnceMax = 16;
// Of one stream, ids and emails: no other request is taken while so many users are looked up or wait to be sent.
const usersAtOnceMax = 2000;
// Ids or emails in one statement.
const statementRowsMax = 1000;
// Of all streams together; whoever has more waits.
const queuedMax = 1000;
// As in directory.ts.
const patienceMs = 50;

export interface ResolverOptions {
  database: Database;
  /** Of each of the two kinds, at once. */
  statementsMax: number;
}

export function createResolver({ database, statementsMax }: ResolverOptions): Resolver {
  const byId = createLookups((ids) => selectUsers(database, ids), statementsMax);
  const byEmail = createLookups((emails) => selectUsersByEmail(database, emails), statementsMax);

  async function answer(request: ResolveUsersRequest, signal: AbortSignal): Promise<ResolvedUsers> {
    const [users, usersByEmail] = await Promise.all([
      byId.find(request.ids, signal),
      byEmail.find(request.emails, signal),
    ]);
    return { request, byId: users, byEmail: usersByEmail };
  }

  return {
    async *resolve(requests, signal) {
      const iterator = requests[Symbol.asyncIterator]();
      // In the order of the requests. How these ended, where that was badly, is one of them.
      const answers: { readonly promise: Promise<ResolvedUsers>; readonly usersMax: number }[] = [];
      let usersAtOnce = 0;
      let reading: Promise<void> | undefined;
      let ended = false;

      const add = (promise: Promise<ResolvedUsers>, usersMax: number) => {
        // It may fail before its turn comes.
        promise.catch(() => {});
        answers.push({ promise, usersMax });
        usersAtOnce += usersMax;
      };
      const read = async () => {
        try {
          const { done, value } = await iterator.next();
          if (done) ended = true;
          else add(answer(value, signal), value.ids.length + value.emails.length);
        } catch (error) {
          ended = true;
          add(Promise.reject(error), 0);
        }
        reading = undefined;
      };

      try {
        while (!ended || answers.length > 0) {
          const hasRoom = answers.length < requestsAtOnceMax && usersAtOnce < usersAtOnceMax;
          if (!ended && hasRoom) reading ??= read();
          const [next] = answers;
          const answered = await firstOf(next?.promise, reading, signal);
          if (next === undefined || answered === undefined) continue;
          answers.shift();
          usersAtOnce -= next.usersMax;
          yield answered;
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

/** Finds users by lists of ids, or of emails; several lists go into one statement. */
function createLookups(
  select: (keys: readonly string[]) => Promise<(User | undefined)[]>,
  statementsMax: number,
): { find(keys: readonly string[], signal: AbortSignal): Promise<(User | undefined)[]>; close(): Promise<void> } {
  const batcher = createBatcher<readonly string[], (User | undefined)[]>({
    async run(lists) {
      const found = await select(lists.flat());
      let end = 0;
      return lists.map(({ length }) => {
        end += length;
        return found.slice(end - length, end);
      });
    },
    rowsOf: (keys) => keys.length,
    batchRowsMax: statementRowsMax,
    queueRowsMax: queuedMax,
    statementsMax,
    patienceMs,
    mayRunAgain,
  });
  // The queue refuses what is too much; here that waits.
  const turns = createTurns({ atOnceMax: queuedMax, waitingMax: Number.POSITIVE_INFINITY });
  return {
    close: () => batcher.close(),
    find: async (keys, signal) => (keys.length === 0 ? [] : turns.take('', () => batcher.submit(keys, signal), signal)),
  };
}

/** What `answer` gives, or undefined where `reading` ends before. Rejects with the signal's reason once that is aborted. */
function firstOf<T>(
  answer: Promise<T> | undefined,
  reading: Promise<void> | undefined,
  signal: AbortSignal,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    // Not Promise.race with a promise for the signal, which would keep something of every message while the stream lasts.
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', abort);
      settle();
    };
    answer?.then(
      (value) => end(() => resolve(value)),
      (error) => end(() => reject(error)),
    );
    reading?.then(() => end(() => resolve(undefined)));
  });
}
