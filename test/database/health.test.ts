/** Tests which connections survive while the watch cannot reach the database. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { type DatabaseWatch, watchDatabase } from '../../src/database/health.js';
import { Fault } from '../../src/model/fault.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 30_000 };
let testDatabase: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let watch: DatabaseWatch;
let reports: boolean[];

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  proxy = await startTcpProxy(testDatabase.url);
  database = await openDatabase(databaseOptions(proxy.url));
  reports = [];
  watch = watchDatabase({
    url: proxy.url,
    onChange: (isThere) => reports.push(isThere),
    onOutdated: (mode) => database.renewConnections(mode),
  });
  await reported(true);
});
afterEach(async () => {
  proxy.cut();
  proxy.resume();
  await watch.close();
  await database.close();
  await proxy[Symbol.asyncDispose]();
  await testDatabase[Symbol.asyncDispose]();
});

async function reported(isThere: boolean): Promise<void> {
  await vi.waitUntil(() => reports.at(-1) === isThere, waitOptions);
}

describe('a database that does not answer for a while', () => {
  it('can be closed while it connects', async () => {
    // Each of these is at another step of connecting.
    for (const waitMs of [0, 1, 5]) {
      const other = watchDatabase({ url: proxy.url, onChange() {} });
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      await other.close();
    }
  });

  it('keeps the connections that are in use if it answers on them again', async () => {
    await using session = await database.openSession(new AbortController().signal);
    await session.query('create temp table staged (id integer)');
    proxy.pause();
    const answers = Promise.allSettled([
      session.query('insert into staged values (1) returning id'),
      database.run({ name: '', text: 'select 1' }, []),
    ]);
    await reported(false);
    proxy.resume();
    await reported(true);
    expect(await answers).toMatchObject([{ value: [[1]] }, { value: [[1]] }]);
    expect(await session.query('select id from staged')).toEqual([[1]]);
  });

  it('has the connections that are in use cut if it answers on new ones only', async () => {
    await using session = await database.openSession(new AbortController().signal);
    proxy.pause();
    const answer = session.query('select 1').catch((error: unknown) => error);
    await reported(false);
    proxy.freeze();
    proxy.resume();
    await reported(true);
    expect(await answer).toBeInstanceOf(Fault);
  });
});
