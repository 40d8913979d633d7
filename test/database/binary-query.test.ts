/** Statements whose rows stay as Postgres sends them: what they do without a description, and after errors. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openPortal, runBinary } from '../../src/database/binary-query.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { type RowMessage, receiveRowMessages } from '../../src/database/row-messages.js';
import { storedInteger, storedText } from '../../src/model/stored-user.js';
import { nextRows } from '../../src/store/cursor-rows.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

let testDatabase: TestDatabase;
const cleanups: (() => Promise<void>)[] = [];
beforeAll(async () => {
  testDatabase = await createTestDatabase();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});
afterAll(async () => {
  await testDatabase?.[Symbol.asyncDispose]();
});

async function open(preparedStatements = true): Promise<Database> {
  const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1, preparedStatements }));
  cleanups.push(() => database.close());
  return database;
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: testDatabase.url });
  receiveRowMessages(client);
  await client.connect();
  cleanups.push(() => client.end());
  return client;
}

const integersOf = (rows: readonly RowMessage[]) => rows.map((row) => storedInteger(row, 0));
const one = { name: 'one', text: 'select 1' };

describe('a statement whose rows stay bytes', () => {
  it('requests no description of its columns', async () => {
    const client = await connect();
    let descriptions = 0;
    client.connection.on('rowDescription', () => descriptions++);
    for (const statement of [one, one, { name: '', text: 'select 1' }]) {
      expect(integersOf(await runBinary(client, statement, []))).toEqual([1]);
    }
    expect(descriptions).toBe(0);
    await client.query('begin');
    await openPortal(client, 'numbers', 'select * from generate_series(1, 5)', []);
    const pieces = [await nextRows(client, 'numbers', 3), await nextRows(client, 'numbers', 3)];
    expect(pieces.map(integersOf)).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
    expect(descriptions).toBe(0);
    // The driver's own queries still get theirs.
    expect((await client.query('select 1 as number')).rows).toEqual([{ number: 1 }]);
    expect(descriptions).toBe(1);
  });

  it('fails with an error that arrives after rows, and the connection stays usable', async () => {
    const database = await open();
    const statement = { name: 'fails', text: 'select 1 / (5000 - i) from generate_series(1, 10000) as i' };
    for (const _ of [1, 2]) await expect(database.runBinary(statement, [])).rejects.toMatchObject({ code: '22012' });
    expect(integersOf(await database.runBinary(one, []))).toEqual([1]);
  });

  it('fails with a Fault if its connection ends after rows', async () => {
    const database = await open();
    const text =
      'select case when i = 5000 then pg_terminate_backend(pg_backend_pid()) end from generate_series(1, 9000) as i';
    await expect(database.runBinary({ name: '', text }, [])).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(integersOf(await database.runBinary(one, []))).toEqual([1]);
  });

  it.each([true, false])('has rows of the new type after a migration (prepared statements: %j)', async (prepared) => {
    const database = await open(prepared);
    await testDatabase.query('create table outgrown as select 1 as number');
    const statement = { name: 'outgrown', text: 'select number from outgrown' };
    expect(integersOf(await database.runBinary(statement, []))).toEqual([1]);
    await testDatabase.query('alter table outgrown alter number type text');
    const rows = await database.runBinary(statement, []);
    expect(rows.map((row) => storedText(row, 0))).toEqual(['1']);
    await testDatabase.query('drop table outgrown');
  });

  it('is prepared again if a pooler changed the session', async () => {
    const database = await open();
    const onConnection = () =>
      database.withConnection(new AbortController().signal, (_run, runBinary) => runBinary(one, []));
    for (const run of [() => database.runBinary(one, []), onConnection]) {
      expect(integersOf(await run())).toEqual([1]);
      await database.run({ name: '', text: 'discard all' }, []);
      expect(integersOf(await run())).toEqual([1]);
    }
  });
});
