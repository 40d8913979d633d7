/**
 * Starts all parts of Roster, for production, tests and benchmarks, and closes them in reverse order.
 */
import { readFile } from 'node:fs/promises';
import { type Cleanups, createCleanups } from './concurrency/cleanups.js';
import { createLimiter } from './concurrency/limiter.js';
import type { ServerConfig } from './config/parse.js';
import { readTls } from './config/tls.js';
import { watchTls } from './config/tls-reload.js';
import { type Database, type DatabaseOptions, openDatabase } from './database/database.js';
import { watchDatabase } from './database/health.js';
import { type MigrationResult, migrateDown, migrateUp, migrationStatus } from './database/migrate.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres/cluster.js';
import { callRecorder } from './gateway/call-recorder.js';
import { createGateway } from './gateway/gateway.js';
import { type HttpServer, startHttp } from './gateway/http.js';
import { descriptorsPath, loadOwnFiles } from './gateway/own-files.js';
import type { ServedParts } from './gateway/router.js';
import { createByteBudget } from './grpc-server/byte-budget.js';
import { formatAddress } from './net/address.js';
import { ListenError } from './net/listen.js';
import { changeIndexes, type IndexChange } from './operations/change-indexes.js';
import { createDirectory, type Directory, type Siblings } from './operations/directory.js';
import { startHousekeeping } from './operations/housekeeping.js';
import { startIndexKeeper } from './operations/index-keeper.js';
import { type RpcServer, startServer } from './rpc/server.js';
import { checkSessions, readIdentity } from './store/identity.js';
import {
  forbiddenBuilds,
  type ListIndexName,
  type ListIndexStatus,
  listIndexes,
  readListIndexStatus,
} from './store/list-indexes.js';
import { renewChangeFeed } from './store/trim-changes.js';
import { keepHealthFile } from './telemetry/health-file.js';
import type { LogDestination } from './telemetry/line-writer.js';
import { createLog, type Log } from './telemetry/log.js';
import { createMetrics, type Metrics, metricsContentType, metricsText } from './telemetry/metrics.js';

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

/** A running database with this program's schema. */
export interface PreparedDatabase {
  /** Contains a password, so it must not be logged. */
  readonly url: string;
  /** Set if Roster started it. It must be stopped last. */
  readonly embedded?: EmbeddedPostgres;
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
  const metrics = createMetrics();
  let isServing = false;
  const http = await openHttp(config, log, {
    text: async () => metricsText([await metrics.snapshot()]),
    isReady: () => isServing,
  });
  try {
    const database = await prepareDatabase(config, log, signal);
    const onServing = (now: boolean) => {
      isServing = now;
    };
    const app = await startServing(config, {
      log,
      metrics,
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
      close: (options) => app.close(options).finally(() => http?.close()),
    };
  } catch (error) {
    await http?.close();
    throw error;
  }
}

/**
 * Starts HTTP. startApp() and startWorkers() do this first, so that probes get a response during the start. Returns
 * undefined if the default address is in use, so that a second Roster on a machine needs only its own port for gRPC.
 */
export async function openHttp(
  { http, tls }: ServerConfig,
  log: Log,
  { text, isReady, parts }: { text(): Promise<string>; isReady(): boolean; parts?: ServedParts },
): Promise<HttpServer | undefined> {
  if (http === undefined) return undefined;
  const { address, isDefault, corsOrigins } = http;
  try {
    return await startHttp({
      address,
      tls: tls && (await readTls(tls)),
      corsOrigins,
      metrics: { contentType: metricsContentType, text },
      isReady,
      parts,
      onError: (error) => log.error({ error }, 'HTTP has failed'),
    });
  } catch (error) {
    if (!isDefault || !(error instanceof ListenError)) throw error;
    const message =
      'the page, metrics and probes are not served over HTTP, because the default address is in use; set HTTP_ADDRESS (port 0 picks a free port)';
    log.warn({ address: formatAddress(address) }, message);
    return undefined;
  }
}

/** Finds the database or starts it, and applies migrations. */
export async function prepareDatabase(config: ServerConfig, log: Log, signal?: AbortSignal): Promise<PreparedDatabase> {
  const database = await findDatabase(config, log, signal);
  try {
    const { changed } = await migrateUp({ ...config.database, url: database.url });
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
  readonly database: PreparedDatabase;
  /** Also serves calls over HTTP. Its implementer closes the returned server. */
  openHttp(parts: ServedParts): Promise<HttpServer | undefined>;
  readonly signal?: AbortSignal;
  readonly siblings?: Siblings;
  /** Called when the server starts or stops serving calls. */
  onServing?(isServing: boolean): void;
}

/** Starts everything except the database. If there are several workers, each of them does this. */
export async function startServing(config: ServerConfig, options: ServingOptions): Promise<App> {
  const { log, database: prepared, signal } = options;
  const { url, embedded } = prepared;
  const cleanups = createCleanups(() => log.warn({}, 'the database did not respond in time; exiting without it'));
  if (embedded !== undefined) cleanups.add(() => embedded.stop());
  try {
    const { database, directory } = await openDirectory(config, options, cleanups);
    const { server, http } = await startServers(config, options, directory, cleanups);
    let closing: Promise<void> | undefined;
    let { delayMs } = config.shutdown;
    let isServing = false;
    const onServing = (now: boolean) => {
      isServing = now;
      options.onServing?.(now);
    };
    onServing(true);
    const watch = watchDatabase({
      url,
      onChange(isConnected, error) {
        server.setServing(isConnected);
        if (closing === undefined) onServing(isConnected);
        if (isConnected) log.info({}, 'connected to the database');
        else log.error({ error }, 'cannot reach the database');
      },
      onOutdated: (mode) => database.renewConnections(mode),
      restart: embedded && (() => embedded.ensureRunning()),
    });
    cleanups.addWithDeadline(() => watch.close());
    const onDelayed = async () => http?.stopAccepting();
    cleanups.add(() => server.close({ delayMs, timeoutMs: config.shutdown.timeoutMs, onDelayed }));
    cleanups.add(keepHealthFile(config.healthFile, () => isServing, log));
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
          onServing(false);
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

/** Connects to the database, and starts the directory and its housekeeping. */
async function openDirectory(
  config: ServerConfig,
  { log, metrics, database: { url }, signal, siblings }: ServingOptions,
  cleanups: Cleanups,
): Promise<{ database: Database; directory: Directory }> {
  const database = await openDatabase({ ...config.database, url });
  cleanups.addWithDeadline(() => database.close());
  metrics.observe({ connections: () => database.connections() });
  if (await renewChangeFeed(database)) {
    log.warn({}, 'the database was restored from a dump, or cloned: its watchers start over');
  }
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
  const directory = createDirectory({
    database,
    identity,
    indexes,
    batchRowsMax: config.batch.rowsMax,
    queueRowsMax: config.batch.queueRowsMax,
    streams: config.streams,
    onError: (error) => log.error({ error }, 'the change log cannot be read'),
    siblings,
    metrics,
  });
  cleanups.addWithDeadline(() => directory.close());
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
  metrics.observe({ housekeeping, indexes });
  cleanups.addWithDeadline(async () => void (await Promise.all([housekeeping.close(), indexes.close()])));
  return { database, directory };
}

/** Serves the directory over gRPC, and through a gateway also over HTTP. */
async function startServers(
  config: ServerConfig,
  { log, metrics, openHttp: serveHttp }: ServingOptions,
  directory: Directory,
  cleanups: Cleanups,
): Promise<{ server: RpcServer; http: HttpServer | undefined }> {
  const descriptors = await readFile(descriptorsPath());
  const budget = createByteBudget(config.bufferedBytesMax);
  const tls = config.tls && (await readTls(config.tls));
  const server = await startServer({
    directory,
    log,
    metrics,
    grpc: config.grpc,
    stallTimeoutMs: config.streams.stallTimeoutMs,
    budget,
    tls,
    descriptors,
  });
  let http: HttpServer | undefined;
  if (config.tls !== undefined && tls !== undefined) {
    const stop = watchTls(config.tls, tls, {
      onChange(renewed) {
        server.setTls(renewed);
        http?.setTls(renewed);
        log.info({}, 'new connections use the new certificate');
      },
      onError: (error) => log.warn({ error }, 'the files of TLS have changed, but cannot be used'),
    });
    cleanups.add(async () => stop());
  }
  if (config.http === undefined) return { server, http };
  const gateway = createGateway({
    descriptors,
    call: server.callInProcess,
    stallTimeoutMs: config.streams.stallTimeoutMs,
    budget,
    onUnforwarded: callRecorder(log, metrics),
    onError: (error) => log.error({ error }, 'the gateway has failed'),
  });
  cleanups.add(async () => gateway.close());
  http = await serveHttp({ gateway, files: await loadOwnFiles() });
  return { server, http };
}

/** The `http` of App. */
export function httpAddressOf({ http: wanted }: ServerConfig, http: HttpServer | undefined): App['http'] {
  return wanted && http && { host: wanted.address.host, port: http.port };
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
  const { url, embedded } = await findDatabase(config, log, signal);
  try {
    const options: DatabaseOptions = { ...config.database, url };
    if (direction === 'up') return await migrateUp(options);
    if (direction === 'down') return await migrateDown(options);
    return { ...(await migrationStatus(options)), changed: [] };
  } finally {
    await embedded?.stop();
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
  const { url, embedded } = await findDatabase(config, log, signal);
  try {
    const database = await openDatabase({ ...config.database, url });
    try {
      if (change !== undefined) await changeIndexes(database, change, signal ?? new AbortController().signal);
      return await readListIndexStatus(database.run);
    } finally {
      await database.close();
    }
  } finally {
    await embedded?.stop();
  }
}

async function findDatabase({ database }: ServerConfig, log: Log, signal?: AbortSignal): Promise<PreparedDatabase> {
  if (database.url !== undefined) return { url: database.url };
  const embedded = await startEmbeddedPostgres({
    dataDir: database.dataDir,
    log: (message) => log.info({}, message),
    signal,
  }).catch((error: unknown) => {
    // Ctrl-C also reaches initdb, so its failure may only be the interruption.
    signal?.throwIfAborted();
    throw error;
  });
  return { url: embedded.url, embedded };
}
