/** The whole application: failed starts leave nothing behind, shutdowns end in time, and Postgres is restarted. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type App, startApp } from '../src/app.js';
import { createClient } from '../src/client/index.js';
import { parseServerConfig } from '../src/config/parse.js';
import { startEmbeddedPostgres } from '../src/embedded-postgres/cluster.js';
import { createTestDatabase, type TestDatabase } from './support/database.js';

/** Far more than the slowest machine needs. */
const timeout = { timeout: 30_000 };

// These tests kill and stop their own Postgres servers. One folder for all, because initdb takes a second.
let dataDir: string;
beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'roster-app-'));
  // If the tests run as root, the server runs as another user, who must be able to enter the folder.
  chmodSync(dataDir, 0o755);
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

interface Start {
  lines: Record<string, unknown>[];
  app: Promise<App>;
}

function start(settings: Record<string, string>, signal?: AbortSignal, onLine = (_message: unknown) => {}): Start {
  const lines: Record<string, unknown>[] = [];
  const logTo = {
    write(text: string) {
      const line = JSON.parse(text);
      lines.push(line);
      onLine(line.msg);
    },
  };
  const addresses = { GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
  const config = parseServerConfig({ ...addresses, LOG_FORMAT: 'json', ...settings });
  return { lines, app: startApp(config, { signal, logTo }) };
}

function postmasterPid(): number | undefined {
  const file = join(dataDir, 'pgdata', 'postmaster.pid');
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) || undefined : undefined;
}

/** The number of sockets of this process that accept connections. */
function listeners(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length;
}

async function takePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

/** The connections of Roster to a database. */
function connected(database: TestDatabase): Promise<unknown[]> {
  return database.query(
    `select from pg_stat_activity where datname = current_database() and application_name like 'roster%'`,
  );
}

describe('a start that fails', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database[Symbol.asyncDispose]());

  it('because its port is taken, leaves no connection behind', async () => {
    const GRPC_ADDRESS = await takePort();
    await expect(start({ DATABASE_URL: database.url, GRPC_ADDRESS }).app).rejects.toThrow(GRPC_ADDRESS.split(':')[1]);
    await vi.waitUntil(async () => (await connected(database)).length === 0, timeout);
    // Only the listener that took the port.
    expect(listeners()).toBe(1);
  });

  it('because it is aborted at the last step, leaves no connection and no listener behind', async () => {
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    // Blocks the start after the pool is open and before the socket is.
    await holder.query('begin; lock table directory in access exclusive mode');
    const caller = new AbortController();
    const { app } = start({ DATABASE_URL: database.url }, caller.signal);
    const outcome = app.catch((error: unknown) => error);
    await vi.waitUntil(
      async () =>
        (
          await database.query(
            `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          )
        ).length === 1,
      timeout,
    );
    const reason = new Error('aborted');
    caller.abort(reason);
    await holder.end();
    expect(await outcome).toBe(reason);
    await vi.waitUntil(async () => (await connected(database)).length === 0, timeout);
    await vi.waitUntil(() => listeners() === 0, timeout);
  });

  it('because it is aborted half-way, stops the Postgres that it has started', async () => {
    const caller = new AbortController();
    const reason = new Error('aborted');
    // A start that continued would fail for another reason, because the port is taken.
    const { app } = start({ DATA_DIR: dataDir, GRPC_ADDRESS: await takePort() }, caller.signal, (message) => {
      if (message === 'migrated') caller.abort(reason);
    });
    await expect(app).rejects.toBe(reason);
    expect(postmasterPid()).toBeUndefined();
  });

  it('because its port is taken, stops the Postgres that it has started', async () => {
    const GRPC_ADDRESS = await takePort();
    await expect(start({ DATA_DIR: dataDir, GRPC_ADDRESS }).app).rejects.toThrow(GRPC_ADDRESS.split(':')[1]);
    expect(postmasterPid()).toBeUndefined();
  });
});

describe('an embedded Postgres', () => {
  it('that is killed is started again, and calls are served as before', async () => {
    const { lines, app: starting } = start({ DATA_DIR: dataDir });
    const app = await starting;
    onTestFinished(() => app.close());
    await vi.waitUntil(() => lines.some(({ msg }) => msg === 'connected to the database'), timeout);
    using client = createClient({ address: `localhost:${app.grpc.port}` });
    const { user } = await client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
    const killed = postmasterPid();
    expect(killed).toBeDefined();
    process.kill(killed ?? Number.NaN, 'SIGKILL');
    await vi.waitUntil(() => ![killed, undefined].includes(postmasterPid()), timeout);
    await vi.waitFor(async () => expect(await client.isServing()).toBe(true), timeout);
    await vi.waitFor(async () => expect((await client.getUser({ id: user?.id })).user).toEqual(user), timeout);
    const [connected, disconnected] = ['connected to the database', 'cannot reach the database'];
    const states = lines.map(({ msg }) => msg).filter((message) => message === connected || message === disconnected);
    expect(states).toEqual([connected, disconnected, connected]);
  });
});

describe('a shutdown', () => {
  it('leaves no connection and no listener behind', async () => {
    await using database = await createTestDatabase();
    const { lines, app: starting } = start({ DATABASE_URL: database.url });
    const app = await starting;
    await vi.waitUntil(() => lines.some(({ msg }) => msg === 'connected to the database'), timeout);
    await app.close();
    await vi.waitUntil(async () => (await connected(database)).length === 0, timeout);
    expect(listeners()).toBe(0);
  });

  it('completes although the database does not answer and a call is in flight', async () => {
    const postgres = await startEmbeddedPostgres({ dataDir });
    onTestFinished(() => postgres.stop());
    const { lines, app: starting } = start({ DATABASE_URL: postgres.url, SHUTDOWN_TIMEOUT_MS: '1000' });
    const app = await starting;
    using client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1, deadlineMs: 0 });
    const holder = new pg.Client({ connectionString: postgres.url });
    await holder.connect();
    await holder.query('begin; lock table users in access exclusive mode');
    const held = client.createUser({ user: { firstName: 'Ada', email: 'held@example.com' } }).catch((error) => error);
    const sessions = await vi.waitUntil(async () => {
      // Otherwise the transaction sees the sessions of its first query only.
      await holder.query('select pg_stat_clear_snapshot()');
      const { rows } = await holder.query<{ pid: number; wait: string }>(
        `select pid, wait_event_type as wait from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid()`,
      );
      return rows.some(({ wait }) => wait === 'Lock') ? rows : undefined;
    }, timeout);
    const processes = [postmasterPid() ?? Number.NaN, ...sessions.map(({ pid }) => pid)];
    for (const pid of processes) process.kill(pid, 'SIGSTOP');
    try {
      const began = performance.now();
      await app.close();
      // Far above what it takes, and far below the timeouts of connections and statements.
      expect(performance.now() - began).toBeLessThan(20_000);
      expect(await held).toMatchObject({ code: 'UNAVAILABLE' });
      expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/in time/) }));
      expect(lines.at(-1)).toMatchObject({ msg: 'stopped' });
    } finally {
      for (const pid of processes) process.kill(pid, 'SIGCONT');
      await holder.end();
    }
  });
});
