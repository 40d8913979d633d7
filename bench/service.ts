/** Starts a Postgres and service processes for a measurement, and stops them at its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startEmbeddedPostgres } from '../src/embedded-postgres/cluster.js';
import { peakMemory, postmasterOf } from './usage.js';

const main = resolve(import.meta.dirname, '../src/main.js');

export interface BenchDatabase extends AsyncDisposable {
  readonly url: string;
  readonly version: string;
  /** Its first process; undefined if Postgres is on another machine. */
  readonly postmasterPid: number | undefined;
  /** Creates an empty database in the same Postgres; it is dropped at the end. */
  create(name: string): Promise<string>;
  /** Committed transactions in a database so far; lags by a second. */
  commits(name: string): Promise<number>;
}

/** Opens DATABASE_URL, which should be empty, or an embedded database that is deleted afterwards. */
export async function openBenchDatabase(): Promise<BenchDatabase> {
  await using cleanUp = new AsyncDisposableStack();
  let url = process.env.DATABASE_URL;
  if (url === undefined) {
    const folder = await mkdtemp(join(tmpdir(), 'roster-bench-'));
    const embedded = await startEmbeddedPostgres({ dataDir: join(folder, 'data') });
    cleanUp.defer(async () => {
      await embedded.stop();
      await Promise.all([folder, embedded.dataDir].map((path) => rm(path, { recursive: true, force: true })));
    });
    url = embedded.url;
  }
  const given = url;
  const admin = new pg.Client({ connectionString: given });
  await admin.connect();
  cleanUp.defer(() => admin.end());
  const backend = await admin.query<{ pid: number; version: string }>(
    `select pg_backend_pid() as pid, current_setting('server_version') as version`,
  );
  const created: string[] = [];
  const drop = (name: string) => admin.query(`drop database if exists ${name} with (force)`);
  cleanUp.defer(async () => {
    for (const name of created) await drop(name);
  });
  const owned = cleanUp.move();
  return {
    url: given,
    version: backend.rows[0]?.version ?? '',
    postmasterPid: postmasterOf(backend.rows[0]?.pid ?? 0),
    async create(name) {
      await drop(name);
      await admin.query(`create database ${name}`);
      created.push(name);
      return Object.assign(new URL(given), { pathname: `/${name}` }).href;
    },
    async commits(name) {
      const { rows } = await admin.query('select xact_commit from pg_stat_database where datname = $1', [name]);
      return Number(rows[0]?.xact_commit);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The Node flags of `npm run serve`. */
export const serveFlags = ['--enable-source-maps', '--max-semi-space-size=8'];

export interface BenchService extends AsyncDisposable {
  readonly address: string;
  /** host:port of HTTP; empty if HTTP is off. */
  readonly http: string;
  readonly process: ChildProcess;
  readonly pid: number;
  /** The peak memory of its largest process so far, in MiB; NaN except on Linux. */
  peakMemory(): Promise<number>;
  /** Empties the log, which grows by a line for each call. */
  truncateLog(): Promise<void>;
}

/** Resolves when it serves. It logs at the default level, into a file, so that no terminal is measured. */
export function startService(databaseUrl: string, settings: Record<string, string> = {}): Promise<BenchService> {
  const addresses = { GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
  const env = { DATABASE_URL: databaseUrl, ...addresses, LOG_FORMAT: 'json', ...settings };
  return startServer([main, 'serve'], env);
}

/** Runs a program that logs `listening` with its address, as the service does. */
export async function startServer(args: readonly string[], env: Record<string, string> = {}): Promise<BenchService> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-log-'));
  const logFile = join(folder, 'log');
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [...serveFlags, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', log, 'inherit'],
  });
  closeSync(log);
  const exited = once(child, 'exit');
  let where: { readonly address: string; readonly http?: string } | undefined;
  while (where === undefined) {
    const ended = await Promise.race([exited, sleep(20)]);
    const lines = (await readFile(logFile, 'utf8')).split('\n').filter((line) => line.includes('"listening"'));
    where = lines[0] === undefined ? undefined : JSON.parse(lines[0]);
    if (ended !== undefined) {
      await rm(folder, { recursive: true });
      throw new Error(`The service exited with ${ended[0]}.`);
    }
  }
  const pid = child.pid ?? Number.NaN;
  return {
    address: where.address,
    http: where.http ?? '',
    process: child,
    pid,
    peakMemory: async () => peakMemory(pid),
    truncateLog: () => truncate(logFile),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The value below which the given share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
