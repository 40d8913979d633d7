/** Servers with a replica, while they cannot reach the primary: reads continue, and writes fail at once. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createChannel, createClientFactory, Metadata } from 'nice-grpc';
import { HealthDefinition } from 'nice-grpc-server-health';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { type Client, createClient } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createRosterServers, type PostgresServer, type PostgresServers } from '../support/postgres-servers.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 60_000, interval: 50 };
const readRefused = { code: 'UNAVAILABLE', reason: 'DATABASE_UNAVAILABLE', message: /needs the primary/ };
const writeRefused = { code: 'UNAVAILABLE', reason: 'DATABASE_UNAVAILABLE', message: /serves only reads/ };

let servers: PostgresServers;
let primary: PostgresServer;
let standby: PostgresServer;
beforeAll(async () => {
  servers = await createRosterServers();
  primary = await servers.empty.copy();
  standby = await primary.copyAsStandby();
  await primary.start();
  await standby.start();
  await standby.catchUp(primary);
});
afterAll(() => servers?.[Symbol.asyncDispose]());

const person = () => ({ firstName: 'Ada', email: `ada.${randomUUID()}@example.com` });

async function metricOf({ http }: TestApp, name: string): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
}

/** A server with the standby as its replica. Resolves when reads use it. */
async function start(settings: Record<string, string> = {}): Promise<TestApp> {
  const app = await startTestApp({ DATABASE_URL: primary.url, DATABASE_REPLICA_URLS: standby.url, ...settings });
  await vi.waitUntil(async () => (await metricOf(app, 'roster_replica_used')) === 1, waitOptions);
  return app;
}

async function readiness({ http }: TestApp, path: string): Promise<[status: number, text: string]> {
  const response = await fetch(http + path);
  return [response.status, await response.text()];
}

/** Collects the health of a service. */
function watchHealth({ address }: TestApp, service: string): number[] {
  const states: number[] = [];
  const channel = createChannel(address);
  const stop = new AbortController();
  const health = createClientFactory().create(HealthDefinition, channel);
  const watch = (async () => {
    for await (const { status } of health.watch({ service }, { signal: stop.signal })) states.push(status);
  })().catch(() => {});
  onTestFinished(async () => {
    stop.abort();
    await watch;
    channel.close();
  });
  return states;
}

/** Keeps reading. Returns the number of reads so far, and a function that ends them and returns the failures. */
function keepReading(client: Client, id: string) {
  const failures: unknown[] = [];
  const progress = { reads: 0 };
  let isRunning = true;
  const ended = (async () => {
    while (isRunning) {
      await client.getUser({ id }).catch((error: unknown) => failures.push(error));
      await client.listUsers({ pageSize: 2 }).catch((error: unknown) => failures.push(error));
      progress.reads++;
      await sleep(5);
    }
  })();
  const stop = async () => {
    isRunning = false;
    await ended;
    return failures;
  };
  return { progress, stop };
}

async function* just<T>(value: T) {
  yield value;
}

/** The first result of a stream, which then ends. */
async function firstOf<T>(stream: AsyncIterable<T>): Promise<IteratorResult<T>> {
  for await (const value of stream) return { done: false, value };
  return { done: true, value: undefined };
}

/** A user that the standby has. */
async function createReplicated({ client }: TestApp): Promise<string> {
  const { user } = await client.createUser({ user: person() });
  await standby.catchUp(primary);
  return user?.id ?? '';
}

const SERVING = 1;
const NOT_SERVING = 2;

describe('servers that have lost their primary', () => {
  it('stay healthy for reads, refuse writes, and accept them when the primary is back', async () => {
    await using first = await start();
    await using second = await start();
    const id = await createReplicated(first);
    using client = createClient({ address: [first.address, second.address], consistency: false, attemptsMax: 1 });
    const states = Object.fromEntries(
      ['', 'users.v1.UserService', 'writes', 'profileservice.ProfileService'].map((service) => [
        service,
        watchHealth(first, service),
      ]),
    );
    const reading = keepReading(client, id);
    await vi.waitUntil(() => reading.progress.reads > 20, waitOptions);

    await primary.stop();
    for (const app of [first, second]) {
      await vi.waitUntil(async () => (await metricOf(app, 'roster_serves_only_reads')) === 1, waitOptions);
      expect(await metricOf(app, 'roster_database_up')).toBe(0);
      expect(await readiness(app, '/readyz')).toEqual([200, 'serving only reads\n']);
      expect(await readiness(app, '/readyz/writes')).toEqual([503, 'serving only reads\n']);
      expect(app.lines.filter(({ msg }) => msg === 'serving only reads')).toHaveLength(1);
    }
    const before = reading.progress.reads;
    const writes = [
      () => client.createUser({ user: person() }),
      () => client.batchCreateUsers({ users: [person()] }),
      () => client.updateUser({ user: { id, firstName: 'Grace' } }),
      () => client.deleteUser({ id }),
      () => client.importAllUsers([person()]),
    ];
    for (const write of writes) {
      await expect(write()).rejects.toMatchObject({
        ...writeRefused,
        message: expect.stringMatching(writeRefused.message),
      });
    }
    const profiles = createClientFactory().create(ProfileServiceDefinition, createChannel(first.address));
    const profile = profiles.createProfile({ firstName: 'Ada', lastName: 'Byron', email: person().email });
    await expect(profile).rejects.toMatchObject({ code: 14 });
    expect(await client.isServing()).toBe(true);
    await vi.waitUntil(() => reading.progress.reads > before + 50, waitOptions);

    await primary.start();
    for (const app of [first, second]) {
      await vi.waitUntil(async () => (await readiness(app, '/readyz/writes'))[0] === 200, waitOptions);
      expect(await readiness(app, '/readyz')).toEqual([200, 'serving\n']);
      expect(await metricOf(app, 'roster_serves_only_reads')).toBe(0);
      expect((await app.client.createUser({ user: person() })).user?.firstName).toBe('Ada');
    }
    expect((await client.getUser({ id })).user?.firstName).toBe('Ada');
    expect(await reading.stop()).toEqual([]);
    await vi.waitUntil(() => states.writes?.length === 3, waitOptions);
    expect(states).toEqual({
      '': [SERVING],
      'users.v1.UserService': [SERVING],
      writes: [SERVING, NOT_SERVING, SERVING],
      'profileservice.ProfileService': [SERVING, NOT_SERVING, SERVING],
    });
  });

  it('are not healthy while no replica can be used', async () => {
    await using app = await start();
    const id = await createReplicated(app);
    await primary.stop();
    await vi.waitUntil(async () => (await readiness(app, '/readyz'))[1] === 'serving only reads\n', waitOptions);
    await standby.kill();
    await vi.waitUntil(async () => (await readiness(app, '/readyz'))[0] === 503, waitOptions);
    expect(await app.client.isServing()).toBe(false);
    await standby.start();
    await vi.waitUntil(async () => (await readiness(app, '/readyz'))[1] === 'serving only reads\n', waitOptions);
    using stranger = createClient({ address: app.address, consistency: false, attemptsMax: 1 });
    expect((await stranger.getUser({ id })).user?.id).toBe(id);
    await primary.start();
    await vi.waitUntil(async () => (await readiness(app, '/readyz/writes'))[0] === 200, waitOptions);
    await vi.waitFor(() => app.client.createUser({ user: person() }), waitOptions);
  });
});

describe('a server that alone cannot reach the primary', () => {
  it('fails one write of a client that knows another server, and serves its reads', async () => {
    await using proxy = await startTcpProxy(primary.url);
    // A write that tried to connect would wait until its deadline.
    await using cutOff = await start({ DATABASE_URL: proxy.url, DATABASE_CONNECT_TIMEOUT_MS: '600000' });
    await using steady = await start();
    const id = await createReplicated(steady);
    using client = createClient({ address: [cutOff.address, steady.address], consistency: false, attemptsMax: 1 });
    using direct = createClient({ address: cutOff.address, consistency: false, attemptsMax: 1 });
    const reading = keepReading(direct, id);

    proxy.pause();
    await vi.waitUntil(async () => (await readiness(cutOff, '/readyz'))[1] === 'serving only reads\n', waitOptions);
    await expect(direct.updateUser({ user: { id, lastName: 'Byron' } }, { deadlineMs: 60_000 })).rejects.toMatchObject({
      ...writeRefused,
      message: expect.stringMatching(writeRefused.message),
    });
    const failures: unknown[] = [];
    // Longer than the pause between two health checks.
    for (let call = 0; call < 60; call++) {
      await client.createUser({ user: person() }).catch((error: unknown) => failures.push(error));
      await sleep(50);
    }
    expect(failures).toHaveLength(1);
    expect((await client.getUser({ id })).user?.id).toBe(id);

    proxy.resume();
    await vi.waitUntil(async () => (await readiness(cutOff, '/readyz/writes'))[0] === 200, waitOptions);
    await vi.waitFor(() => direct.updateUser({ user: { id, lastName: 'Byron' } }), waitOptions);
    expect(await reading.stop()).toEqual([]);
  });

  it('fails reads that need the primary at once, and serves them again when the primary is back', async () => {
    await using proxy = await startTcpProxy(primary.url);
    // A read that tried to connect would wait until its deadline.
    await using app = await start({ DATABASE_URL: proxy.url, DATABASE_CONNECT_TIMEOUT_MS: '600000' });
    const id = await createReplicated(app);
    using client = createClient({ address: app.address, consistency: false, attemptsMax: 1, deadlineMs: 60_000 });
    const latest = { metadata: Metadata({ 'x-roster-consistency': 'latest' }) };
    const unknown = { metadata: Metadata({ 'x-roster-consistency': 'unknown' }) };
    const reads: Record<string, () => Promise<unknown>> = {
      getUser: () => client.getUser({ id }, latest),
      getUserWithUnknownToken: () => client.getUser({ id }, unknown),
      listUsers: () => client.listUsers({}, latest),
      batchGetUsers: () => client.batchGetUsers({ ids: [id] }, latest),
      resolveUsers: () => firstOf(client.resolveUsers(just({ ids: [id] }), latest)),
      exportUsers: () => firstOf(client.exportUsers({}, { deadlineMs: 60_000 })),
      watchUsers: () => firstOf(client.watchUsers({}, { deadlineMs: 60_000 })),
      watchUsersWithExisting: () => firstOf(client.watchUsers({ includeExisting: true }, { deadlineMs: 60_000 })),
      listUserChanges: () => client.listUserChanges({ id }),
    };

    proxy.pause();
    await vi.waitUntil(async () => (await readiness(app, '/readyz'))[1] === 'serving only reads\n', waitOptions);
    for (const [name, read] of Object.entries(reads)) {
      const failure = { ...readRefused, message: expect.stringMatching(readRefused.message) };
      await expect(read(), name).rejects.toMatchObject(failure);
    }
    expect((await client.getUser({ id })).user?.id).toBe(id);
    const followed = firstOf(app.client.followUsers({ includeExisting: true }));
    const exported = firstOf(app.client.exportAllUsers({ filter: `id == "${id}"` }, { attemptsMax: 100 }));

    proxy.resume();
    expect(await followed).toMatchObject({ done: false });
    expect(await exported).toMatchObject({ value: { id } });
    await vi.waitFor(() => client.getUser({ id }, latest), waitOptions);
    for (const [name, read] of Object.entries(reads)) await expect(read(), name).resolves.toBeDefined();
  });

  it('still tries them if the primary answers, but accepts no writes', async () => {
    await using app = await start();
    const id = await createReplicated(app);
    const latest = { metadata: Metadata({ 'x-roster-consistency': 'latest' }) };
    const setReadOnly = async (value: string) => {
      await primary.query(
        `begin read write; alter database roster set default_transaction_read_only = ${value}; commit`,
      );
    };
    await setReadOnly('on');
    try {
      await primary.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'roster-watch'",
      );
      await vi.waitUntil(async () => (await readiness(app, '/readyz'))[1] === 'serving only reads\n', waitOptions);
      await vi.waitFor(() => app.client.getUser({ id }, latest), waitOptions);
      expect(await readiness(app, '/readyz')).toEqual([200, 'serving only reads\n']);
    } finally {
      await setReadOnly('off');
    }
    await vi.waitUntil(async () => (await readiness(app, '/readyz/writes'))[0] === 200, waitOptions);
  });
});
