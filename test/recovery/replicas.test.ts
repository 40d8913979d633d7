/** Roster with a read replica whose replay is paused, so that it is known what it lacks. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { Metadata } from 'nice-grpc';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { type Client, type ClientOptions, createClient, RosterError } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { startReplication, type TestReplication } from '../support/replication.js';
import { serve } from '../support/served.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 60_000, interval: 50 };
const key = 'x-roster-consistency';
const hourMs = 3_600_000;

let servers: TestReplication;
let app: App;
let http: string;
const lines: Record<string, unknown>[] = [];

async function start(settings: Record<string, string>, linesOf: Record<string, unknown>[] = []): Promise<App> {
  const config = parseServerConfig({
    DATABASE_URL: servers.primary.url,
    DATABASE_REPLICA_URLS: servers.replica.url,
    DATABASE_REPLICA_LAG_MS_MAX: String(hourMs),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    ...settings,
  });
  return startApp(config, { logTo: { write: (text: string) => void linesOf.push(JSON.parse(text)) } });
}

function clientOf(of: App, options: ClientOptions = {}): Client {
  const client = createClient({ address: `localhost:${of.grpc.port}`, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** A client without tokens: its reads may be stale. */
const stranger = () => clientOf(app, { consistency: false });

const newUser = () => ({ firstName: 'Ada', email: `${randomUUID()}@example.com` });

const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => 'found',
    (error: unknown) => (error instanceof RosterError ? error.reason : error),
  );

/** The reads that the metrics count by outcome. */
async function readsOf(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const counts = [...text.matchAll(/^roster_replica_reads_total\{outcome="(\w+)"\} (\d+)$/gm)];
  return Object.fromEntries(counts.map(([, outcome, count]) => [outcome, Number(count)]));
}

async function metricOf(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{.*\\} (\\S+)$`, 'm').exec(text)?.[1]);
}

/** Waits until reads use the replica, and it lacks nothing. */
const isUsed = (url: string) =>
  vi.waitUntil(async () => {
    const [used, lag] = [await metricOf(url, 'roster_replica_used'), await metricOf(url, 'roster_replica_lag_seconds')];
    return used === 1 && lag === 0;
  }, waitOptions);

beforeAll(async () => {
  servers = await startReplication();
  app = await start({}, lines);
  http = `http://localhost:${app.http?.port}`;
}, 120_000);
afterAll(async () => {
  await app?.close();
  await servers?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await servers.replica.resume();
  await servers.replica.catchUp();
  await isUsed(http);
});

describe('a read replica', () => {
  it('serves reads of every kind', async () => {
    const client = stranger();
    const { user } = await client.createUser({ user: newUser() });
    const [id = '', email = ''] = [user?.id, user?.email];
    await servers.replica.catchUp();
    const before = await readsOf(http);
    expect((await client.getUser({ id })).user).toEqual(user);
    expect((await client.getUserByEmail({ email })).user).toEqual(user);
    expect((await client.batchGetUsers({ ids: [id] })).users).toEqual([user]);
    const page = await client.listUsers({ query: email, includeTotalSize: true });
    expect(page).toMatchObject({ users: [user], totalSize: 1 });
    for await (const { users } of client.resolveUsers(just({ ids: [id], emails: [email] }))) {
      expect(users).toEqual([user, user]);
    }
    const exported = [];
    for await (const each of client.exportAllUsers({ filter: `email == "${email}"` })) exported.push(each);
    expect(exported).toEqual([user]);
    expect(await readsOf(http)).toEqual({ ...before, replica: (before.replica ?? 0) + 6 });
  });

  it('may serve an older state to a client without a token, and never to one with a token', async () => {
    const { user } = await clientOf(app).createUser({ user: newUser() });
    const id = user?.id ?? '';
    await servers.replica.catchUp();
    await servers.replica.pause();
    const writer = clientOf(app);
    const { user: changed } = await writer.updateUser({
      user: { id, lastName: 'Lovelace' },
      updateMask: ['last_name'],
    });
    const { user: added } = await writer.createUser({ user: newUser() });

    const client = stranger();
    expect((await client.getUser({ id })).user?.lastName).toBe('');
    expect(await reasonOf(client.getUser({ id: added?.id }))).toBe('USER_NOT_FOUND');
    expect(await reasonOf(client.getUserByEmail({ email: added?.email }))).toBe('USER_NOT_FOUND');
    expect((await client.listUsers({ query: added?.email })).users).toEqual([]);

    expect((await writer.getUser({ id })).user).toEqual(changed);
    expect((await writer.getUserByEmail({ email: added?.email })).user).toEqual(added);
    expect((await writer.batchGetUsers({ ids: [id, added?.id ?? ''] })).users).toEqual([changed, added]);
    expect((await writer.listUsers({ query: added?.email })).users).toEqual([added]);
    for await (const { users } of writer.resolveUsers(just({ ids: [added?.id ?? ''] }))) expect(users).toEqual([added]);
    expect((await readsOf(http)).behind).toBeGreaterThan(0);

    await servers.replica.resume();
    await servers.replica.catchUp();
    expect((await client.getUser({ id })).user).toEqual(changed);
  });

  it('does not serve reads of clients that wrote until it has the write', async () => {
    const writer = clientOf(app);
    await servers.replica.pause();
    const { user } = await writer.createUser({ user: newUser() });
    const before = await readsOf(http);
    await writer.getUser({ id: user?.id });
    expect(await readsOf(http)).toEqual({ ...before, behind: (before.behind ?? 0) + 1 });
    await servers.replica.resume();
    await servers.replica.catchUp();
    await vi.waitUntil(async () => {
      const { replica = 0 } = await readsOf(http);
      await writer.getUser({ id: user?.id });
      return (await readsOf(http)).replica === replica + 1;
    }, waitOptions);
  });

  it('serves no export that it would not begin from the current state', async () => {
    const client = stranger();
    await servers.replica.pause();
    const { user } = await client.createUser({ user: newUser() });
    const exported = [];
    for await (const each of client.exportAllUsers({ filter: `email == "${user?.email}"` })) exported.push(each);
    expect(exported).toEqual([user]);
  });

  it('gives exports a position from which a watch misses nothing, also of open transactions', async () => {
    const client = stranger();
    const { user } = await client.createUser({ user: newUser() });
    const id = user?.id ?? '';
    // It has changed the user, but not committed when the export begins.
    const pgClient = await servers.primary.open();
    onTestFinished(() => pgClient.end());
    await pgClient.query('begin');
    await pgClient.query(
      `with updated as (update users set last_name = 'Late', version = version + 1 where id = $1 returning id)
      insert into changes (user_id, type, change_time) select id, 3, now() from updated`,
      [id],
    );
    // Later transactions, so that the open one is not the newest.
    await client.createUser({ user: newUser() });
    const before = await readsOf(http);
    let watchToken = '';
    let lastName: string | undefined;
    for await (const message of client.exportAllUsers({ filter: `email == "${user?.email}"` }).batches()) {
      lastName = message.users[0]?.lastName ?? lastName;
      watchToken = message.watchToken;
    }
    expect((await readsOf(http)).replica).toBe((before.replica ?? 0) + 1);
    expect(lastName).toBe('');
    await pgClient.query('commit');
    const signal = AbortSignal.timeout(30_000);
    for await (const { changes } of client.followUsers({ resumeToken: watchToken, signal })) {
      if (changes.some((change) => change.user?.id === id && change.user?.lastName === 'Late')) return;
    }
  });
});

describe('the consistency token', () => {
  /** The token in the trailer of a call. */
  async function tokenOf(call: (options: { onTrailer: (trailer: Metadata) => void }) => Promise<unknown>) {
    let token: string | undefined;
    await call({
      onTrailer: (trailer) => {
        token = trailer.get(key);
      },
    }).catch((error: unknown) => {
      if (!(error instanceof RosterError)) throw error;
    });
    return token;
  }

  it('is in the trailer of every write, also of one that changes nothing, and is greater for later writes', async () => {
    const client = stranger();
    const users = [newUser(), newUser()];
    const tokens: (string | undefined)[] = [];
    let id = '';
    tokens.push(
      await tokenOf(async (options) => {
        id = (await client.createUser({ user: newUser() }, options)).user?.id ?? '';
      }),
    );
    const user = { id, lastName: 'Lovelace' };
    const updateMask = ['last_name'];
    tokens.push(await tokenOf((options) => client.updateUser({ user, updateMask }, options)));
    tokens.push(await tokenOf((options) => client.updateUser({ user, updateMask }, options)));
    tokens.push(await tokenOf((options) => client.batchCreateUsers({ users }, options)));
    // The email is taken, and the client may look for the other user.
    tokens.push(await tokenOf((options) => client.createUser({ user: users[0] }, options)));
    tokens.push(await tokenOf((options) => client.importAllUsers([newUser()], options)));
    tokens.push(await tokenOf((options) => client.deleteUser({ id }, options)));
    for (const token of tokens) expect(token).toMatch(/^1\.[0-9a-f]{16}\.[0-9a-f]{24}$/);
    expect(tokens.toSorted()).toEqual(tokens);
    expect(await tokenOf((options) => client.listUsers({}, options))).toBeUndefined();
  });

  it('sends a read to the primary if it is `latest`, or if the server cannot read it', async () => {
    const client = stranger();
    await servers.replica.pause();
    const { user } = await client.createUser({ user: newUser() });
    const { unknown_token: before = 0, latest = 0 } = await readsOf(http);
    for (const token of ['latest', 'another', '1.0000000000000000.000000000000000000000000', 'x'.repeat(5000)]) {
      const metadata = Metadata({ [key]: token });
      expect((await client.getUser({ id: user?.id }, { metadata })).user).toEqual(user);
    }
    expect(await readsOf(http)).toMatchObject({ unknown_token: before + 3, latest: latest + 1 });
  });

  it('lets a read continue on the primary if the write was lost', async () => {
    const client = stranger();
    let token = '';
    const onTrailer = (trailer: Metadata) => {
      token = trailer.get(key) ?? '';
    };
    const { user } = await client.createUser({ user: newUser() }, { onTrailer });
    // Far after the end of the log.
    const lost = `${token.slice(0, -16)}00ffffffffffffff`;
    const { behind: before = 0 } = await readsOf(http);
    const found = await client.getUser({ id: user?.id }, { metadata: Metadata({ [key]: lost }) });
    expect(found.user).toEqual(user);
    expect((await readsOf(http)).behind).toBe(before + 1);
  });

  it('can be shared by clients, and continued', async () => {
    const consistency = { token: '' };
    const [one, another] = [clientOf(app, { consistency }), clientOf(app, { consistency })];
    await servers.replica.pause();
    const { user } = await one.createUser({ user: newUser() });
    expect(consistency.token).not.toBe('');
    expect((await another.getUser({ id: user?.id })).user).toEqual(user);
    const later = clientOf(app, { consistency: { token: consistency.token } });
    expect((await later.getUser({ id: user?.id })).user).toEqual(user);
    expect(await reasonOf(clientOf(app).getUser({ id: user?.id }))).toBe('USER_NOT_FOUND');
  });

  it('arrives over HTTP, and counts there', async () => {
    await servers.replica.pause();
    const post = (path: string, message: unknown, headers: Record<string, string> = {}) =>
      fetch(`${http}/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(message),
      });
    const user = newUser();
    const created = await post('users.v1.UserService/CreateUser', { user });
    const token = created.headers.get(`trailer-${key}`) ?? '';
    expect(token).not.toBe('');
    const { user: made } = (await created.json()) as { user: { id: string } };
    const read = (headers: Record<string, string>) => post('users.v1.UserService/GetUser', { id: made.id }, headers);
    expect((await read({})).status).toBe(404);
    expect((await read({ [key]: token })).status).toBe(200);
    // A failed call has it, too, without the prefix.
    const taken = await post('users.v1.UserService/CreateUser', { user });
    expect(taken.status).toBe(409);
    expect(taken.headers.get(key)?.localeCompare(token)).toBeGreaterThanOrEqual(0);
    const profile = { first_name: 'Ada', last_name: 'Lovelace', email: newUser().email };
    const ofProfile = await post('profileservice.ProfileService/CreateProfile', profile);
    expect(ofProfile.headers.get(`trailer-${key}`)).toMatch(/^1\./);
  });
});

describe('several workers', () => {
  it('each use the replica, see the writes of the others with a token, and survive its loss', async () => {
    const service = await serve({
      DATABASE_URL: servers.primary.url,
      DATABASE_REPLICA_URLS: servers.replica.url,
      DATABASE_REPLICA_LAG_MS_MAX: String(hourMs),
      WORKERS: '2',
    });
    onTestFinished(async () => {
      await service.end('SIGTERM');
      await servers.replica.start();
    });
    const workersWith = (fields: Record<string, unknown>) =>
      new Set(
        service.lines
          .filter((line) => Object.entries(fields).every(([name, value]) => line[name] === value))
          .map(({ worker }) => worker),
      );
    await vi.waitUntil(() => workersWith({ msg: 'reads use the replica' }).size === 2, waitOptions);
    // Several connections, which lead to both workers.
    const address = Array.from({ length: 4 }, () => service.address);
    const client = createClient({ address, attemptsMax: 1 });
    onTestFinished(() => client.close());
    const writeAndRead = async () => {
      const { user } = await client.createUser({ user: newUser() });
      const found = await Promise.all(address.map(() => client.getUser({ id: user?.id })));
      expect(found.map((each) => each.user)).toEqual(address.map(() => user));
    };
    for (let turn = 0; turn < 10; turn++) await writeAndRead();
    await servers.replica.pause();
    for (let turn = 0; turn < 10; turn++) await writeAndRead();
    expect(workersWith({ method: 'users.v1.UserService/GetUser', status: 'OK' })).toEqual(new Set([1, 2]));

    await servers.replica.stop();
    await writeAndRead();
    await vi.waitUntil(() => workersWith({ reason: 'unreachable' }).size === 2, waitOptions);
    await writeAndRead();
  });
});

async function* just<T>(message: T): AsyncGenerator<T> {
  yield message;
}

describe('a replica that cannot be used', () => {
  /** The reason in the latest line about the replica. */
  const latest = (of: readonly Record<string, unknown>[]) =>
    of.findLast(({ replica }) => replica !== undefined) as { msg: string; reason?: string } | undefined;

  it('is left out while it lags', async () => {
    const own: Record<string, unknown>[] = [];
    const strict = await start({ DATABASE_REPLICA_LAG_MS_MAX: '1000' }, own);
    onTestFinished(() => strict.close());
    const url = `http://localhost:${strict.http?.port}`;
    await isUsed(url);
    const client = clientOf(strict, { consistency: false });
    await servers.replica.pause();
    const { user } = await client.createUser({ user: newUser() });
    await vi.waitUntil(() => latest(own)?.reason === 'lagging', waitOptions);
    expect((await client.getUser({ id: user?.id })).user).toEqual(user);
    expect(await metricOf(url, 'roster_replica_used')).toBe(0);
    expect(await metricOf(url, 'roster_replica_lag_seconds')).toBeGreaterThanOrEqual(1);
    expect(await metricOf(url, 'roster_replica_lag_bytes')).toBeGreaterThan(0);
    await servers.replica.resume();
    await isUsed(url);
    expect(latest(own)?.msg).toBe('reads use the replica');
    expect(await metricOf(url, 'roster_replica_lag_bytes')).toBe(0);
  });

  it('costs no call if it stops', async () => {
    const client = stranger();
    const { user } = await client.createUser({ user: newUser() });
    await servers.replica.catchUp();
    let isRunning = true;
    let calls = 0;
    const load = Array.from({ length: 4 }, async () => {
      while (isRunning) {
        await client.getUser({ id: user?.id }, { attemptsMax: 1 });
        await client.listUsers({ pageSize: 5 }, { attemptsMax: 1 });
        calls++;
      }
    });
    await servers.replica.stop();
    await vi.waitUntil(() => latest(lines)?.reason === 'unreachable', waitOptions);
    const callsThen = calls;
    await vi.waitUntil(() => calls > callsThen + 20, waitOptions);
    await servers.replica.start();
    await isUsed(http);
    isRunning = false;
    await Promise.all(load);
  });

  it('costs no call if it no longer answers, and only the first reads wait for it', async () => {
    await using proxy = await startTcpProxy(servers.replica.url);
    const own: Record<string, unknown>[] = [];
    const remote = await start({ DATABASE_REPLICA_URLS: proxy.url }, own);
    onTestFinished(() => remote.close());
    await isUsed(`http://localhost:${remote.http?.port}`);
    const client = clientOf(remote, { attemptsMax: 1 });
    const { user } = await client.createUser({ user: newUser() });
    await servers.replica.catchUp();
    proxy.pause();
    const found = await Promise.all(Array.from({ length: 10 }, () => client.getUser({ id: user?.id })));
    expect(found.map((each) => each.user)).toEqual(found.map(() => user));
    await vi.waitUntil(() => latest(own)?.reason === 'unreachable', waitOptions);
    expect((await client.getUser({ id: user?.id })).user).toEqual(user);
    proxy.resume();
    await isUsed(`http://localhost:${remote.http?.port}`);
  });

  it('is not used if its address leads to several servers', async () => {
    const ports = [servers.replica, servers.primary].map(({ url }) => Number(new URL(url).port));
    let connections = 0;
    const balancer = createServer((near) => {
      const far = connect({ port: ports[connections++ % ports.length] ?? 0, host: '127.0.0.1' });
      near.on('error', () => far.destroy()).pipe(far);
      far.on('error', () => near.destroy()).pipe(near);
    });
    await once(balancer.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void balancer.close());
    const url = new URL(servers.replica.url);
    url.port = String((balancer.address() as AddressInfo).port);
    const own: Record<string, unknown>[] = [];
    const balanced = await start({ DATABASE_REPLICA_URLS: url.href }, own);
    onTestFinished(() => balanced.close());
    const client = clientOf(balanced, { attemptsMax: 1 });
    const { user } = await client.createUser({ user: newUser() });
    await vi.waitUntil(() => latest(own)?.reason === 'several servers', waitOptions);
    expect((await client.getUser({ id: user?.id })).user).toEqual(user);
  });

  it('needs a role that may read the tables, and no more', async () => {
    await servers.primary.query(`create role reader login password 'reader'`);
    await servers.primary.query('grant select on all tables in schema public to reader');
    await servers.replica.catchUp();
    const url = new URL(servers.replica.url);
    [url.username, url.password] = ['reader', 'reader'];
    const limited = await start({ DATABASE_REPLICA_URLS: url.href });
    onTestFinished(() => limited.close());
    await isUsed(`http://localhost:${limited.http?.port}`);
    const client = clientOf(limited);
    const { user } = await client.createUser({ user: newUser() });
    await servers.replica.catchUp();
    expect((await client.getUser({ id: user?.id })).user).toEqual(user);
    expect((await client.listUsers({ query: user?.email, includeTotalSize: true })).totalSize).toBe(1);
    for await (const each of client.exportAllUsers({ filter: `email == "${user?.email}"` })) expect(each).toEqual(user);
    expect(await readsOf(`http://localhost:${limited.http?.port}`)).toMatchObject({ replica: 3, failed: 0 });
  });

  it('is refused if it is not a replica of the database', async () => {
    await servers.primary.query('create database another');
    const url = new URL(servers.primary.url);
    [url.pathname, url.password] = ['/another', 'secret'];
    const own: Record<string, unknown>[] = [];
    const misled = await start({ DATABASE_REPLICA_URLS: url.href }, own);
    onTestFinished(() => misled.close());
    expect(latest(own)).toMatchObject({ level: 'error', reason: 'not a replica' });
    const client = clientOf(misled, { consistency: false });
    const { user } = await client.createUser({ user: newUser() });
    expect((await client.getUser({ id: user?.id })).user).toEqual(user);
    expect(await readsOf(`http://localhost:${misled.http?.port}`)).toMatchObject({ replica: 0, no_replica: 1 });
    expect(JSON.stringify(own)).not.toContain('secret');
  });

  it('does not delay the start if it cannot be reached', async () => {
    const own: Record<string, unknown>[] = [];
    const alone = await start({ DATABASE_REPLICA_URLS: 'postgres://roster:secret@127.0.0.1:1/roster' }, own);
    onTestFinished(() => alone.close());
    expect(latest(own)).toMatchObject({ level: 'warn', replica: '127.0.0.1:1/roster', reason: 'unreachable' });
    expect(JSON.stringify(own)).not.toContain('secret');
    expect((await clientOf(alone).listUsers({})).users).toBeDefined();
  });
});
