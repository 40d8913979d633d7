/** Statements without a name may read whole tables. Tests their planner settings, and what the settings cost. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 30_000 };
const { signal } = new AbortController();
let testDatabase: TestDatabase;
let proxy: TcpProxy;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  proxy = await startTcpProxy(testDatabase.url);
  database = await openDatabase(databaseOptions(proxy.url, { connectionsMax: 1 }));
});
afterAll(async () => {
  proxy?.resume();
  await database?.close();
  await proxy?.[Symbol.asyncDispose]();
  await testDatabase?.[Symbol.asyncDispose]();
});

const scan = (text: string) => database.withConnection(signal, (run) => run({ name: '', text }, []));

describe('a statement without a name', () => {
  it('may read whole tables, unlike named statements on the same connection', async () => {
    const text = `select current_setting('enable_seqscan')`;
    const named = { name: 'seqscan', text };
    expect(await database.run(named, [])).toEqual([['off']]);
    expect(await scan(text)).toEqual([['on']]);
    expect(await database.run(named, [])).toEqual([['off']]);
  });

  it('takes one round trip with its setting', async () => {
    await scan('select 1');
    proxy.pauseAnswers();
    const rows = scan('select 2 from pg_advisory_lock(7)');
    const isDone = `
      select from pg_stat_activity join pg_locks using (pid)
      where locktype = 'advisory' and objid = 7 and granted and state = 'idle'`;
    await vi.waitUntil(async () => (await testDatabase.query(isDone)).length === 1, waitOptions);
    proxy.resume();
    expect(await rows).toEqual([[2]]);
  });

  it('that fails leaves its connection usable', async () => {
    const pid = await scan('select pg_backend_pid()');
    await expect(scan('select 1 / 0')).rejects.toThrow('division by zero');
    expect(await scan('select pg_backend_pid()')).toEqual(pid);
  });
});
