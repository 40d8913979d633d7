/**
 * The embedded Postgres: creates a cluster in a folder, runs it, and shares it between the processes that use the
 * folder. It listens only on this machine, never deletes data, and keeps running if Roster is killed.
 *
 * There is no lock file. Postgres itself prevents a second server in a folder. Each process that uses the server holds
 * a session with a shared advisory lock (the lease), which ends with the process. The last process to stop gets the
 * lock exclusively and stops the server. A process that starts meanwhile does not get the lease, waits, and restarts
 * the server.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { findPrograms, installedPostgres } from './binaries.js';
import { createDatabase, databaseName, ensureCluster, userName } from './create-cluster.js';
import { EmbeddedPostgresError, locateCluster } from './location.js';
import {
  type Cluster,
  choosePort,
  discardStale,
  failureIn,
  freePort,
  interrupt,
  isAlive,
  isServerOf,
  lastLines,
  launch,
  pollMs,
  readLog,
  readServer,
  rememberPort,
  stopServer,
} from './process.js';

export interface EmbeddedPostgresOptions {
  dataDir: string;
  /** Receives readable sentences without secrets. */
  log?: (message: string) => void;
  /** Cancels the start, and stops a server that is starting. */
  signal?: AbortSignal;
}

export interface EmbeddedPostgres {
  /** Contains the password. It never changes. */
  readonly url: string;
  /** The folder of the data. For root it may differ from the requested one. */
  readonly dataDir: string;
  /**
   * Restarts the server on the same port if it is down. Call it after losing a connection. If the server runs, it only opens
   * a connection. Concurrent calls share one attempt. It also works after stop().
   */
  ensureRunning(): Promise<void>;
  /** Stops the server unless another process uses it. Resolves when the server has exited. */
  stop(): Promise<void>;
  /** Sends the server a stop signal, synchronously and without waiting. */
  kill(): void;
}

// An arbitrary number that other programs are unlikely to use. The lock is in the database `postgres`.
const leaseLock = 7_237_001;

// Crash recovery replays up to max_wal_size (1 GB) of the write-ahead log, which takes minutes on a slow disk.
const startMs = 600_000;
const reportMs = 5_000;
const connectMs = 5_000;

interface Session {
  client: pg.Client;
  isOpen: boolean;
}

interface Lease extends Session {
  pid: number;
  port: number;
}

/**
 * Creates the cluster if it does not exist, and starts its server if it is down. The database is ready when it returns.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  try {
    return await start(options);
  } catch (error) {
    // Node's own text, such as "EACCES: permission denied, open '…'", does not say what the file is for.
    if (!(error instanceof Error && 'syscall' in error && 'path' in error)) throw error;
    throw new EmbeddedPostgresError(
      `Cannot use the data folder ${options.dataDir} (${error.message}). Let this user read and write it, choose another ` +
        'one with DATA_DIR, or set DATABASE_URL.',
      { cause: error },
    );
  }
}

async function start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log = () => {}, signal } = options;
  if (process.platform === 'win32') {
    throw new EmbeddedPostgresError(
      'The embedded Postgres does not support Windows. Set DATABASE_URL to your own Postgres.',
    );
  }
  // Before a folder is created, because a container image has no embedded Postgres and may have no place for a folder.
  const installed = await installedPostgres();
  const place = locateCluster(path.resolve(options.dataDir), log);
  const programs = findPrograms(installed, place.account, log);
  const cluster: Cluster = { ...place, programs, log, password: await ensureCluster(place, programs, log) };

  let lease: Lease | undefined = await acquireLease(cluster, undefined, signal);
  const { port } = lease;
  try {
    await createDatabase(lease.client);
    rememberPort(cluster, port);
  } catch (error) {
    await lease.client.end().catch(() => {});
    throw error;
  }

  let attempt: Promise<void> | undefined;
  let isUsedByOthers = false;

  async function restart(): Promise<void> {
    if (lease?.isOpen) {
      // An existing session survives a killed server for a moment, so only a new session proves that the server runs.
      const probe = await connect(cluster, port);
      if (!(probe instanceof Error)) {
        await probe.client.end().catch(() => {});
        if (lease.isOpen) return;
      }
    }
    const lost = lease;
    lease = undefined;
    isUsedByOthers = false;
    // Not awaited, because a dead connection may take long to close.
    void lost?.client.end().catch(() => {});
    lease = await acquireLease(cluster, port);
  }

  return {
    url: `postgresql://${userName}:${cluster.password}@127.0.0.1:${port}/${databaseName}`,
    dataDir: cluster.folder,
    ensureRunning() {
      attempt ??= restart().finally(() => {
        attempt = undefined;
      });
      return attempt;
    },
    async stop() {
      await attempt?.catch(() => {});
      const held = lease;
      lease = undefined;
      const session = held?.isOpen ? held : await connect(cluster, port);
      // The server is down or starting. Another process that needs it will restart it.
      if (session instanceof Error) return stopServer(cluster);
      // Releases the shared lock first: if two processes stop at once, the later one gets the exclusive lock.
      if (held?.isOpen) await held.client.query('SELECT pg_advisory_unlock_shared($1)', [leaseLock]).catch(() => {});
      const last = await tryLock(session, 'pg_try_advisory_lock');
      isUsedByOthers = !last && session.isOpen;
      try {
        if (isUsedByOthers) log('Postgres keeps running because another process uses it.');
        else await stopServer(cluster);
      } finally {
        await session.client.end().catch(() => {});
      }
    },
    kill() {
      const pid = readServer(cluster.folder)?.pid;
      if (isUsedByOthers || pid === undefined || !isServerOf(cluster.folder, pid)) return;
      interrupt(pid);
    },
  };
}

/**
 * Waits until the folder's server runs and this process has a lease on it. It starts a missing server, removes a stale
 * postmaster.pid, and waits while another process starts or stops the server.
 */
async function acquireLease(cluster: Cluster, fixedPort: number | undefined, signal?: AbortSignal): Promise<Lease> {
  const began = Date.now();
  let reported = began;
  let launched: ReturnType<typeof launch> | undefined;
  let port = fixedPort ?? (await choosePort(cluster));
  for (;;) {
    if (signal?.aborted) {
      if (launched?.isRunning()) launched.interrupt();
      throw new EmbeddedPostgresError('The start of Postgres was cancelled.');
    }
    const server = readServer(cluster.folder);
    if (server !== undefined && isAlive(server.pid)) {
      const session = await connect(cluster, server.port);
      if (!(session instanceof Error)) {
        const leased = await tryLock(session, 'pg_try_advisory_lock_shared');
        if (leased && (fixedPort ?? server.port) === server.port) return Object.assign(session, server);
        await session.client.end().catch(() => {});
        if (leased) {
          throw new EmbeddedPostgresError('Another process has started Postgres on another port. Restart Roster.');
        }
      } else if (!isServerOf(cluster.folder, server.pid)) {
        discardStale(cluster, server);
        continue;
      } else if ('code' in session && session.code === '28P01') {
        throw new EmbeddedPostgresError(
          `The password file in ${cluster.folder} does not match the database. Put the right password into the file.`,
        );
      }
    } else if (launched === undefined) {
      // Postgres itself removes a postmaster.pid whose process is gone.
      launched = launch(cluster, port);
    }
    if (launched !== undefined && !launched.isRunning()) {
      const output = launched.output();
      launched = undefined;
      if (/could not bind|could not create any TCP/.test(output) && fixedPort === undefined) port = await freePort(0);
      else if (!/lock file ".*" already exists|shared memory block .* is still in use/.test(output)) {
        throw new EmbeddedPostgresError(
          `The embedded Postgres did not start: ${failureIn(output)} ${path.join(cluster.folder, 'postgres.log')} has the details.`,
        );
      }
      // Otherwise another process started the server first, or sessions of a killed server still exist. Try again.
    }
    const now = Date.now();
    if (now - began > startMs) {
      throw new EmbeddedPostgresError(
        `Postgres was not ready within ${startMs / 60_000} minutes. The end of ${path.join(cluster.folder, 'postgres.log')}:\n${lastLines(readLog(cluster))}`,
      );
    }
    if (now - reported > reportMs) {
      reported = now;
      cluster.log(
        `Waiting for Postgres (${Math.round((now - began) / 1000)} s). Its last log line: ${lastLines(readLog(cluster), 1)}`,
      );
    }
    await sleep(pollMs);
  }
}

/** Connects to the database `postgres`, so that the session does not block dropping or cloning `roster`. */
async function connect(cluster: Cluster, port: number): Promise<Session | Error> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, user: userName, password: cluster.password, database: 'postgres', ssl: false },
    application_name: 'roster lease',
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
  });
  const session: Session = { client, isOpen: true };
  client.on('error', () => {
    session.isOpen = false;
  });
  client.on('end', () => {
    session.isOpen = false;
  });
  try {
    await client.connect();
    return session;
  } catch (error) {
    void client.end().catch(() => {});
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Whether the session got the lease's lock. False if the connection breaks. */
async function tryLock(
  { client }: Session,
  attempt: 'pg_try_advisory_lock' | 'pg_try_advisory_lock_shared',
): Promise<boolean> {
  try {
    const { rows } = await client.query<{ locked: boolean }>(`SELECT ${attempt}($1) AS locked`, [leaseLock]);
    return rows[0]?.locked === true;
  } catch {
    return false;
  }
}
