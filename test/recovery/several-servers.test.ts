/** Several servers with one database: what clients see while servers restart, lose their database, or are added. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChannelCredentials, createChannel, createClient as createStockClient } from 'nice-grpc';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { type Client, createClient } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';
import { startTcpBalancer } from '../support/tcp-balancer.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 60_000 };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const person = () => ({ firstName: 'Ada', email: `ada.${randomUUID()}@example.com` });

/** The number of calls in the log of a server, of one method if it is named. */
function callsOf({ lines }: TestApp | Served, method = ''): number {
  return lines.filter((line) => line.msg === 'call' && String(line.method).endsWith(method)).length;
}

/** Keeps one call running, and returns the failures. */
function keepCalling(call: () => Promise<unknown>) {
  let isRunning = true;
  const failures: unknown[] = [];
  const ended = (async () => {
    while (isRunning) {
      await call().catch((error: unknown) => failures.push(error));
      // Leaves CPU time to servers that start.
      await sleep(5);
    }
  })();
  return async () => {
    isRunning = false;
    await ended;
    return failures;
  };
}

/** Watches until it is stopped. */
function collectIds(client: Client) {
  const ids = new Set<string>();
  const stop = new AbortController();
  const started = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const { changes } of client.followUsers({ signal: stop.signal })) {
      started.resolve();
      for (const { user } of changes) ids.add(user?.id ?? '');
    }
  })().catch(() => {});
  return {
    ids,
    started: started.promise,
    async stop() {
      stop.abort();
      await ended;
    },
  };
}

/** A client of grpc-js as it comes. It repeats only calls that a server has refused, as all gRPC libraries do. */
function createPlainClient(servers: readonly Served[]) {
  const targets = servers.map(({ address }) => `127.0.0.1:${address.split(':')[1]}`);
  const channel = createChannel(`ipv4:${targets.join(',')}`, ChannelCredentials.createInsecure(), {
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  });
  return { client: createStockClient(UserServiceDefinition, channel), close: () => channel.close() };
}

describe('a restart of three servers, one after the other, under load', () => {
  // It starts six servers.
  it('fails no call, also without a retry policy, and a watch misses no change', { timeout: 240_000 }, async () => {
    const settings = { DATABASE_URL: database.url };
    const servers = await Promise.all([serve(settings), serve(settings), serve(settings)]);
    onTestFinished(() => {
      // Has no effect on those that have ended.
      for (const server of servers) server.process.kill('SIGKILL');
    });
    using typed = createClient({ address: servers.map(({ address }) => address) });
    const plain = createPlainClient(servers);
    const watch = collectIds(typed);
    await watch.started;
    const created: string[] = [];
    const { user } = await typed.createUser({ user: person() });
    const id = user?.id ?? '';
    let version = 0;
    const loads = [
      keepCalling(() => typed.getUser({ id })),
      keepCalling(async () => {
        // The client repeats it if it fails, because it adds a request id.
        const { user } = await typed.createUser({ user: person() });
        created.push(user?.id ?? '');
      }),
      // The client does not repeat an update that may have run. A server that stops finishes such calls.
      keepCalling(() => typed.updateUser({ user: { id, attributes: { version: version++ } } })),
      keepCalling(() => plain.client.listUsers({ pageSize: 1 })),
      keepCalling(() => plain.client.createUser({ user: person() })),
    ];
    for (const [index, server] of servers.entries()) {
      await vi.waitFor(() => expect(callsOf(server, 'GetUser')).toBeGreaterThan(10), waitOptions);
      expect(await server.end('SIGTERM')).toBe(0);
      const restarted = await serve({ ...settings, GRPC_ADDRESS: server.address });
      servers[index] = restarted;
      // Both clients use it again before the next one stops.
      await vi.waitFor(() => {
        for (const method of ['GetUser', 'UpdateUser', 'ListUsers']) {
          expect(callsOf(restarted, method)).toBeGreaterThan(10);
        }
      }, waitOptions);
    }
    for (const stop of loads) expect(await stop()).toEqual([]);
    await vi.waitFor(() => expect(created.filter((id) => !watch.ids.has(id))).toEqual([]), waitOptions);
    await watch.stop();
    plain.close();
    for (const server of servers) await server.end('SIGTERM');
  });
});

describe('a server that cannot reach its database', () => {
  it('fails one call of a client that knows another server, and gets calls again when it serves', async () => {
    await using proxy = await startTcpProxy(database.url);
    await using cutOff = await startTestApp({ DATABASE_URL: proxy.url, DATABASE_CONNECT_TIMEOUT_MS: '500' });
    await using steady = await startTestApp({ DATABASE_URL: database.url });
    using client = createClient({ address: [cutOff.address, steady.address], attemptsMax: 1, deadlineMs: 5_000 });
    await vi.waitFor(async () => {
      await client.createUser({ user: person() });
      for (const app of [cutOff, steady]) expect(callsOf(app)).toBeGreaterThan(0);
    }, waitOptions);

    proxy.pause();
    await vi.waitFor(async () => expect(await cutOff.client.isServing()).toBe(false), waitOptions);
    const failures: unknown[] = [];
    // Longer than the pause between two health checks.
    for (let call = 0; call < 60; call++) {
      await client.createUser({ user: person() }).catch((error: unknown) => failures.push(error));
      await sleep(50);
    }
    expect(failures).toHaveLength(1);

    proxy.resume();
    const before = callsOf(cutOff, 'CreateUser');
    await vi.waitFor(async () => {
      await client.createUser({ user: person() }).catch(() => {});
      expect(callsOf(cutOff, 'CreateUser')).toBeGreaterThan(before + 2);
    }, waitOptions);
  });
});

describe('a server that is added behind a balancer of connections', () => {
  it('gets calls when the connections to the others reach their age, and no call fails', async () => {
    const settings = { DATABASE_URL: database.url, CONNECTION_AGE_MS_MAX: '1000' };
    await using first = await startTestApp(settings);
    await using second = await startTestApp(settings);
    await using balancer = await startTcpBalancer([first.address, second.address]);
    using client = createClient({ address: [balancer.address, balancer.address], attemptsMax: 1 });
    const stop = keepCalling(() => client.listUsers({ pageSize: 1 }));
    await vi.waitFor(() => {
      for (const app of [first, second]) expect(callsOf(app)).toBeGreaterThan(10);
    }, waitOptions);
    await using third = await startTestApp(settings);
    balancer.setServers([first.address, second.address, third.address]);
    await vi.waitFor(() => expect(callsOf(third)).toBeGreaterThan(10), waitOptions);
    expect(await stop()).toEqual([]);
  });
});
