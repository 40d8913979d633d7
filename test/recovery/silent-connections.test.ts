/** Connections to the database that die silently, and a primary that becomes read-only. */
import { createChannel, createClientFactory } from 'nice-grpc';
import { HealthDefinition } from 'nice-grpc-server-health';
import { describe, expect, it, vi } from 'vitest';
import { createClient, type RosterError } from '../../src/client/index.js';
import { startTestApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 30_000 };
// A statement on a dead connection would wait for its timeout, until after the end of the test.
const STATEMENT_TIMEOUT_MS = '600000';

describe('connections that a proxy has forgotten', () => {
  it('are replaced long before their statements time out, and no user is lost or written twice', async () => {
    await using database = await createTestDatabase();
    await using proxy = await startTcpProxy(database.url);
    await using app = await startTestApp({ DATABASE_URL: proxy.url, STATEMENT_TIMEOUT_MS });
    using client = createClient({ address: app.address, attemptsMax: 1, deadlineMs: 60_000 });
    const acknowledged: string[] = [];
    const failures = new Set<string>();
    let isRunning = true;
    const load = Array.from({ length: 16 }, async (_, worker) => {
      for (let turn = 0; isRunning; turn++) {
        const email = `${worker}.${turn}@example.com`;
        try {
          await client.createUser({ user: { firstName: 'Ada', email } });
          acknowledged.push(email);
        } catch (error) {
          const { code, reason } = error as RosterError;
          failures.add(`${code} ${reason}`);
        }
      }
    });
    const written = async () => {
      const before = acknowledged.length;
      await vi.waitUntil(() => acknowledged.length > before + 200, waitOptions);
    };
    try {
      await written();
      proxy.freeze();
      // Reads run again on a new connection, so this one is answered.
      const listed = client.listUsers({ pageSize: 1, orderBy: 'update_time' });
      await written();
      expect((await listed).users).toHaveLength(1);
    } finally {
      isRunning = false;
      await Promise.all(load);
    }
    // None failed if no statement was in flight when the connections died.
    expect([...failures].filter((failure) => failure !== 'UNAVAILABLE DATABASE_UNAVAILABLE')).toEqual([]);
    const rows = await database.query<{ email: string }>('select email from users');
    const emails = new Set(rows.map(({ email }) => email));
    expect(emails.size).toBe(rows.length);
    expect(acknowledged.filter((email) => !emails.has(email))).toEqual([]);
  });
});

describe('a primary that becomes read-only', () => {
  it('is replaced by the server that the address leads to, also for reads', async () => {
    await using database = await createTestDatabase();
    await using proxy = await startTcpProxy(database.url);
    await using app = await startTestApp({ DATABASE_URL: proxy.url });
    const channel = createChannel(app.address);
    const health = createClientFactory().create(HealthDefinition, channel);
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
    const read = () => app.client.getUser({ id: user?.id });
    const backends = async () => {
      const text = `select pid from pg_stat_activity where datname = current_database() and application_name = 'roster'`;
      return (await database.query<{ pid: number }>(text)).map(({ pid }) => pid);
    };

    // New connections behave like those to an old primary. The setting affects only new sessions, so the open ones are
    // cut.
    await database.query(`alter database ${database.name} set default_transaction_read_only = on`);
    proxy.cut();
    await vi.waitUntil(async () => (await health.check({ service: '' })).status === 2, waitOptions);
    await read();
    const old = await backends();
    expect(old).not.toEqual([]);

    // New connections now lead to the new primary. The open ones would serve reads forever.
    await database.query(`set default_transaction_read_only = off;
      alter database ${database.name} reset default_transaction_read_only`);
    await vi.waitUntil(async () => (await health.check({ service: '' })).status === 1, waitOptions);
    await read();
    await vi.waitUntil(async () => (await backends()).every((pid) => !old.includes(pid)), waitOptions);
    await app.client.updateUser({ user: { id: user?.id, lastName: 'Lovelace' } });
    channel.close();
  });
});
