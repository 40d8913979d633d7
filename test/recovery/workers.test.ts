/**
 * Several workers on one port: what clients see while workers are killed, restarted and stopped, and what is left
 * behind.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Client, createClient } from '../../src/client/index.js';
import { createAuthority } from '../certificates.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { expectStartFailure, type Served, type ServeOptions, serve } from '../support/served.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
let folder: string;
beforeAll(async () => {
  database = await createTestDatabase();
  folder = mkdtempSync(join(tmpdir(), 'roster-workers-'));
  // If the tests run as root, Postgres runs as another user, who must be able to enter the folder.
  chmodSync(folder, 0o755);
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await database[Symbol.asyncDispose]();
});

async function serveWorkers(settings: Record<string, string> = {}, options?: ServeOptions): Promise<Served> {
  const service = await serve({ DATABASE_URL: database.url, WORKERS: '2', ...settings }, options);
  onTestFinished(async () => {
    if (isAlive(service.process.pid)) await service.end('SIGTERM');
  });
  return service;
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The pid of each worker number, from the last log line about it. */
function pids(service: Served): Map<number, number> {
  const lines = service.lines.filter(({ msg }) => msg === 'a worker is serving');
  return new Map(lines.map(({ worker, pid }) => [worker as number, pid as number]));
}

function messages(service: Served): unknown[] {
  return service.lines.map(({ msg }) => msg);
}

/** Separate connections to both addresses, without retries. */
function connectClient(service: Served, connections = 1): Client {
  const address = Array.from({ length: connections }, () => service.address);
  const client = createClient({ address, attemptsMax: 1 });
  onTestFinished(() => client.close());
  return client;
}

/** Opens a connection and sends the start of it, to which every server of ours responds. */
function openConnection(port: string, firstBytes: string) {
  const socket = connectTcp(Number(port), '127.0.0.1');
  let isAnswered = false;
  let isClosed = false;
  socket.once('data', () => {
    isAnswered = true;
  });
  socket.once('close', () => {
    isClosed = true;
  });
  socket.on('error', () => {});
  socket.write(firstBytes);
  onTestFinished(() => void socket.destroy());
  return { isAnswered: () => isAnswered, isClosed: () => isClosed };
}

/** Opens several connections to each port. */
function openConnections(service: Served) {
  const portOf = (address: string) => address.slice(address.lastIndexOf(':') + 1);
  const emptySettings = '\0\0\0\x04\0\0\0\0\0';
  return Array.from({ length: 4 }, () => [
    openConnection(portOf(service.address), `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${emptySettings}`),
    openConnection(portOf(service.http), 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n'),
  ]).flat();
}

/** Keeps two calls running, and returns the failures. */
function callOn(client: Client) {
  let isRunning = true;
  let answered = 0;
  const failures: unknown[] = [];
  const callers = Array.from({ length: 2 }, async () => {
    while (isRunning) {
      await client.listUsers({ pageSize: 1 }).then(
        () => answered++,
        (error: unknown) => failures.push(error),
      );
      // Leaves CPU time to workers that start.
      await sleep(2);
    }
  });
  return {
    answered: () => answered,
    async stop(): Promise<unknown[]> {
      isRunning = false;
      await Promise.all(callers);
      return failures;
    },
  };
}

/** Blocks creates of one first name in the database until release() is called. */
async function holdCreates(firstName: string): Promise<{ waits(): Promise<boolean>; release(): Promise<unknown> }> {
  const name = `hold_${firstName.toLowerCase()}`;
  await database.query(`create table ${name} (id integer)`);
  await database.query(`
    create function ${name}() returns trigger language plpgsql as $$
    begin
      while new.first_name = '${firstName}' and not exists (select from ${name}) loop perform pg_sleep(0.01); end loop;
      return new;
    end $$`);
  await database.query(`create trigger ${name} before insert on users for each row execute function ${name}()`);
  return {
    async waits() {
      const sleepers = await database.query(
        `select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`,
      );
      return sleepers.length > 0;
    },
    release: () => database.query(`insert into ${name} values (1)`),
  };
}

describe('workers', () => {
  it('serve on one port, and receive connections in turn', async () => {
    const service = await serveWorkers();
    const client = connectClient(service, 4);
    for (let count = 0; count < 8; count++) await client.listUsers({});
    await vi.waitFor(() => {
      const calls = service.lines.filter(({ msg }) => msg === 'call');
      expect(new Set(calls.map(({ worker }) => worker))).toEqual(new Set([1, 2]));
      // A client with the address four times has at least four connections.
      expect(new Set(calls.map(({ peer }) => peer)).size).toBeGreaterThanOrEqual(4);
    }, waitOptions);
    expect(messages(service).filter((message) => message === 'listening')).toHaveLength(1);
  });

  it('send their watchers the changes made through other workers', async () => {
    const service = await serveWorkers();
    const seen = Array.from({ length: 4 }, () => new Set<string>());
    const stop = new AbortController();
    const watches = seen.map(async (ids) => {
      const watch = connectClient(service).followUsers({ includeExisting: true, signal: stop.signal });
      for await (const { changes } of watch) for (const { user } of changes) ids.add(user?.id ?? '');
    });
    const writer = connectClient(service, 4);
    const written = await Promise.all(
      Array.from({ length: 20 }, async (_, count) => {
        const { user } = await writer.createUser({ user: { firstName: 'Ada', email: `watched.${count}@example.com` } });
        return user?.id ?? '';
      }),
    );
    await vi.waitFor(() => {
      for (const ids of seen) expect(written.filter((id) => !ids.has(id))).toEqual([]);
    }, waitOptions);
    stop.abort();
    await Promise.allSettled(watches);
  });

  it('that are killed are replaced on the same port, and the others continue', async () => {
    const service = await serveWorkers();
    const before = pids(service);
    const clients = Array.from({ length: 4 }, () => connectClient(service));
    const loads = clients.map(callOn);
    await vi.waitFor(() => expect(loads.every((load) => load.answered() > 10)).toBe(true), waitOptions);
    process.kill(before.get(1) ?? Number.NaN, 'SIGKILL');
    await vi.waitFor(() => expect(pids(service).get(1)).not.toBe(before.get(1)), waitOptions);
    expect(pids(service).get(2)).toBe(before.get(2));
    const failures = await Promise.all(loads.map((load) => load.stop()));
    // Failures of calls on its connections, with a code that every client may retry.
    const codes = failures.flat().map((error) => (error as { code: string }).code);
    expect(codes.filter((code) => code !== 'UNAVAILABLE')).toEqual([]);
    expect(service.lines).toContainEqual(
      expect.objectContaining({ msg: 'a worker has exited', worker: 1, signal: 'SIGKILL', againInMs: 0 }),
    );
    await vi.waitFor(() => connectClient(service).listUsers({}), waitOptions);
  });

  it('that are killed leave the connections that they have not accepted to the others', async () => {
    const service = await serveWorkers();
    const worker = pids(service).get(1) ?? Number.NaN;
    // A worker that does not run accepts nothing, so the parent waits for it when it dies.
    process.kill(worker, 'SIGSTOP');
    const connections = openConnections(service);
    const unanswered = () => connections.filter(({ isAnswered }) => !isAnswered());
    // One of each port.
    await vi.waitFor(() => expect(unanswered()).toHaveLength(2), waitOptions);
    process.kill(worker, 'SIGKILL');
    await vi.waitFor(() => expect(unanswered()).toEqual([]), waitOptions);
    await vi.waitFor(() => expect(pids(service).get(1)).not.toBe(worker), waitOptions);
    await vi.waitFor(() => connectClient(service).listUsers({}), waitOptions);
  });

  it('that are all killed leave no connection open', async () => {
    const service = await serveWorkers();
    const workers = [...pids(service).values()];
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    const connections = openConnections(service);
    for (const pid of workers) process.kill(pid, 'SIGKILL');
    // Replacements may have accepted some.
    await vi.waitFor(
      () => expect(connections.filter(({ isAnswered, isClosed }) => !isAnswered() && !isClosed())).toEqual([]),
      waitOptions,
    );
  });

  it.skipIf(process.platform !== 'linux')(
    'that have no file descriptors left close new connections, and accept others later',
    async () => {
      const service = await serveWorkers();
      const setFilesMax = (count: number) =>
        execFileSync('prlimit', [`--pid=${pids(service).get(1)}`, `--nofile=${count}:`]);
      setFilesMax(8);
      const connections = openConnections(service);
      await vi.waitFor(() => {
        expect(connections.filter(({ isAnswered, isClosed }) => !isAnswered() && !isClosed())).toEqual([]);
        expect(connections.filter(({ isClosed }) => isClosed())).not.toEqual([]);
      }, waitOptions);
      setFilesMax(1024);
      const before = service.lines.length;
      const client = connectClient(service, 4);
      for (let count = 0; count < 8; count++) await client.listUsers({});
      await vi.waitFor(() => {
        const calls = service.lines.slice(before).filter(({ msg }) => msg === 'call');
        expect(new Set(calls.map(({ worker }) => worker))).toEqual(new Set([1, 2]));
      }, waitOptions);
    },
  );

  it('that all die at once are all restarted, each time after a longer pause', async () => {
    const service = await serveWorkers();
    for (const againInMs of [0, 500]) {
      const before = pids(service);
      for (const pid of before.values()) process.kill(pid, 'SIGKILL');
      await vi.waitFor(() => {
        for (const [number, pid] of before) expect(pids(service).get(number)).not.toBe(pid);
      }, waitOptions);
      const ends = service.lines.filter(({ msg }) => msg === 'a worker has exited').slice(-2);
      expect(ends).toEqual([expect.objectContaining({ againInMs }), expect.objectContaining({ againInMs })]);
      await vi.waitFor(() => connectClient(service).listUsers({}), waitOptions);
    }
  });
});

describe('SIGHUP', () => {
  it('restarts all workers, and no call fails meanwhile, even without retries', async () => {
    const service = await serveWorkers();
    const before = pids(service);
    const loads = Array.from({ length: 4 }, () => callOn(connectClient(service)));
    let isRunning = true;
    const newcomers = (async () => {
      while (isRunning) {
        using client = createClient({ address: service.address, attemptsMax: 1 });
        await client.listUsers({ pageSize: 1 });
      }
    })();
    await vi.waitFor(() => expect(loads.every((load) => load.answered() > 10)).toBe(true), waitOptions);
    service.process.kill('SIGHUP');
    await vi.waitFor(() => expect(messages(service)).toContain('restarted the workers'), waitOptions);
    const answered = loads.map((load) => load.answered());
    await vi.waitFor(
      () => expect(loads.every((load, index) => load.answered() > (answered[index] ?? 0) + 10)).toBe(true),
      waitOptions,
    );
    for (const load of loads) expect(await load.stop()).toEqual([]);
    isRunning = false;
    await newcomers;
    for (const [number, pid] of before) {
      expect(pids(service).get(number)).not.toBe(pid);
      expect(isAlive(pid)).toBe(false);
    }
  });

  it('that is repeated meanwhile restarts them only once more', async () => {
    const service = await serveWorkers();
    for (let count = 0; count < 3; count++) {
      service.process.kill('SIGHUP');
      await vi.waitFor(() => expect(messages(service)).toContain('restarting the workers'), waitOptions);
    }
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'restarted the workers')).toHaveLength(2),
      waitOptions,
    );
    expect(await service.end('SIGTERM')).toBe(0);
    expect(messages(service).filter((message) => message === 'restarting the workers')).toHaveLength(2);
  });

  it('applies new certificates, and keeps the old workers if the new files are invalid', async () => {
    const authority = createAuthority();
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const use = (name: string) => {
      const { cert, key } = authority.issue(name);
      writeFileSync(certFile, cert);
      writeFileSync(keyFile, key);
    };
    use('first');
    const service = await serveWorkers({ TLS_CERT: certFile, TLS_KEY: keyFile });
    const port = Number(service.address.split(':')[1]);
    const shown = () =>
      new Promise((resolve, reject) => {
        const socket = connect({
          host: '127.0.0.1',
          port,
          ca: authority.cert,
          servername: 'localhost',
          ALPNProtocols: ['h2'],
        });
        socket.once('error', reject).once('secureConnect', () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        });
      });
    const shownByAll = async () => new Set(await Promise.all(Array.from({ length: 4 }, shown)));
    expect(await shownByAll()).toEqual(new Set(['first']));

    use('second');
    service.process.kill('SIGHUP');
    await vi.waitFor(() => expect(messages(service)).toContain('restarted the workers'), waitOptions);
    expect(await shownByAll()).toEqual(new Set(['second']));

    const before = pids(service);
    writeFileSync(keyFile, createAuthority().key);
    service.process.kill('SIGHUP');
    await vi.waitFor(
      () =>
        expect(service.lines).toContainEqual(
          expect.objectContaining({
            level: 'error',
            worker: 1,
            msg: expect.stringMatching(/^the restart has stopped/),
          }),
        ),
      waitOptions,
    );
    expect(await shownByAll()).toEqual(new Set(['second']));
    expect(pids(service)).toEqual(before);
    for (const pid of before.values()) expect(isAlive(pid)).toBe(true);
  });

  it('does not affect a process without workers', async () => {
    const service = await serveWorkers({ WORKERS: '1' });
    service.process.kill('SIGHUP');
    await vi.waitFor(
      () =>
        expect(service.lines).toContainEqual(
          expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/WORKERS is 1/) }),
        ),
      waitOptions,
    );
    await connectClient(service).listUsers({});
    expect(await service.end('SIGTERM')).toBe(0);
  });
});

describe('a shutdown with workers', () => {
  it('happens in order, the embedded Postgres last, and leaves nothing behind', async () => {
    const dataDir = join(folder, 'data');
    const service = await serveWorkers({ DATABASE_URL: '', DATA_DIR: dataDir });
    await connectClient(service).listUsers({});
    const postmaster = join(dataDir, 'pgdata/postmaster.pid');
    const postgres = Number.parseInt(readFileSync(postmaster, 'utf8'), 10);
    const workers = [...pids(service).values()];
    expect(await service.end('SIGTERM')).toBe(0);
    expect(existsSync(postmaster)).toBe(false);
    expect(workers.some(isAlive)).toBe(false);
    // It has removed its file and is about to exit.
    await vi.waitFor(() => expect(isAlive(postgres)).toBe(false), waitOptions);
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'stopped')).toHaveLength(3),
      waitOptions,
    );
    expect(service.lines.at(-1)).not.toHaveProperty('worker');
    // A worker that outlives its database, or stops after it, would log this.
    expect(messages(service)).not.toContain('cannot reach the database');
  });

  it('by Ctrl-C, which all processes receive, answers the running calls', async () => {
    const service = await serveWorkers({}, { isGroup: true });
    const held = await holdCreates('Grace');
    const client = connectClient(service);
    const call = client.createUser({ user: { firstName: 'Grace', email: 'grace@example.com' } });
    await vi.waitFor(async () => expect(await held.waits()).toBe(true), waitOptions);
    const exited = new Promise((resolve) => service.process.once('exit', resolve));
    process.kill(-(service.process.pid ?? Number.NaN), 'SIGINT');
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'stopping')).toHaveLength(3),
      waitOptions,
    );
    await held.release();
    expect((await call).user?.email).toBe('grace@example.com');
    expect(await exited).toBe(0);
  });

  it('closes connections that arrive too late for the workers, even if calls continue', async () => {
    const service = await serveWorkers({ SHUTDOWN_DELAY_MS: '1000', SHUTDOWN_TIMEOUT_MS: '120000' });
    const held = await holdCreates('Barbara');
    const call = connectClient(service).createUser(
      { user: { firstName: 'Barbara', email: 'barbara@example.com' } },
      { deadlineMs: 120_000 },
    );
    await vi.waitFor(async () => expect(await held.waits()).toBe(true), waitOptions);
    service.process.kill('SIGTERM');
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'stopping')).toHaveLength(3),
      waitOptions,
    );
    // The parent learns of the connections and of the workers' closed ports at the same time.
    service.process.kill('SIGSTOP');
    const connections = openConnections(service);
    await sleep(2_000);
    service.process.kill('SIGCONT');
    const open = () => connections.filter(({ isAnswered, isClosed }) => !isAnswered() && !isClosed());
    await vi.waitFor(() => expect(open()).toEqual([]), waitOptions);
    await held.release();
    expect((await call).user?.email).toBe('barbara@example.com');
  });

  it('is immediate after a second signal', async () => {
    const service = await serveWorkers({ SHUTDOWN_DELAY_MS: '600000' });
    const workers = [...pids(service).values()];
    service.process.kill('SIGTERM');
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'stopping')).toHaveLength(3),
      waitOptions,
    );
    expect(await service.end('SIGTERM')).toBe(143);
    await vi.waitFor(() => expect(workers.some(isAlive)).toBe(false), waitOptions);
  });

  it('does not wait for an unresponsive worker', async () => {
    const service = await serveWorkers({ SHUTDOWN_TIMEOUT_MS: '0' });
    const workers = [...pids(service).values()];
    process.kill(workers[0] ?? Number.NaN, 'SIGSTOP');
    expect(await service.end('SIGTERM')).toBe(0);
    await vi.waitFor(() => expect(messages(service)).toContain('stopped'), waitOptions);
    expect(messages(service)).toContain('killing a worker that did not exit in time');
    expect(workers.some(isAlive)).toBe(false);
  });

  it('of the primary process by kill -9 also ends its workers', async () => {
    const service = await serveWorkers();
    const client = connectClient(service);
    const held = await holdCreates('Edsger');
    // Longer than the second server takes to start on a busy machine.
    const options = { deadlineMs: 60_000 };
    const call = client.createUser({ user: { firstName: 'Edsger', email: 'edsger@example.com' } }, options);
    await vi.waitFor(async () => expect(await held.waits()).toBe(true), waitOptions);
    const workers = [...pids(service).values()];
    expect(await service.end('SIGKILL')).toBeNull();
    // The port is free at once, while a worker still answers its call.
    await serveWorkers({ GRPC_ADDRESS: service.address });
    await held.release();
    expect((await call).user?.email).toBe('edsger@example.com');
    await vi.waitFor(() => expect(workers.some(isAlive)).toBe(false), waitOptions);
  });
});

describe('the indexes for lists', () => {
  it('are built by one of the workers, even if several need them', async () => {
    await using own = await createTestDatabase();
    const service = await serveWorkers({ DATABASE_URL: own.url });
    await own.query(`
      insert into users (id, first_name, email)
      select gen_random_uuid(), 'Ada', 'e' || i || '@x' from generate_series(1, 20001) as i`);
    const client = connectClient(service, 4);
    const lists = Array.from({ length: 8 }, (_, index) =>
      client.listUsers({ orderBy: index % 2 === 0 ? 'last_name' : 'last_name desc' }),
    );
    for (const { users } of await Promise.all(lists)) expect(users).toHaveLength(50);
    const built = () => service.lines.filter(({ msg }) => msg === 'built an index for lists');
    await vi.waitUntil(() => built().length > 0, waitOptions);
    // Both workers have closed, and have logged what they did.
    await service.end('SIGTERM');
    expect(built().map(({ index }) => index)).toEqual(['users_last_name_id']);
    expect(service.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('a start with workers that fails', () => {
  it('because the port is in use is reported once', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const settings = { DATABASE_URL: database.url, GRPC_ADDRESS: `127.0.0.1:${port}`, LOG_LEVEL: 'silent' };
    const alone = await expectStartFailure(settings);
    expect(alone.code).toBe(1);
    expect(await expectStartFailure({ ...settings, WORKERS: '2' })).toEqual(alone);
  });

  it('because a worker cannot serve is reported once, and leaves nothing behind', async () => {
    await using own = await createTestDatabase();
    // The worker notices this after the migrations, which the primary process runs.
    await own.query('drop table directory cascade');
    const settings = { DATABASE_URL: own.url, GRPC_ADDRESS: 'localhost:0', LOG_LEVEL: 'silent' };
    const alone = await expectStartFailure(settings);
    expect(alone.code).toBe(1);
    expect(alone.errors).toMatch(/^error: .*\n$/);
    const many = await expectStartFailure({ ...settings, WORKERS: '2' });
    expect(many.code).toBe(1);
    expect(many.errors).toMatch(/^error: .*\n$/);
    await vi.waitFor(async () => {
      const sessions = await own.query(
        `select from pg_stat_activity where datname = current_database() and application_name like 'roster%'`,
      );
      expect(sessions).toEqual([]);
    }, waitOptions);
  });
});
