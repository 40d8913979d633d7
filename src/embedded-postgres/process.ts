/**
 * Starts, finds and stops the server process of a cluster. Another Roster process may have started it.
 */
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresPrograms } from './binaries.js';
import { type Account, type ClusterLocation, EmbeddedPostgresError, programsEnvironment, runAs } from './location.js';

export interface Cluster extends ClusterLocation {
  programs: PostgresPrograms;
  password: string;
  log: (message: string) => void;
}

const stopMs = 600_000;
const logBytesMax = 4 * 1024 * 1024;

/** How often to check whether the server has started or stopped. */
export const pollMs = 50;

const settings = {
  listen_addresses: '127.0.0.1',
  // A socket's path may have at most 107 bytes, and the data folder may have a longer path.
  unix_socket_directories: '',
  max_connections: '200',
  // Logs only the server's start and stop. Clients receive the errors, whose details contain values of rows.
  log_min_messages: 'log',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
};

export function launch(cluster: Cluster, port: number) {
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

/** Waits until the process has exited. `pg_ctl stop` waits for postmaster.pid, which may already be a new server's. */
export async function stopServer(cluster: Cluster): Promise<void> {
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
export function interrupt(pid: number): void {
  try {
    process.kill(pid, 'SIGINT');
  } catch (error) {
    // It has already exited.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export function readServer(folder: string): { pid: number; port: number } | undefined {
  try {
    const lines = fs.readFileSync(path.join(folder, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
    const [pid, port] = [Number(lines[0]), Number(lines[3])];
    return Number.isInteger(pid) && pid > 0 && port > 0 ? { pid, port } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the process is this folder's server, and not another process with a reused pid. */
export function isServerOf(folder: string, pid: number): boolean {
  if (!isAlive(pid)) return false;
  const pgdata = path.join(folder, 'pgdata');
  try {
    if (process.platform === 'linux') {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      return command.includes('postgres') && fs.readlinkSync(`/proc/${pid}/cwd`) === fs.realpathSync(pgdata);
    }
  } catch {
    // The process has exited or belongs to another user, so only its command can identify it.
  }
  const { stdout } = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.includes('postgres') && stdout.includes(pgdata);
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Removes a postmaster.pid that a machine crash left behind and whose pid now belongs to another process; Postgres would
 * refuse to start. It moves the file before reading it, so that it can restore the file of a server that has just started.
 */
export function discardStale({ folder, log }: Cluster, stale: { pid: number }): void {
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

/** Returns the previous port if it is free, so that saved connection settings keep working. */
export async function choosePort({ folder }: Cluster): Promise<number> {
  let remembered = 0;
  try {
    remembered = Number.parseInt(fs.readFileSync(path.join(folder, 'port'), 'utf8'), 10);
  } catch {
    // The first start.
  }
  const valid = remembered > 0 && remembered < 65_536;
  return freePort(valid ? remembered : 0).catch(() => freePort(0));
}

export async function freePort(wanted: number): Promise<number> {
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

export function rememberPort({ folder, account }: Cluster, port: number): void {
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

export function readLog({ folder }: Cluster, from = 0): string {
  try {
    return fs.readFileSync(path.join(folder, 'postgres.log')).subarray(from).toString();
  } catch {
    return '';
  }
}

export function lastLines(text: string, count = 10): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/** Returns the first error in the output of initdb or postgres, without times and process ids. */
export function failureIn(output: string): string {
  const texts = output.split('\n').map((line) => line.replace(/^[-\d]+ [\d:.]+ \w+ \[\d+\] /, '').trim());
  const at = texts.findIndex((text) => /^(?:(?:initdb|postgres): error|FATAL|PANIC|ERROR):/.test(text));
  // For an invalid setting, only the line before the error says which one.
  const before = texts[at - 1]?.startsWith('LOG:') ? texts[at - 1] : undefined;
  const reasons = at < 0 ? [lastLines(output, 3)] : [before, texts[at]].filter((text) => text !== undefined);
  return reasons.map((text) => text.replace(/^(?:\w+: error|[A-Z]+): +/, '').replace(/\.*$/, '.')).join(' ');
}
