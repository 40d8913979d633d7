/**
 * The directory's operations, one method for each RPC of the user service. It connects them with each other and with
 * the limits that they share.
 *
 * Requests are already parsed. Every expected failure is a Fault.
 */
import { createLimiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import type { ImportPart, ImportReport } from '../model/import-request.js';
import { createChangePageTokens, createPageTokens } from '../model/page-token.js';
import type {
  ExportUsersRequest,
  ListUserChangesRequest,
  ListUsersRequest,
  ResolveUsersRequest,
  WatchUsersRequest,
} from '../model/requests.js';
import type { DirectoryIdentity } from '../store/identity.js';
import { type ListIndexLookup, readsTable } from '../store/list-users.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Tracing } from '../telemetry/tracing.js';
import { createChangeFeed } from './change-feed.js';
import { divideConnections, limitConnections } from './connection-budget.js';
import { createExportTokens, type ExportedUsers, exportUsers } from './export-users.js';
import { importUsers } from './import-users.js';
import { type ChangePage, changePage } from './list-changes.js';
import { listPage, type UserPage } from './list-page.js';
import { createUserReads, type UserReads } from './read-users.js';
import { createResolver, type ResolvedUsers } from './resolve-users.js';
import { type WatchMessage, watchUsers } from './watch-users.js';
import { createUserWrites, type UserWrites } from './write-users.js';

/** `signal` is aborted when the call is cancelled or its deadline has passed. */
export interface Directory extends UserReads, UserWrites {
  /** Throws INVALID_PAGE_TOKEN. */
  listUsers(request: ListUsersRequest, signal: AbortSignal): Promise<UserPage>;
  /** Throws INVALID_PAGE_TOKEN. */
  listUserChanges(request: ListUserChangesRequest, signal: AbortSignal): Promise<ChangePage>;
  /** Writes at the end of `parts`, or not at all. Throws IMPORT_INCOMPLETE, and the errors of `parts`. */
  importUsers(parts: AsyncIterable<ImportPart>, signal: AbortSignal, author?: ChangeAuthor): Promise<ImportReport>;
  /** Runs until the signal is aborted. Throws RESUME_TOKEN_EXPIRED. */
  watchUsers(request: WatchUsersRequest, signal: AbortSignal): AsyncGenerator<WatchMessage, void, undefined>;
  /** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD. */
  exportUsers(request: ExportUsersRequest, signal: AbortSignal): AsyncGenerator<ExportedUsers, void, undefined>;
  /** Yields results in the order of the requests, and then throws the error of `requests`, if there is one. */
  resolveUsers(
    requests: AsyncIterable<ResolveUsersRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ResolvedUsers, void, undefined>;
  /** Call this after the last call has ended. Resolves when all background work has ended. */
  close(): Promise<void>;
}

export interface DirectoryOptions {
  database: Database;
  identity: DirectoryIdentity;
  indexes: ListIndexLookup;
  batchRowsMax: number;
  queueRowsMax: number;
  streams: StreamLimits;
  /** Receives errors of background work. */
  onError(error: unknown): void;
  readonly siblings?: Siblings;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing;
}

/** Other processes on the same database, which are notified of writes faster than by the change log. */
export interface Siblings {
  /** Called with true when this process's first watcher starts, and with false when the last one ends. */
  notifyWatched(isWatched: boolean): void;
  /** Called after each commit, so it must be fast. */
  notifyWrite(): void;
  /** `listener` is called when other processes may have written. */
  onWrite(listener: () => void): void;
}

export interface StreamLimits {
  /** The maximum number of concurrent imports, exports and watches that start with existing users. */
  connectionsMax: number;
  stallTimeoutMs: number;
  snapshotTimeoutMs: number;
}

// A compromise. 64 clients paged through lists: with 100 ms, one call in a hundred waited 1.6 s, and the others 20 ms.
// With 500 ms, all calls with a deadline of 1 s failed under overload.
const newestFirstAfterMs = 250;

export function createDirectory(options: DirectoryOptions): Directory {
  const { database, identity, indexes, batchRowsMax, queueRowsMax, onError, siblings, metrics, tracing } = options;
  const connections = divideConnections(database.connectionsMax);
  const streamReads = limitConnections(database, connections.streams);
  const lists = createLimiter({ concurrencyMax: connections.lists, queuedMax: queueRowsMax, newestFirstAfterMs });
  // Lists that sort or search all users leave a connection to the others.
  const slowListsMax = Math.max(1, connections.lists - 1);
  const slowLists = createLimiter({ concurrencyMax: slowListsMax, queuedMax: queueRowsMax, newestFirstAfterMs });
  const batchCalls = createLimiter({
    concurrencyMax: connections.batchCalls,
    queuedMax: queueRowsMax,
    newestFirstAfterMs,
  });

  const feed = createChangeFeed({ database: streamReads, onError, onWatched: siblings?.notifyWatched });
  siblings?.onWrite(() => feed.wake());
  /** Notifies the watchers of all processes immediately, instead of at the next poll. */
  function notifyWatchers(): void {
    feed.wake();
    siblings?.notifyWrite();
  }

  const limits = { batchRowsMax, queueRowsMax, metrics, tracing };
  const reads = createUserReads({ database, connections, batchCalls, limits });
  const { secret } = identity;
  const writes = createUserWrites({
    database,
    connections,
    batchCalls,
    limits,
    secret,
    reads: reads.calls,
    onWritten: notifyWatchers,
  });
  const batchers = { ...reads.batchers, ...writes.batchers };
  metrics?.observe({ queues: batchers, feed });

  const { connectionsMax, stallTimeoutMs, snapshotTimeoutMs } = options.streams;
  // These use separate connections outside the pool.
  const sessions = createLimiter({ concurrencyMax: connectionsMax, queuedMax: queueRowsMax });
  const catchUps = createLimiter({ concurrencyMax: connections.streams, queuedMax: queueRowsMax });
  const imports = { stallTimeoutMs, onWritten: notifyWatchers, metrics };
  const exports = { database: streamReads, tokens: createExportTokens(secret), sessions, snapshotTimeoutMs };
  const watches = { database: streamReads, feed, sessions, catchUps, snapshotTimeoutMs };
  const resolver = createResolver({ database: streamReads, statementsMax: connections.streams });
  const pageTokens = createPageTokens(secret);
  const changePageTokens = createChangePageTokens(secret);

  return {
    ...reads.calls,
    ...writes.calls,
    async listUsers(request, signal) {
      const list = () => lists.run('', () => listPage(database, indexes, pageTokens, request, signal), signal);
      return readsTable(request, indexes.known) ? slowLists.run('', list, signal) : list();
    },
    listUserChanges: (request, signal) => lists.run('', () => changePage(database, changePageTokens, request), signal),
    importUsers: (parts, signal, author) =>
      sessions.run('', () => importUsers(database, imports, parts, signal, author), signal),
    watchUsers: (request, signal) => watchUsers(watches, request, signal),
    exportUsers: (request, signal) => exportUsers(exports, request, signal),
    resolveUsers: (requests, signal) => resolver.resolve(requests, signal),
    async close() {
      await Promise.all([...Object.values(batchers), resolver, feed].map((part) => part.close()));
    },
  };
}
