/**
 * Starts all parts of Roster, for production, tests and benchmarks, and closes them in reverse order.
 */
import { readFile } from 'node:fs/promises';
import { unlessAborted } from './concurrency/abort.js';
import { type Cleanups, createCleanups } from './concurrency/cleanups.js';
import { createLimiter } from './concurrency/limiter.js';
import type { ServerConfig } from './config/parse.js';
import { readTls } from './config/tls.js';
import { type Database, openDatabase } from './database/database.js';
import { explained } from './database/explain.js';
import { type MigrationResult, migrateDown, migrateUp, migrationStatus } from './database/migrate.js';
import { migrations } from './database/migrations.js';
import { explaining, findDatabase, logDatabase, type PreparedDatabase, whenUsable } from './find-database.js';
import { callRecorder } from './gateway/call-recorder.js';
import { createGateway } from './gateway/gateway.js';
import type { HttpServer } from './gateway/http.js';
import { httpAddressOf, openHttp } from './gateway/open-http.js';
import { descriptorsPath, loadOwnFiles } from './gateway/own-files.js';
import { reloadTls } from './gateway/reload-tls.js';
import type { ServedParts } from './gateway/router.js';
import { createByteBudget } from './grpc-server/byte-budget.js';
import { openReplicas } from './open-replicas.js';
import { changeIndexes, type IndexChange } from './operations/change-indexes.js';
import { createDirectory, type Directory, type Siblings } from './operations/directory.js';
import type { DirectoryReads } from './operations/directory-reads.js';
import { startHousekeeping } from './operations/housekeeping.js';
import { startIndexKeeper } from './operations/index-keeper.js';
import type { Replicas } from './operations/replicas.js';
import { createTableSizes } from './operations/table-sizes.js';
import { startTimelineLog, type TimelineLog } from './operations/timeline-log.js';
import type { Serving } from './rpc/health-service.js';
import { type RpcServer, startServer } from './rpc/server.js';
import { createServingState, type ServingState } from './serving-state.js';
import { logAccess, signInOf, startAccess } from './start-access.js';
import { startHostWatch } from './start-host-watch.js';
import { checkSessions, type DirectoryIdentity, readIdentity } from './store/identity.js';
import {
  forbiddenBuilds,
  type ListIndexName,
  type ListIndexStatus,
  listIndexes,
  readListIndexStatus,
} from './store/list-indexes.js';
import { renewChangeFeed } from './store/trim-changes.js';
import { type AuditLog, type AuditTarget, openAuditLog } from './telemetry/audit-log.js';
import { keepHealthFile } from './telemetry/health-file.js';
import type { LogDestination } from './telemetry/line-writer.js';
import { createLog, type Log } from './telemetry/log.js';
import { createMetrics, type Metrics, metricsText } from './telemetry/metrics.js';
import { startOtlp } from './telemetry/start-otlp.js';
import type { Tracing } from './telemetry/tracing.js';

export interface App {
  readonly log: Log;
  /** Where gRPC listens. If port 0 was configured, this is the chosen port. */
  readonly grpc: { readonly host: string; readonly port: number };
  /** Where HTTP listens. Undefined if its default address is in use. */
  readonly http?: { readonly host: string; readonly port: number };
  /** Replaces the worker processes one after the other, if there are several. */
  restart(): void;
  /** Lets calls in flight finish, then closes everything, the database last. May be called twice. */
  close(options?: CloseOptions): Promise<void>;
  /** Ends everything immediately, without waiting for calls. */
  kill(): void;
}

export interface CloseOptions {
  /** How long health reports NOT_SERVING first. The default is the configuration's. */
  readonly delayMs?: number;
}

export interface StartOptions {
  /** Aborts the start. */
  signal?: AbortSignal;
  /** Where the log goes instead of the standard output. */
  logTo?: LogDestination;
}

/** Starts everything in one process. Resolves when calls are served. */
export async function startApp(config: ServerConfig, { signal, logTo }: StartOptions = {}): Promise<App> {
  const log = createLog({ ...config.log, destination: logTo });
  for (const warning of config.warnings) log.warn({}, warning);
  logAccess(config, log);
  const metrics = createMetrics();
  const otlp = await startOtlp(config.otlp, { log, metrics });
  let serving: Serving = 'nothing';
  const http = await openHttp(config, log, {
    text: async () => metricsText([await metrics.snapshot()]),
    serving: () => serving,
  });
  try {
    const database = await prepareDatabase(config, { log, metrics, signal });
    const onServing = (now: Serving) => {
      serving = now;
    };
    const app = await startServing(config, {
      log,
      metrics,
      tracing: otlp.tracing,
      database,
      signal,
      onServing,
      async openHttp(parts) {
        http?.serve(parts);
        return http;
      },
    });
    return {
      ...app,
      http: httpAddressOf(config, http),
      close: (options) => app.close(options).finally(() => Promise.all([http?.close(), otlp.close()])),
    };
  } catch (error) {
    await http?.close();
    throw error;
  }
}

/** Finds the database or starts it, and applies migrations. */
export async function prepareDatabase(
  config: ServerConfig,
  { log, metrics, signal }: Pick<ServingOptions, 'log' | 'metrics' | 'signal'>,
): Promise<PreparedDatabase> {
  const database = await findDatabase(config, log, signal);
  logDatabase(log, database);
  try {
    const { changed } = await whenUsable({ log, metrics, signal }, () =>
      explaining(config, database, (options) => migrateUp(options, migrations, config.auth.isRequired)),
    );
    for (const migration of changed) log.info({ migration }, 'migrated');
    signal?.throwIfAborted();
    return database;
  } catch (error) {
    await database.embedded?.stop().catch((cause: unknown) => logFailedCleanup(log, cause));
    throw error;
  }
}

export interface ServingOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tracing?: Tracing;
  readonly database: PreparedDatabase;
  /** Also serves calls over HTTP. Its implementer closes the returned server. */
  openHttp(parts: ServedParts): Promise<HttpServer | undefined>;
  readonly signal?: AbortSignal;
  readonly siblings?: Siblings;
  /** Called when the server starts or stops serving calls, or a kind of calls. */
  onServing?(serving: Serving): void;
}

/** Starts everything except the database. If there are several workers, each of them does this. */
export async function startServing(config: ServerConfig, options: ServingOptions): Promise<App> {
  const { log, database: prepared, signal } = options;
  const { url, embedded } = prepared;
  const cleanups = createCleanups(() => log.warn({}, 'the database did not respond in time; exiting without it'));
  if (embedded !== undefined) cleanups.add(() => embedded.stop());
  try {
    const state = createServingState(log);
    const opened = await openDirectory(config, { ...options, state }, cleanups).catch((error: unknown) => {
      throw explained(error, url);
    });
    const { server, http } = await startServers(config, options, opened, cleanups);
    let closing: Promise<void> | undefined;
    let { delayMs } = config.shutdown;
    let serving: Serving = 'nothing';
    const onServing = (now: Serving) => {
      serving = now;
      options.onServing?.(now);
    };
    onServing('all');
    const watch = state.watch(prepared, {
      ...opened,
      metrics: options.metrics,
      onChange(now) {
        server.setServing(now);
        if (closing === undefined) onServing(now);
      },
    });
    cleanups.addWithDeadline(() => watch.close());
    const onDelayed = async () => http?.stopAccepting();
    cleanups.add(() => server.close({ delayMs, timeoutMs: config.shutdown.timeoutMs, onDelayed }));
    cleanups.add(keepHealthFile(config.healthFile, () => serving !== 'nothing', log));
    signal?.throwIfAborted();

    return {
      log,
      grpc: { host: config.grpc.address.host, port: server.port },
      restart() {
        log.warn({}, 'not restarting, because WORKERS is 1 and there is only this process');
      },
      close(closeOptions) {
        closing ??= (async () => {
          log.info({}, 'stopping');
          onServing('nothing');
          delayMs = closeOptions?.delayMs ?? delayMs;
          await cleanups.run(delayMs + config.shutdown.timeoutMs);
          log.info({}, 'stopped');
        })();
        return closing;
      },
      kill() {
        server.kill();
        embedded?.kill();
      },
    };
  } catch (error) {
    await cleanups.run().catch((cause: unknown) => logFailedCleanup(log, cause));
    throw error;
  }
}

interface OpenDirectory {
  readonly database: Database;
  readonly directory: Directory;
  readonly identity: DirectoryIdentity;
  readonly timelines: TimelineLog;
  readonly replicas: Replicas<DirectoryReads> | undefined;
}

/** Connects to the database, and starts the directory and its housekeeping. */
async function openDirectory(
  config: ServerConfig,
  { log, metrics, tracing, database: prepared, signal, siblings, state }: ServingOptions & { state: ServingState },
  cleanups: Cleanups,
): Promise<OpenDirectory> {
  // The database is already usable, but a worker or a pooler at DATABASE_URL may connect later than the migrations did.
  const database = await whenUsable({ log, metrics, signal }, () => explaining(config, prepared, openDatabase));
  cleanups.addWithDeadline(() => database.close());
  metrics.observe({ connections: () => database.connections() });
  if (await renewChangeFeed(database)) {
    log.warn({}, 'the database was restored from a dump, or cloned: its watchers start over');
  }
  const timelines = await startTimelineLog(database, log);
  cleanups.addWithDeadline(() => timelines.close());
  if (config.database.directUrl !== undefined) {
    await checkSessions(database, signal ?? new AbortController().signal);
  }
  const identity = await readIdentity(database);
  // Only one connection is for background work.
  const background = createLimiter({ concurrencyMax: 1, queuedMax: Number.POSITIVE_INFINITY });
  const indexes = startIndexKeeper({
    database,
    mode: config.listIndexes,
    background,
    onError: (error, { name }) => log.warn({ index: name, error }, 'could not build an index for lists'),
    onBuilt: ({ name }) => log.info({ index: name }, 'built an index for lists'),
    onForbidden: ({ name }, reason) =>
      log.warn(
        { index: name, help: forbiddenBuilds[reason] },
        'lists are slow because Roster may not build their index',
      ),
  });
  const hostWatch = await startHostWatch(config, prepared, { database, log });
  cleanups.add(async () => hostWatch?.close());
  const replicas = await openReplicas(config, prepared, { database, log, onChange: state.update });
  const directory = createDirectory({
    database,
    identity,
    indexes,
    replicas,
    batchRowsMax: config.batch.rowsMax,
    queueRowsMax: config.batch.queueRowsMax,
    streams: config.streams,
    requirePrimary: state.requirePrimary,
    onError: (error) => log.error({ error }, 'the change log cannot be read'),
    siblings,
    metrics,
    tracing,
  });
  cleanups.addWithDeadline(() => directory.close());
  await replicas?.ready;
  const housekeeping = startHousekeeping({
    database,
    changes: config.changes,
    background,
    onError: (error) => log.warn({ error }, 'housekeeping failed'),
    onTrimBlocked({ kind, name, database, ageSeconds }) {
      const fields = { blocker: kind, name, database, ageSeconds: Math.round(ageSeconds) };
      log.warn(fields, 'an old transaction or replication slot keeps the change log from shrinking');
    },
  });
  const tables = createTableSizes(database, background);
  metrics.observe({ housekeeping, indexes, tables, timelines, ...(hostWatch && { hostWatch }) });
  const backgroundParts = [housekeeping, indexes, tables];
  cleanups.addWithDeadline(async () => void (await Promise.all(backgroundParts.map((part) => part.close()))));
  return { database, directory, identity, timelines, replicas };
}

/** Serves the directory over gRPC, and through a gateway also over HTTP. */
async function startServers(
  config: ServerConfig,
  { log, metrics, tracing, openHttp: serveHttp }: ServingOptions,
  { database, directory, identity }: OpenDirectory,
  cleanups: Cleanups,
): Promise<{ server: RpcServer; http: HttpServer | undefined }> {
  const descriptors = await readFile(descriptorsPath());
  const budget = createByteBudget(config.bufferedBytesMax);
  const tls = config.tls && (await readTls(config.tls));
  const audit = openAudit(config.auditLog, log, metrics, cleanups);
  const access = startAccess(config, { log, database, directory: identity, cleanups });
  const server = await startServer({
    directory,
    log,
    metrics,
    tracing,
    audit,
    grpc: config.grpc,
    stallTimeoutMs: config.streams.stallTimeoutMs,
    budget,
    access: access?.identity,
    openEndpoints: config.auth.openEndpoints,
    callerLimits: config.callers,
    tls,
    descriptors,
  });
  metrics.observe({ heldBytes: budget.held });
  let http: HttpServer | undefined;
  if (config.tls !== undefined && tls !== undefined) {
    const stop = reloadTls(config.tls, tls, { log, metrics, servers: () => [server, http] });
    cleanups.add(async () => stop());
  }
  if (config.http === undefined) return { server, http };
  const gateway = createGateway({
    descriptors,
    call: server.callInProcess,
    knowsCaller: server.knowsCaller,
    stallTimeoutMs: config.streams.stallTimeoutMs,
    budget,
    onUnforwarded: callRecorder(log, metrics),
    tracing,
    onError: (error) => log.error({ error }, 'the gateway has failed'),
  });
  cleanups.add(async () => gateway.close());
  const signIn = () => signInOf(access?.policy());
  http = await serveHttp({ gateway, files: await loadOwnFiles(), grpcPort: server.port, signIn });
  return { server, http };
}

function openAudit(target: AuditTarget, log: Log, metrics: Metrics, cleanups: Cleanups): AuditLog | undefined {
  const counts = { failures: 0 };
  const audit = openAuditLog(target, { log, onFailure: () => void counts.failures++ });
  if (audit === undefined) return undefined;
  metrics.observe({ auditLog: counts });
  cleanups.addWithDeadline(() => audit.close());
  return audit;
}

export function logFailedCleanup(log: Log, error: unknown): void {
  log.warn({ error }, 'could not clean up after a failed start');
}

/** Runs `roster migrate up`, `down` or `status` on the database that `roster serve` would use. */
export async function migrate(
  config: ServerConfig,
  direction: 'up' | 'down' | 'status',
  { signal, logTo }: StartOptions = {},
): Promise<MigrationResult> {
  const log = createLog({ ...config.log, destination: logTo });
  const found = await findDatabase(config, log, signal);
  try {
    const migrating = explaining(config, found, async (options) => {
      if (direction === 'up') return migrateUp(options);
      if (direction === 'down') return migrateDown(options);
      return { ...(await migrationStatus(options)), changed: [] };
    });
    // A migration that the end of the process interrupts is rolled back.
    return await unlessAborted(migrating, signal);
  } finally {
    await found.embedded?.stop();
  }
}

export const indexNames: readonly ListIndexName[] = listIndexes.map(({ name }) => name);

/** Runs `roster indexes` on the database that `roster serve` would use. Returns the state of all indexes for lists. */
export async function manageIndexes(
  config: ServerConfig,
  change: IndexChange | undefined,
  { signal, logTo }: StartOptions = {},
): Promise<ListIndexStatus[]> {
  const log = createLog({ ...config.log, destination: logTo });
  const found = await findDatabase(config, log, signal);
  try {
    return await explaining(config, found, async (options) => {
      const database = await unlessAborted(openDatabase(options), signal);
      try {
        if (change !== undefined) await changeIndexes(database, change, signal ?? new AbortController().signal);
        return await readListIndexStatus(database.run);
      } finally {
        await database.close();
      }
    });
  } finally {
    await found.embedded?.stop();
  }
}
