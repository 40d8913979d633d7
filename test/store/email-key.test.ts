/** The shorter way to an email's key leads to the same key, and connections that are open when it is opened find it. */
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmailKeyOfAscii1795396000000 } from '../../migrations/1795396000000-email-key-of-ascii.js';
import { type Database, openDatabase } from '../../src/store/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

it('is in lower case and NFC by ICU, whatever the email', async () => {
  const ascii = Array.from({ length: 127 }, (_, index) => String.fromCharCode(index + 1));
  const text = fc.string({ unit: fc.constantFrom(...ascii, 'É', 'e\u0301', 'İ', 'ß', 'Σ', 'K', '😀'), maxLength: 12 });
  const emails = [...ascii, ...fc.sample(text, 2000)];
  const differing = await testDatabase.query(
    `select email from unnest($1::text[]) as given(email)
     where email_key(email) collate "C" <> lower(normalize(email, NFC) collate "und-x-icu") collate "C"`,
    [emails],
  );
  expect(differing).toEqual([]);
});

it('is found in the index by connections that were open before it was computed in another way', async () => {
  const migration = new EmailKeyOfAscii1795396000000();
  const client = new pg.Client({ connectionString: testDatabase.url });
  await client.connect();
  try {
    const insert = {
      name: 'insert',
      text: `insert into users (id, first_name, email) values (gen_random_uuid(), 'Ada', $1) on conflict (email_key(email)) do nothing`,
    };
    const insertedRows = async (email: string) => (await client.query({ ...insert, values: [email] })).rowCount;
    expect(await insertedRows('Ada@Example.com')).toBe(1);
    for (const direction of ['down', 'up'] as const) {
      const runner = database.dataSource.createQueryRunner();
      await runner.startTransaction();
      await migration[direction](runner);
      await runner.commitTransaction();
      await runner.release();
      expect(await insertedRows('ADA@example.com')).toBe(0);
      expect(await insertedRows(`É${direction}@example.com`)).toBe(1);
      expect(await insertedRows(`e\u0301${direction}@example.com`)).toBe(0);
      await client.query('set enable_seqscan = off');
      const { rows } = await client.query(`explain select from users where email_key(email) = 'x'`);
      expect(JSON.stringify(rows)).toContain('users_email_key');
    }
  } finally {
    await client.end();
  }
});
