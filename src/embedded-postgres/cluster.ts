/**
 * The embedded Postgres: creates a cluster in a folder, runs it, and shares it between the processes that use the
 * folder. It listens only on this machine, never deletes data, and keeps running if Roster is killed.
 *
 * There is no lock file. Postgres itself prevents a second server in a folder. Each process that uses the server holds
 * a session with a shared advisory lock (the lease), which ends with the process. The last process to stop gets the
 * lock exclusively and stops the server. A process that starts meanwhile does not get the lease, waits, and restarts
 * the server.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import {
  type Account,
  type ClusterLocation,
  chownTo,
  EmbeddedPostgresError,
  findPrograms,
  isAlive,
  locateCluster,
  type PostgresPrograms,
  programsEnvironment,
  removeLeftovers,
  renameUnlessExists,
  runAs,
} from './programs.js';

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
   * Restarts the server on the same port if it is down. Call it after losing a connection. It is cheap if the server runs,
   * and concurrent calls share one attempt. It also works after stop().
   */
  ensureRunning(): Promise<void>;
  /** Stops the server unless another process uses it. Resolves when the server has exited. */
  stop(): Promise<void>;
  /** Sends the server a stop signal, synchronously and without waiting. */
  kill(): void;
}

const userName = 'roster';
const databaseName = 'roster';

// Arbitrary numbers that other programs are unlikely to use. The locks are in the database `postgres`.
const leaseLock = 7_237_001;
const createLock = 7_237_002;

// Crash recovery replays up to max_wal_size (1 GB) of log, which takes minutes on a slow disk.
const startMs = 600_000;
const stopMs = 600_000;
const reportMs = 5_000;
const pollMs = 50;
const connectMs = 5_000;
const logBytesMax = 4 * 1024 * 1024;

const settings = {
  listen_addresses: '127.0.0.1',
  // A socket's path may have at most 107 bytes, and the data folder may have a longer path.
  unix_socket_directories: '',
  max_connections: '200',
  // Logs only the server's start and stop. Errors go to the client, and their details contain values of rows.
  log_min_messages: 'log',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
};

interface Session {
  client: pg.Client;
  isOpen: boolean;
}

interface Lease extends Session {
  pid: number;
  port: number;
}

interface Cluster extends ClusterLocation {
  programs: PostgresPrograms;
  password: string;
  log: (message: string) => void;
}

/**
 * Creates the cluster if it does not exist, and starts its server if it is down. The database is ready when it returns.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log = () => {}, signal } = options;
  if (process.platform === 'win32') {
    throw new EmbeddedPostgresError(
      'The embedded Postgres does not support Windows. Set DATABASE_URL to your own Postgres.',
    );
  }
  const place = locateCluster(path.resolve(options.dataDir), log);
  const programs = await findPrograms(place.account, log);
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
      // No answer: the server is down or starting. Another process that waits for it will start it again.
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

/** Creates the cluster if needed, atomically even if several processes do so at once, and returns its password. */
async function ensureCluster(
  place: ClusterLocation,
  programs: PostgresPrograms,
  log: (message: string) => void,
): Promise<string> {
  const { folder, account } = place;
  const pgdata = path.join(folder, 'pgdata');
  removeLeftovers(folder, 'new-pgdata-');
  removeLeftovers(folder, 'new-password-');
  const passwordFile = path.join(folder, 'password');
  if (!fs.existsSync(path.join(pgdata, 'PG_VERSION'))) {
    if (fs.existsSync(pgdata)) {
      throw new EmbeddedPostgresError(`${pgdata} is not a Postgres cluster. Move it away, or choose another DATA_DIR.`);
    }
    createPassword(passwordFile, place);
    log(`Creating a database in ${folder}`);
    const unfinished = fs.mkdtempSync(path.join(folder, `new-pgdata-${process.pid}-`));
    chownTo(unfinished, account);
    const flags = ['--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', `--username=${userName}`];
    try {
      await promisify(execFile)(
        programs.initdb,
        [`--pgdata=${unfinished}`, `--pwfile=${passwordFile}`, ...flags, '--no-instructions'],
        { cwd: folder, env: programsEnvironment, ...runAs(account) },
      );
    } catch (cause) {
      fs.rmSync(unfinished, { recursive: true, force: true });
      const { stderr = '', message } = cause as Error & { stderr?: string };
      throw new EmbeddedPostgresError(
        `Could not create a database in ${folder}:\n${lastLines(stderr) || message}\nFree some disk space, choose another DATA_DIR, or set DATABASE_URL.`,
        { cause },
      );
    }
    renameUnlessExists(unfinished, pgdata);
  }
  const major = fs.readFileSync(path.join(pgdata, 'PG_VERSION'), 'utf8').trim();
  if (major !== programs.major) {
    throw new EmbeddedPostgresError(
      `The database in ${folder} was created by Postgres ${major}, but this is Postgres ${programs.major}. ` +
        'Dump it with pg_dump while the Roster that created it runs, and restore it into a new DATA_DIR (docs/operations.md), ' +
        `or move ${pgdata} away to start empty.`,
    );
  }
  try {
    return fs.readFileSync(passwordFile, 'utf8').trim();
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Could not read the password file of the database in ${folder} (${(cause as Error).message}). Restore the file, or move ${pgdata} away to start empty.`,
      { cause },
    );
  }
}

/** If several processes create a password at once, the first one wins. */
function createPassword(file: string, place: ClusterLocation): void {
  if (fs.existsSync(file)) return;
  const random = randomBytes(24).toString('base64url');
  const unfinished = path.join(place.folder, `new-password-${process.pid}-${random.slice(0, 6)}`);
  fs.writeFileSync(unfinished, `${random}\n`, { mode: 0o600, flag: 'wx', flush: true });
  chownTo(unfinished, place.account);
  try {
    fs.linkSync(unfinished, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    fs.unlinkSync(unfinished);
  }
}

async function createDatabase(client: pg.Client): Promise<void> {
  await client.query('SELECT pg_advisory_lock($1)', [createLock]);
  const exists = await client.query('SELECT FROM pg_database WHERE datname = $1', [databaseName]);
  if (exists.rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`);
  await client.query('SELECT pg_advisory_unlock($1)', [createLock]);
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
          `Postgres did not start. The end of ${path.join(cluster.folder, 'postgres.log')}:\n${lastLines(output)}`,
        );
      }
      // Otherwise another process was faster, or sessions of a killed server still exist. Try again.
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

function launch(cluster: Cluster, port: number) {
  const { folder, account, programs } = cluster;
  const log = openOwn(path.join(folder, 'postgres.log'), fs.constants.O_APPEND, account);
  if (fs.fstatSync(log).size > logBytesMax) fs.ftruncateSync(log);
  const from = fs.fstatSync(log).size;
  // `detached` creates a new session, which Ctrl-C does not reach. pg_ctl does the same but passes the folder's name through
  // a shell. Logging to a file instead of pipes lets the server outlive this process.
  const child = spawn(
    programs.postgres,
    [
      ...['-D', path.join(folder, 'pgdata'), '-p', String(port)],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    {
      cwd: folder,
      env: programsEnvironment,
      detached: true,
      stdio: ['ignore', log, log],
      ...runAs(account),
    },
  );
  fs.closeSync(log);
  child.unref();
  let failure: string | undefined;
  child.on('error', (error) => {
    failure = error.message;
  });
  return {
    interrupt: () => child.kill('SIGINT'),
    isRunning: () => failure === undefined && child.exitCode === null && child.signalCode === null,
    output: () => failure ?? (readLog(cluster, from) || `exited with ${child.signalCode ?? child.exitCode}`),
  };
}

/** Waits for the process to exit. `pg_ctl stop` waits for the file, which may already belong to another server. */
async function stopServer(cluster: Cluster): Promise<void> {
  const server = readServer(cluster.folder);
  if (server === undefined || !isServerOf(cluster.folder, server.pid)) return;
  interrupt(server.pid);
  const began = Date.now();
  while (readServer(cluster.folder)?.pid === server.pid && isServerOf(cluster.folder, server.pid)) {
    if (Date.now() - began > stopMs) {
      throw new EmbeddedPostgresError(
        `Postgres (process ${server.pid}) did not stop within ${stopMs / 60_000} minutes.`,
      );
    }
    await sleep(pollMs);
  }
}

/** Requests a fast shutdown. */
function interrupt(pid: number): void {
  try {
    process.kill(pid, 'SIGINT');
  } catch (error) {
    // It has already exited.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
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

function readServer(folder: string): { pid: number; port: number } | undefined {
  try {
    const lines = fs.readFileSync(path.join(folder, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
    const [pid, port] = [Number(lines[0]), Number(lines[3])];
    return Number.isInteger(pid) && pid > 0 && port > 0 ? { pid, port } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the process is this folder's server, and not another process with a reused pid. */
function isServerOf(folder: string, pid: number): boolean {
  if (!isAlive(pid)) return false;
  const pgdata = path.join(folder, 'pgdata');
  try {
    if (process.platform === 'linux') {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      return command.includes('postgres') && fs.readlinkSync(`/proc/${pid}/cwd`) === fs.realpathSync(pgdata);
    }
  } catch {
    // The process is gone or belongs to another user, so only its command can identify it.
  }
  const { stdout } = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.includes('postgres') && stdout.includes(pgdata);
}

/**
 * Removes a postmaster.pid that a machine crash left behind and whose pid now belongs to another process; Postgres would
 * refuse to start. It moves the file before reading it, so that it can restore the file of a server that has just started.
 */
function discardStale({ folder, log }: Cluster, stale: { pid: number }): void {
  const file = path.join(folder, 'pgdata', 'postmaster.pid');
  const moved = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, moved);
    if (Number.parseInt(fs.readFileSync(moved, 'utf8'), 10) !== stale.pid) fs.linkSync(moved, file);
    else log(`Removed a stale postmaster.pid because process ${stale.pid} is not Postgres.`);
    fs.unlinkSync(moved);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The previous port if it is free, so that saved connection settings keep working. */
async function choosePort({ folder }: Cluster): Promise<number> {
  let remembered = 0;
  try {
    remembered = Number.parseInt(fs.readFileSync(path.join(folder, 'port'), 'utf8'), 10);
  } catch {
    // The first start.
  }
  const valid = remembered > 0 && remembered < 65_536;
  return freePort(valid ? remembered : 0).catch(() => freePort(0));
}

async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(wanted, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : wanted;
      server.close(() => resolve(port));
    });
  });
}

function rememberPort({ folder, account }: Cluster, port: number): void {
  const file = openOwn(path.join(folder, 'port'), fs.constants.O_TRUNC, account);
  fs.writeSync(file, `${port}\n`);
  fs.closeSync(file);
}

/** Opens a file that the account owns. It follows no symbolic links, because another user may have created them for root. */
function openOwn(file: string, flags: number, account: Account | undefined): number {
  const { O_CREAT, O_NOFOLLOW, O_WRONLY } = fs.constants;
  const opened = fs.openSync(file, O_WRONLY | O_CREAT | O_NOFOLLOW | flags, 0o600);
  if (account !== undefined) fs.fchownSync(opened, account.uid, account.gid);
  return opened;
}

function readLog({ folder }: Cluster, from = 0): string {
  try {
    return fs.readFileSync(path.join(folder, 'postgres.log')).subarray(from).toString();
  } catch {
    return '';
  }
}

function lastLines(text: string, count = 10): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
