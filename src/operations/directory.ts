/**
 * The directory's operations, one method for each RPC of the user service. It connects them with each other and with
 * the limits that they share.
 *
 * Requests are already parsed. Every expected failure is a Fault.
 */
import { createLimiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import type { MayLag } from '../model/consistency-token.js';
import type { ImportPart, ImportReport } from '../model/import-request.js';
import { createChangePageTokens, createPageTokens } from '../model/page-token.js';
import type {
  ExportUsersRequest,
  ListUserChangesRequest,
  ListUsersRequest,
  ResolveUsersRequest,
  WatchUsersRequest,
} from '../model/requests.js';
import type { StoredUser } from '../model/stored-user.js';
import type { DirectoryIdentity } from '../store/identity.js';
import type { ListIndexLookup } from '../store/list-users.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { MetricSources } from '../telemetry/source-metrics.js';
import type { Tracing } from '../telemetry/tracing.js';
import { createChangeFeed } from './change-feed.js';
import { divideConnections } from './connection-budget.js';
import { createDirectoryReads, createServerShares, type DirectoryReads, type ServerShares } from './directory-reads.js';
import { createExportTokens, type ExportedUsers, type ExportOptions, exportUsers } from './export-users.js';
import { importUsers } from './import-users.js';
import { type ChangePage, changePage } from './list-changes.js';
import type { UserPage } from './list-page.js';
import { openOnReplica } from './replica-exports.js';
import { createReadRouter, type ReadRouter } from './replica-reads.js';
import type { Replicas } from './replicas.js';
import type { ResolvedUsers } from './resolve-users.js';
import { type WatchMessage, watchUsers } from './watch-users.js';
import { createWritePositions } from './write-positions.js';
import { createUserWrites, type UserWrites } from './write-users.js';

/** Reads that may use a replica with `mayLag`. Without it, they return the current state. */
export interface LaggingReads {
  /** Throws USER_NOT_FOUND. */
  getUser(id: string, signal: AbortSignal, mayLag?: MayLag): Promise<StoredUser>;
  /** Throws USER_NOT_FOUND. */
  getUserByEmail(email: string, signal: AbortSignal, mayLag?: MayLag): Promise<StoredUser>;
  /** Returns the users in the order of the ids, with undefined for each id that no user has. */
  batchGetUsers(ids: readonly string[], signal: AbortSignal, mayLag?: MayLag): Promise<(StoredUser | undefined)[]>;
  /** Throws INVALID_PAGE_TOKEN. */
  listUsers(request: ListUsersRequest, signal: AbortSignal, mayLag?: MayLag): Promise<UserPage>;
  /** Yields results in the order of the requests, and then throws the error of `requests`, if there is one. */
  resolveUsers(
    requests: AsyncIterable<ResolveUsersRequest>,
    signal: AbortSignal,
    mayLag?: MayLag,
  ): AsyncGenerator<ResolvedUsers, void, undefined>;
}

/** `signal` is aborted when the call is cancelled or its deadline has passed. */
export interface Directory extends LaggingReads, UserWrites {
  /** Throws INVALID_PAGE_TOKEN. */
  listUserChanges(request: ListUserChangesRequest, signal: AbortSignal): Promise<ChangePage>;
  /** Writes at the end of `parts`, or not at all. Throws IMPORT_INCOMPLETE, and the errors of `parts`. */
  importUsers(parts: AsyncIterable<ImportPart>, signal: AbortSignal, author?: ChangeAuthor): Promise<ImportReport>;
  /** Runs until the signal is aborted. Throws RESUME_TOKEN_EXPIRED. */
  watchUsers(request: WatchUsersRequest, signal: AbortSignal): AsyncGenerator<WatchMessage, void, undefined>;
  /** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD. */
  exportUsers(request: ExportUsersRequest, signal: AbortSignal): AsyncGenerator<ExportedUsers, void, undefined>;
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
  /** Set if reads may use replicas. The directory closes it. */
  readonly replicas?: Replicas<DirectoryReads> | undefined;
  /** Throws if a read on the primary would only wait, because the primary cannot be reached. */
  requirePrimary?(): void;
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

export function createDirectory(options: DirectoryOptions): Directory {
  const { database, identity, indexes, batchRowsMax, queueRowsMax, replicas, metrics, tracing } = options;
  const connections = divideConnections(database.connectionsMax);
  const limits = { batchRowsMax, queueRowsMax, metrics, tracing };
  const { secret } = identity;
  const pageTokens = createPageTokens(secret);
  const readsOf = (server: Database, shares: ServerShares) =>
    createDirectoryReads({ database: server, shares, limits, indexes, pageTokens });
  const shares = createServerShares(database, connections, queueRowsMax);
  const { lists, batchCalls, streamReads } = shares;
  const reads = readsOf(database, shares);
  replicas?.begin((replica) => readsOf(replica, createServerShares(replica, connections, queueRowsMax)));
  const requirePrimary = options.requirePrimary ?? (() => {});
  const router = replicas && createReadRouter({ primary: reads, replicas, requirePrimary });

  const { feed, notifyWatchers } = createFeed(streamReads, options);
  const runWrite = replicas && createWritePositions(database, replicas.tokens.tokenOf);
  const writes = createUserWrites({
    ...{ database, connections, batchCalls, limits, secret, runWrite },
    reads,
    onWritten: notifyWatchers,
  });
  const batchers = { ...reads.batchers, ...writes.batchers };
  metrics?.observe({ queues: { ...batchers, ...sumOfQueues(reads, replicas) }, feed });
  if (replicas && router) metrics?.observe({ replicas: { status: replicas.status, reads: router.counts } });

  const { connectionsMax, stallTimeoutMs, snapshotTimeoutMs } = options.streams;
  // These use separate connections outside the pool.
  const sessions = createLimiter({ concurrencyMax: connectionsMax, queuedMax: queueRowsMax });
  const catchUps = createLimiter({ concurrencyMax: connections.streams, queuedMax: queueRowsMax });
  const imports = { stallTimeoutMs, onWritten: notifyWatchers, metrics };
  const exports = {
    ...{ database: streamReads, tokens: createExportTokens(secret), sessions, snapshotTimeoutMs },
    openOnReplica: replicas && router && createReplicaExports(streamReads, replicas, router),
  } satisfies ExportOptions;
  const watches = { database: streamReads, feed, sessions, catchUps, snapshotTimeoutMs };
  const changePageTokens = createChangePageTokens(secret);

  return {
    ...laggingReads(reads, router),
    ...writes.calls,
    async listUserChanges(request, signal) {
      requirePrimary();
      return lists.run('', () => changePage(database, changePageTokens, request), signal);
    },
    async importUsers(parts, signal, author) {
      const importing = (to: Database) => importUsers(to, imports, parts, signal, author);
      return sessions.run(
        '',
        () => (runWrite === undefined ? importing(database) : runWrite([{ author }], importing)),
        signal,
      );
    },
    watchUsers(request, signal) {
      requirePrimary();
      return watchUsers(watches, request, signal);
    },
    exportUsers(request, signal) {
      requirePrimary();
      return exportUsers(exports, request, signal);
    },
    async close() {
      await Promise.all([...Object.values(writes.batchers), reads, feed, replicas].map((part) => part?.close()));
    },
  };
}

function createReplicaExports(
  primary: Database,
  replicas: Replicas<DirectoryReads>,
  { counts }: ReadRouter,
): ExportOptions['openOnReplica'] {
  return (query, signal) => openOnReplica({ primary, replicas, counts }, query, signal);
}

function createFeed(database: Database, { onError, siblings }: DirectoryOptions) {
  const feed = createChangeFeed({ database, onError, onWatched: siblings?.notifyWatched });
  siblings?.onWrite(() => feed.wake());
  /** Notifies the watchers of all processes immediately, instead of at the next poll. */
  const notifyWatchers = () => {
    feed.wake();
    siblings?.notifyWrite();
  };
  return { feed, notifyWatchers };
}

/** The reads of the directory. `router` sends them to replicas. */
function laggingReads(reads: DirectoryReads, router: ReadRouter | undefined): LaggingReads {
  const { getUser, getUserByEmail, batchGetUsers, listUsers, resolver } = reads;
  if (router === undefined) {
    const resolveUsers: LaggingReads['resolveUsers'] = (requests, signal) => resolver.resolve(requests, signal);
    return { getUser, getUserByEmail, batchGetUsers, listUsers, resolveUsers };
  }
  const { route } = router;
  return {
    getUser: (id, signal, mayLag) => route(mayLag, signal, (from) => from.getUser(id, signal)),
    getUserByEmail: (email, signal, mayLag) => route(mayLag, signal, (from) => from.getUserByEmail(email, signal)),
    batchGetUsers: (ids, signal, mayLag) => route(mayLag, signal, (from) => from.batchGetUsers(ids, signal)),
    listUsers: (request, signal, mayLag) => route(mayLag, signal, (from) => from.listUsers(request, signal)),
    resolveUsers: (requests, signal, mayLag) =>
      resolver.resolve(requests, signal, (request, ofRequest) =>
        route(mayLag, ofRequest, (from) => from.resolver.lookUp(request, ofRequest)),
      ),
  };
}

/** The lookups of all servers together, by statement. */
function sumOfQueues(primary: DirectoryReads, replicas: Replicas<DirectoryReads> | undefined): MetricSources['queues'] {
  if (replicas === undefined) return {};
  const statements = Object.keys(primary.batchers) as (keyof DirectoryReads['batchers'])[];
  const sum = (count: 'queued' | 'inFlight', statement: keyof DirectoryReads['batchers']) =>
    [primary, ...replicas.all()].reduce((total, { batchers }) => total + batchers[statement][count], 0);
  return Object.fromEntries(
    statements.map((statement) => [
      statement,
      {
        get queued() {
          return sum('queued', statement);
        },
        get inFlight() {
          return sum('inFlight', statement);
        },
      },
    ]),
  );
}
