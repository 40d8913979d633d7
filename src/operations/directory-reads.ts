/** The reads of one server, the primary or a replica. They share its connections, and none with another server. */
import { createLimiter, type Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import type { PageTokens } from '../model/page-token.js';
import type { ListUsersRequest } from '../model/requests.js';
import { type ListIndexLookup, readsTable } from '../store/list-users.js';
import type { BatcherLimits } from './call-batcher.js';
import { type ConnectionBudget, limitConnections } from './connection-budget.js';
import { listPage, type UserPage } from './list-page.js';
import { createUserReads, type UserReads } from './read-users.js';
import type { ServerReads } from './replica.js';
import { createResolver, type Resolver } from './resolve-users.js';

export interface DirectoryReads extends UserReads, ServerReads {
  /** Throws INVALID_PAGE_TOKEN. */
  listUsers(request: ListUsersRequest, signal: AbortSignal): Promise<UserPage>;
  readonly resolver: Resolver;
  readonly database: Database;
  readonly batchers: ReturnType<typeof createUserReads>['batchers'];
}

/** The limits of the calls of one server. Writes and streams share some of them. */
export interface ServerShares {
  readonly connections: ConnectionBudget;
  readonly batchCalls: Limiter;
  readonly lists: Limiter;
  readonly streamReads: Database;
}

export interface DirectoryReadsOptions {
  readonly database: Database;
  readonly shares: ServerShares;
  readonly limits: BatcherLimits;
  readonly indexes: ListIndexLookup;
  readonly pageTokens: PageTokens;
}

// A compromise. 64 clients paged through lists: with 100 ms, one call in a hundred waited 1.6 s, and the others 20 ms.
// With 500 ms, all calls with a deadline of 1 s failed under overload.
const newestFirstAfterMs = 250;

export function createServerShares(
  database: Database,
  connections: ConnectionBudget,
  queueRowsMax: number,
): ServerShares {
  const limiterOf = (concurrencyMax: number) =>
    createLimiter({ concurrencyMax, queuedMax: queueRowsMax, newestFirstAfterMs });
  return {
    connections,
    batchCalls: limiterOf(connections.batchCalls),
    lists: limiterOf(connections.lists),
    streamReads: limitConnections(database, connections.streams),
  };
}

export function createDirectoryReads(options: DirectoryReadsOptions): DirectoryReads {
  const { database, shares, limits, indexes, pageTokens } = options;
  const { connections, batchCalls, lists, streamReads } = shares;
  // Lists that sort or search all users leave a connection to the others.
  const slowListsMax = Math.max(1, connections.lists - 1);
  const queuedMax = limits.queueRowsMax;
  const slowLists = createLimiter({ concurrencyMax: slowListsMax, queuedMax, newestFirstAfterMs });
  const users = createUserReads({ database, connections, batchCalls, limits });
  const resolver = createResolver({ database: streamReads, statementsMax: connections.streams });

  return {
    ...users.calls,
    async listUsers(request, signal) {
      const list = () => lists.run('', () => listPage(database, indexes, pageTokens, request, signal), signal);
      return readsTable(request, indexes.known) ? slowLists.run('', list, signal) : list();
    },
    resolver,
    database,
    batchers: users.batchers,
    async close() {
      await Promise.all([...Object.values(users.batchers), resolver].map((part) => part.close()));
    },
  };
}
