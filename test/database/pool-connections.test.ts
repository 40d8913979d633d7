import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Row } from '../../src/database/columns.js';
import { type Database, type DatabaseOptions, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 30_000 };
let testDatabase: TestDatabase;
const opened: Database[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
});
afterEach(async () => {
  for (const database of opened.splice(0)) await database.close();
});
afterAll(() => testDatabase?.[Symbol.asyncDispose]());

async function open(changes: Partial<DatabaseOptions> = {}): Promise<Database> {
  const database = await openDatabase(databaseOptions(testDatabase.url, changes));
  opened.push(database);
  return database;
}

function run(database: Database, text: string): Promise<Row[]> {
  return database.run({ name: '', text }, []);
}

async function pidOf(database: Database): Promise<unknown> {
  const [row] = await run(database, 'select pg_backend_pid()');
  return row?.[0];
}

async function waitUntilRunning(start: string): Promise<void> {
  const text = `select from pg_stat_activity where state = 'active' and query like $1`;
  await vi.waitUntil(async () => (await testDatabase.query(text, [`${start}%`])).length > 0, waitOptions);
}

/** Opens as many connections as the pool may have. */
async function pidsOf(database: Database, connections: number): Promise<Set<unknown>> {
  const rows = await Promise.all(
    Array.from({ length: connections }, () => run(database, 'select pg_backend_pid() from pg_sleep(0.05)')),
  );
  return new Set(rows.map(([row]) => row?.[0]));
}

describe('a pooled connection', () => {
  it('is replaced when it has reached its maximum age, and not before', async () => {
    const young = await open({ connectionsMax: 1 });
    const aging = await open({ connectionsMax: 1, connectionAgeMsMax: 1000 });
    const [youngPid, agingPid] = [await pidOf(young), await pidOf(aging)];
    await vi.waitUntil(async () => (await pidOf(aging)) !== agingPid, waitOptions);
    expect(await pidOf(young)).toBe(youngPid);
  });

  it('is closed by a renewal if it is idle', async () => {
    const database = await open({ connectionsMax: 3 });
    const before = await pidsOf(database, 3);
    database.renewConnections('finish');
    const after = await pidsOf(database, 3);
    expect([...after].filter((pid) => before.has(pid))).toEqual([]);
    await vi.waitUntil(async () => {
      const alive = await testDatabase.query('select from pg_stat_activity where pid = any ($1)', [[...before]]);
      return alive.length === 0;
    }, waitOptions);
  });

  it('may finish its statement in a renewal with `finish`, and is then closed', async () => {
    const database = await open({ connectionsMax: 1 });
    const pid = await pidOf(database);
    const answer = run(database, `select 'finish', pg_sleep(0.5)`);
    await waitUntilRunning(`select 'finish'`);
    database.renewConnections('finish');
    expect(await answer).toHaveLength(1);
    expect(await pidOf(database)).not.toBe(pid);
  });

  it('fails its statement at once in a renewal with `cut`', async () => {
    const database = await open({ connectionsMax: 1 });
    const answer = run(database, `select 'cut', pg_sleep(600)`);
    await waitUntilRunning(`select 'cut'`);
    database.renewConnections('cut');
    await expect(answer).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });

  it('that only reads is replaced during its work, and the work runs again', async () => {
    const database = await open({ connectionsMax: 1 });
    let tries = 0;
    const rows = await database.withConnection(new AbortController().signal, async (query) => {
      tries++;
      const answer = query({ name: '', text: `select 'again' from pg_sleep($1)` }, [tries === 1 ? 600 : 0]);
      if (tries === 1) {
        await waitUntilRunning(`select 'again'`);
        database.renewConnections('cut');
      }
      return await answer;
    });
    expect(rows).toEqual([['again']]);
    expect(tries).toBe(2);
  });

  it('that is cut together with a session also fails that session', async () => {
    const database = await open();
    await using session = await database.openSession(new AbortController().signal);
    const answer = session.query('select pg_sleep(600)').catch((error: unknown) => error);
    database.renewConnections('cut');
    expect(await answer).toBeInstanceOf(Fault);
  });

  it('whose server becomes read-only is replaced with all others, and its write runs on a new one', async () => {
    const database = await open({ connectionsMax: 3 });
    await testDatabase.query('create table written (id integer)');
    // Like connections to a primary that has become read-only, while the address leads to the new one.
    await testDatabase.query(`alter database ${testDatabase.name} set default_transaction_read_only = on`);
    database.renewConnections('finish');
    const old = await pidsOf(database, 3);
    await testDatabase.query(`set default_transaction_read_only = off;
      alter database ${testDatabase.name} reset default_transaction_read_only`);
    expect(await run(database, 'insert into written values (1) returning id')).toEqual([[1]]);
    const now = await pidsOf(database, 3);
    expect([...now].filter((pid) => old.has(pid))).toEqual([]);
    expect(await testDatabase.query('select id from written')).toEqual([{ id: 1 }]);
  });
});

describe('a session', () => {
  it('that is aborted is disposed of even if its connection has died silently', async () => {
    await using proxy = await startTcpProxy(testDatabase.url);
    const database = await open({ directUrl: proxy.url });
    const abort = new AbortController();
    const session = await database.openSession(abort.signal);
    proxy.freeze();
    abort.abort();
    await session[Symbol.asyncDispose]();
  });
});
