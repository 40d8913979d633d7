/** Reads and exports on a replica that cancels its queries at once if they conflict with the replay. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { type Client, createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { startReplication, type TestReplication } from '../support/replication.js';

const waitOptions = { timeout: 60_000, interval: 50 };
const usersCount = 5_000;
const conflictsMin = 5;
const lockNotAvailable = '55P03';

let servers: TestReplication;
let app: App;
let client: Client;
const lines: Record<string, unknown>[] = [];

beforeAll(async () => {
  servers = await startReplication();
  await servers.replica.query('alter system set max_standby_streaming_delay = 0');
  await servers.replica.query('select pg_reload_conf()');
  const config = parseServerConfig({
    DATABASE_URL: servers.primary.url,
    DATABASE_REPLICA_URLS: servers.replica.url,
    DATABASE_REPLICA_LAG_MS_MAX: '600000',
    // Without indexes, a list reads all users, which takes long enough for a conflict.
    LIST_INDEXES: 'none',
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
  });
  app = await startApp(config, { logTo: { write: (text) => void lines.push(JSON.parse(text)) } });
  client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1, consistency: false });
  const users = Array.from({ length: usersCount }, (_, index) => ({
    firstName: `User ${index}`,
    email: `user${index}@example.com`,
    attributes: { text: 'x'.repeat(1_000) },
  }));
  await client.importAllUsers(users);
  await servers.replica.catchUp();
  await vi.waitUntil(() => lines.some(({ msg }) => msg === 'reads use the replica'), waitOptions);
}, 120_000);
afterAll(async () => {
  client?.close();
  await app?.close();
  await servers?.[Symbol.asyncDispose]();
});

async function conflicts(): Promise<number> {
  const [row] = await servers.replica.query<{ count: number }>(
    'select conflicts::integer as count from pg_stat_database where datname = current_database()',
  );
  return row?.count ?? 0;
}

/**
 * Removes old rows and locks the table, on the primary and so on the replica, until that has cancelled enough queries. Returns
 * false if it cannot lock the table, because an export on the primary reads it.
 */
async function causeConflicts(count: number): Promise<boolean> {
  const enough = (await conflicts()) + count;
  while ((await conflicts()) < enough) {
    await servers.primary.query(`update users set last_name = last_name || 'x' where first_name like 'User 1%'`);
    await servers.primary.query('vacuum users');
    for (let locks = 0; locks < 5; locks++) {
      const lock = `begin; set local lock_timeout = '2s'; lock table users in access exclusive mode; commit`;
      const error = await servers.primary.query(lock).then(
        () => undefined,
        (reason: { code?: string }) => reason,
      );
      if (error?.code === lockNotAvailable) return false;
      if (error !== undefined) throw error;
      await sleep(10);
    }
  }
  return true;
}

describe('a conflict between the replay and', () => {
  it('lists and lookups fails no call', async () => {
    let isRunning = true;
    let calls = 0;
    const load = Array.from({ length: 4 }, async (_, index) => {
      while (isRunning) {
        expect((await client.listUsers({ pageSize: 100, orderBy: 'first_name' })).users).toHaveLength(100);
        expect((await client.getUserByEmail({ email: `user${index}@example.com` })).user?.firstName).toBe(
          `User ${index}`,
        );
        calls++;
      }
    });
    // A call that fails ends the test at once.
    await Promise.race([causeConflicts(conflictsMin), Promise.all(load)]);
    isRunning = false;
    await Promise.all(load);
    expect(calls).toBeGreaterThan(conflictsMin);
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('an export lets the client resume, so that it receives every user once', async () => {
    let isOnReplica = false;
    // On a busy machine, an export may use the primary, because the replica answers its check too late.
    while (!isOnReplica) {
      const seen: string[] = [];
      for await (const { id } of client.exportAllUsers({})) {
        // The server cannot send the rest before the client reads on.
        if (seen.push(id) === 100) isOnReplica = await causeConflicts(1);
      }
      expect(seen).toHaveLength(usersCount);
      expect(new Set(seen).size).toBe(usersCount);
    }
    expect(lines.some(({ reason }) => reason === 'SNAPSHOT_TOO_OLD')).toBe(true);
  });
});
