/** Which searches use their index, and that an index of a previous version is replaced. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { parseListUsers } from '../../src/model/requests.js';
import { buildListIndex, findListIndexes, listIndexes } from '../../src/store/list-indexes.js';
import { listStatements } from '../../src/store/list-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

const never = new AbortController().signal;
const searchIndex = new Set(['users_search'] as const);
const request = { pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: true };

let testDatabase: TestDatabase;
let database: Database;

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
afterEach(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

async function build(): Promise<void> {
  const index = listIndexes.find(({ name }) => name === 'users_search');
  expect(index && (await buildListIndex(database, index, never))).toBe('built');
}

async function plan(query: string): Promise<string> {
  const { scope: _, ...listing } = parseListUsers({ ...request, query });
  const { statement, values } = listStatements({ ...listing, after: undefined, rowsMax: 51 }, searchIndex).at(-1) ?? {};
  const rows = await testDatabase.query<{ 'QUERY PLAN': string }>(`explain ${statement?.text}`, [...(values ?? [])]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

describe('the index for searches', () => {
  it('serves words of three or more letters, and emails', async () => {
    await testDatabase.query(`
      insert into users (id, first_name, last_name, email)
      select gen_random_uuid(), 'Ada' || i % 100, md5(i::text), 'e' || i || '@x' from generate_series(1, 20000) as i`);
    await build();
    await testDatabase.query('vacuum analyze users');
    for (const query of ['abcdef', 'ada7 abcdef', 'e1234@x']) expect(await plan(query)).toContain('users_search');
    expect(await plan('a')).not.toContain('users_search');
  });

  it('replaces the index of a previous version, which no search can use', async () => {
    await testDatabase.query('create extension pg_trgm');
    await testDatabase.query(
      'create index users_search on users using gin (search_text(first_name, last_name, email) gin_trgm_ops)',
    );
    const existing = () => database.withConnection(never, findListIndexes);
    expect(await existing()).not.toContain('users_search');
    await build();
    expect(await existing()).toContain('users_search');
    const [row] = await testDatabase.query<{ definition: string }>(
      `select pg_get_indexdef('users_search'::regclass) as definition`,
    );
    expect(row?.definition).toContain('search_key(');
  });
});
