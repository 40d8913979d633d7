/** The schema after all migrations must match the golden dump and the entities. */
import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { dumpSchema } from '../support/schema-dump.js';

const goldenFile = new URL('../../migrations/schema.sql', import.meta.url);
const goldenHead =
  '-- The schema after all migrations, for review. UPDATE_SCHEMA=1 updates it: test/database/schema.test.ts.\n\n';

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

describe('the schema', () => {
  it('is the one in migrations/schema.sql', async () => {
    const dump = goldenHead + (await dumpSchema(testDatabase));
    if (process.env.UPDATE_SCHEMA === '1') await writeFile(goldenFile, dump);
    const golden = await readFile(goldenFile, 'utf8');
    expect(
      dump,
      'The migrations create a different schema. If that is intended: UPDATE_SCHEMA=1 npx vitest run test/database/schema.test.ts',
    ).toBe(golden);
  });

  it('matches the entities', async () => {
    const changes = async () => (await database.dataSource.driver.createSchemaBuilder().log()).upQueries;
    expect((await changes()).map((change) => change.query)).toEqual([]);
    // Shows that this test can fail:
    await testDatabase.query('alter table users alter column profile_image_url drop default');
    expect(await changes()).toHaveLength(1);
    await testDatabase.query(`alter table users alter column profile_image_url set default ''`);
  });

  it('has one directory with a separate secret', async () => {
    const [row] = await testDatabase.query<{ id: string; bytes: number }>(
      'select id, length(secret) as bytes from directory',
    );
    expect(row?.bytes).toBe(32);
    await expect(
      testDatabase.query(`insert into directory (id, secret) values (gen_random_uuid(), '')`),
    ).rejects.toMatchObject({ constraint: 'directory_is_one' });
  });
});
