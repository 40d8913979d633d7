/** Roster with a connection pooler, with and without a direct URL. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { noPgBouncer, type PgBouncer, startPgBouncer } from '../../bench/pgbouncer.js';
import { type Client, createClient } from '../../src/client/index.js';
import { describeStreams } from '../contract/streams.js';
import { describeContract } from '../contract/suite.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const waitOptions = { timeout: 30_000 };
const domain = () => `${randomUUID()}.example.com`;

async function* rows(count: number, at: string, firstName = 'Ada') {
  for (let row = 0; row < count; row++) {
    // Large enough to stage several pieces before the end.
    yield { firstName, email: `${row}@${at}`, attributes: { text: 'x'.repeat(3000) } };
  }
}

async function stagingTables(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `select count(*)::integer as count from pg_class where relname like 'staged_users%'`,
  );
  return row?.count ?? 0;
}

async function countIn(database: TestDatabase, at: string): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    'select count(*)::integer as count from users where email like $1',
    [`%@${at}`],
  );
  return row?.count ?? 0;
}

/** Small reads, so that clients swap server connections. */
async function withLoad<T>(client: Client, work: () => Promise<T>): Promise<T> {
  let isRunning = true;
  const load = Array.from({ length: 3 }, async () => {
    while (isRunning) await client.listUsers({ pageSize: 5, orderBy: 'update_time' });
  });
  try {
    return await work();
  } finally {
    isRunning = false;
    await Promise.all(load);
  }
}

describe.skipIf(noPgBouncer)(`PgBouncer in transaction mode${noPgBouncer ? `: ${noPgBouncer}` : ''}`, () => {
  let database: TestDatabase;
  let pooler: PgBouncer;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    pooler = await startPgBouncer(database.url, { mode: 'transaction' });
    app = await startTestApp({ DATABASE_URL: pooler.url, PREPARED_STATEMENTS: 'false', LIST_INDEXES: 'none' });
  });
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await pooler?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  it('rejects an import before anything is staged, and names the setting', async () => {
    const at = domain();
    const imports = [1, 2, 3, 4].map(() => app.client.importAllUsers(rows(800, at)));
    for (const outcome of await Promise.allSettled(imports)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { reason: 'DATABASE_UNAVAILABLE', message: expect.stringContaining('DATABASE_DIRECT_URL') },
      });
    }
    await withLoad(app.client, async () => {
      const answer = app.client.importAllUsers(rows(800, at));
      await expect(answer).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    });
    expect(await stagingTables(database)).toBe(0);
    expect(await countIn(database, at)).toBe(0);
  });

  it('exports all users in one transaction', async () => {
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email: `ada@${domain()}` } });
    const ids: string[] = [];
    for await (const { id } of app.client.exportAllUsers()) ids.push(id);
    expect(ids).toContain(user?.id);
  });
});

describe.skipIf(noPgBouncer)(
  `A direct URL past PgBouncer in transaction mode${noPgBouncer ? `: ${noPgBouncer}` : ''}`,
  () => {
    let database: TestDatabase;
    let pooler: PgBouncer;
    let app: TestApp;

    beforeAll(async () => {
      database = await createTestDatabase();
      pooler = await startPgBouncer(database.url, { mode: 'transaction' });
      app = await startTestApp({
        DATABASE_URL: pooler.url,
        DATABASE_DIRECT_URL: database.url,
        PREPARED_STATEMENTS: 'false',
      });
    });
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
      await pooler?.[Symbol.asyncDispose]();
      await database?.[Symbol.asyncDispose]();
    });

    describeContract('PgBouncer', () => app.client);
    describeStreams('PgBouncer', () => app.client, { requests: true, both: true });

    it('writes each import as it was sent, and nothing of cancelled ones', async () => {
      const at = domain();
      async function* givenUp() {
        yield* rows(600, `gone.${at}`);
        throw new Error('given up');
      }
      const outcomes = await withLoad(app.client, async () => {
        for (let turn = 0; turn < 3; turn++) await expect(app.client.importAllUsers(givenUp())).rejects.toThrow();
        return Promise.all([1, 2, 3].map((turn) => app.client.importAllUsers(rows(500, `${turn}.${at}`))));
      });
      for (const outcome of outcomes) expect(outcome).toMatchObject({ committed: true, created: 500, rejected: 0 });
      for (const turn of [1, 2, 3]) expect(await countIn(database, `${turn}.${at}`)).toBe(500);
      expect(await countIn(database, `gone.${at}`)).toBe(0);
      await vi.waitUntil(async () => (await stagingTables(database)) === 0, waitOptions);
    });
  },
);

describe('a direct URL', () => {
  it('to a different database makes the start fail', async () => {
    await using other = await createTestDatabase();
    await expect(startTestApp({ DATABASE_DIRECT_URL: other.url })).rejects.toThrow(
      'DATABASE_DIRECT_URL leads to a different database than DATABASE_URL.',
    );
  });
});

describe.skipIf(noPgBouncer)(`PgBouncer in session mode${noPgBouncer ? `: ${noPgBouncer}` : ''}`, () => {
  it('allows imports, and keeps nothing of what they staged', async () => {
    await using database = await createTestDatabase();
    await using pooler = await startPgBouncer(database.url, { mode: 'session', connections: 20 });
    await using app = await startTestApp({ DATABASE_URL: pooler.url });
    using client = createClient({ address: app.address });
    const at = domain();
    const outcome = await client.importAllUsers(rows(500, at));
    expect(outcome).toMatchObject({ committed: true, created: 500 });
    expect(await countIn(database, at)).toBe(500);
    await vi.waitUntil(async () => (await stagingTables(database)) === 0, waitOptions);
  });
});
