/** Roster with a replica behind PgBouncer. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { noPgBouncer, type PgBouncer, startPgBouncer } from '../../bench/pgbouncer.js';
import { createClient } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { startReplication, type TestReplication } from '../support/replication.js';

const waitOptions = { timeout: 60_000, interval: 50 };
const newUser = () => ({ firstName: 'Ada', email: `${randomUUID()}@example.com` });

async function readsOf({ http }: TestApp): Promise<Record<string, number>> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const counts = [...text.matchAll(/^roster_replica_reads_total\{outcome="(\w+)"\} (\d+)$/gm)];
  return Object.fromEntries(counts.map(([, outcome, count]) => [outcome, Number(count)]));
}

async function isUsed({ http }: TestApp): Promise<boolean> {
  return /^roster_replica_used\{.*\} 1$/m.test(await (await fetch(`${http}/metrics`)).text());
}

/** Leads each new connection to the next of the servers, as a load balancer does. */
async function startSwitch(ports: readonly number[]) {
  const open = new Set<Socket>();
  let next = 0;
  const server = createServer((near) => {
    const far = connect(ports[next++ % ports.length] ?? 0, '127.0.0.1');
    for (const [from, to] of [[near, far] as const, [far, near] as const]) {
      open.add(from);
      from.on('error', () => {});
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

describe.skipIf(noPgBouncer)(
  `a replica behind PgBouncer in transaction mode${noPgBouncer ? `: ${noPgBouncer}` : ''}`,
  () => {
    let servers: TestReplication;
    let pooler: PgBouncer;
    let app: TestApp;
    beforeAll(async () => {
      servers = await startReplication();
      pooler = await startPgBouncer(servers.replica.url, { mode: 'transaction' });
      app = await startTestApp({
        DATABASE_URL: servers.primary.url,
        DATABASE_REPLICA_URLS: pooler.url,
        PREPARED_STATEMENTS: 'false',
      });
      await vi.waitUntil(() => isUsed(app), waitOptions);
    }, 120_000);
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
      await pooler?.[Symbol.asyncDispose]();
      await servers?.[Symbol.asyncDispose]();
    });

    it('serves reads of every kind, also with a token', async () => {
      const { client } = app;
      const { user } = await client.createUser({ user: newUser() });
      const [id = '', email = ''] = [user?.id, user?.email];
      await servers.replica.catchUp();
      const usesReplica = async () => {
        const { replica: count = 0 } = await readsOf(app);
        await client.getUser({ id });
        return (await readsOf(app)).replica === count + 1;
      };
      await vi.waitUntil(usesReplica, waitOptions);
      const before = await readsOf(app);
      expect((await client.getUser({ id })).user).toEqual(user);
      expect((await client.getUserByEmail({ email })).user).toEqual(user);
      expect((await client.batchGetUsers({ ids: [id] })).users).toEqual([user]);
      expect(await client.listUsers({ query: email, includeTotalSize: true })).toMatchObject({
        users: [user],
        totalSize: 1,
      });
      const exported = [];
      for await (const each of client.exportAllUsers({ filter: `email == "${email}"` })) exported.push(each);
      expect(exported).toEqual([user]);
      const after = await readsOf(app);
      // On a slow machine, the export may find the replica behind.
      expect(after.replica).toBeGreaterThanOrEqual((before.replica ?? 0) + 4);
      expect(after.failed).toBe(before.failed);
    });

    it('fails no call when the server restarts, and serves no read from before its token', async () => {
      using stranger = createClient({ address: app.address, consistency: false });
      let isRunning = true;
      const failures: unknown[] = [];
      const load = Array.from({ length: 4 }, async () => {
        while (isRunning) await stranger.listUsers({ pageSize: 5 }).catch((error: unknown) => failures.push(error));
      });
      const { user } = await app.client.createUser({ user: newUser() });
      await servers.replica.catchUp();
      expect((await app.client.getUser({ id: user?.id })).user).toEqual(user);
      await servers.replica.kill();
      await servers.replica.start();
      expect((await app.client.getUser({ id: user?.id })).user).toEqual(user);
      await vi.waitUntil(() => isUsed(app), waitOptions);
      expect((await app.client.getUser({ id: user?.id })).user).toEqual(user);
      isRunning = false;
      await Promise.all(load);
      expect(failures).toEqual([]);
    });
  },
);

describe.skipIf(noPgBouncer)(`PgBouncer before several servers${noPgBouncer ? `: ${noPgBouncer}` : ''}`, () => {
  it('is not used as a replica', async () => {
    await using servers = await startReplication();
    await using proxy = await startSwitch([servers.primary.port, servers.replica.port]);
    await using pooler = await startPgBouncer(`postgres://roster@127.0.0.1:${proxy.port}/roster`, {
      mode: 'transaction',
    });
    await using app = await startTestApp({
      DATABASE_URL: servers.primary.url,
      DATABASE_REPLICA_URLS: pooler.url,
      PREPARED_STATEMENTS: 'false',
    });
    using client = createClient({ address: app.address, consistency: false });
    const isRefused = async () => {
      await Promise.all(Array.from({ length: 8 }, () => client.listUsers({ pageSize: 5 })));
      return app.lines.some(({ reason }) => reason === 'several servers');
    };
    await vi.waitUntil(isRefused, waitOptions);
  });
});
