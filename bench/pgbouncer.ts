/** Runs the installed PgBouncer between Roster and a database, with an operator's configuration, for tests and measurements. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../src/embedded-postgres/process.js';

const programs = [process.env.PGBOUNCER ?? '/usr/sbin/pgbouncer', 'pgbouncer'];
const program = programs.find((name) => spawnSync(name, ['--version']).status === 0);

/** Why PgBouncer is missing, for the names of skipped tests; undefined if it is installed. */
export const noPgBouncer = program === undefined ? 'PgBouncer is not installed (apt-get install pgbouncer)' : undefined;

/** For example `1.18.0`. */
export function pgBouncerVersion(): string {
  if (program === undefined) throw new Error(noPgBouncer);
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return /\d+(?:\.\d+)+/.exec(stdout)?.[0] ?? '';
}

export interface PgBouncer extends AsyncDisposable {
  /** The given URL, through the pooler. */
  readonly url: string;
  readonly pid: number;
}

export interface PgBouncerOptions {
  readonly mode: 'transaction' | 'session';
  /** The maximum number of connections to Postgres. */
  readonly connections?: number;
  /** Needs PgBouncer 1.21. */
  readonly preparedStatementsMax?: number;
}

export async function startPgBouncer(
  url: string,
  { mode, connections = 4, preparedStatementsMax }: PgBouncerOptions,
): Promise<PgBouncer> {
  if (program === undefined) throw new Error(noPgBouncer);
  const { hostname, port, username, password, pathname } = new URL(url);
  const name = pathname.slice(1);
  const ownPort = await freePort(0);
  const folder = mkdtempSync(join(tmpdir(), 'roster-pgbouncer-'));
  // As root it runs as another user, who must be able to enter the folder.
  chmodSync(folder, 0o755);
  const server = { host: hostname, port, dbname: name, user: decodeURIComponent(username) };
  const settings = { ...server, ...(password === '' ? {} : { password: decodeURIComponent(password) }) };
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(
    file,
    `[databases]
${name} = ${Object.entries(settings)
      .map(([key, value]) => `${key}='${value}'`)
      .join(' ')}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${ownPort}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = ${connections}
max_client_conn = 1000
${preparedStatementsMax === undefined ? '' : `max_prepared_statements = ${preparedStatementsMax}`}
ignore_startup_parameters = statement_timeout, lock_timeout, idle_in_transaction_session_timeout
`,
  );
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(program, ['-q', ...user, file], { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = once(child, 'exit');
  while (!(await answers(ownPort))) {
    if (child.exitCode !== null) throw new Error(`PgBouncer exited with ${child.exitCode}`);
    await sleep(20);
  }
  const own = new URL(url);
  own.host = `127.0.0.1:${ownPort}`;
  return {
    url: own.href,
    pid: child.pid ?? Number.NaN,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const [event] = await Promise.race([
    once(socket, 'connect').then(() => ['connect']),
    once(socket, 'close').then(() => ['close']),
    once(socket, 'error').then(() => ['error']),
  ]).catch(() => ['error']);
  socket.destroy();
  return event === 'connect';
}
