/** The index for searches is built in the background, and searches work on a Postgres that cannot have it. */
import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import type { UserFields } from '../../src/model/user.js';
import { listPage } from '../../src/operations/list-page.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { listStatements } from '../../src/store/list-users.js';
import { ensureSearchIndex } from '../../src/store/search-index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';

const never = new AbortController().signal;
const pageTokens = createPageTokens(randomBytes(32));
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

async function insert(list: readonly Partial<UserFields>[]): Promise<void> {
  const rows = list.map((fields) => ({ id: uuidv7(), fields: someFields(fields), request: undefined }));
  for (const outcome of await insertUsers(database, rows)) expect(outcome).toHaveProperty('version');
}

async function isValid(): Promise<boolean | undefined> {
  const [row] = await testDatabase.query<{ valid: boolean }>(
    `select indisvalid as valid from pg_index where indexrelid = to_regclass('users_search')`,
  );
  return row?.valid;
}

async function plan(query: string): Promise<string> {
  const { scope: _, ...listing } = parseListUsers({ ...request, query });
  const { statement, values } = listStatements({ ...listing, after: undefined, rowsMax: 51 }).at(-1) ?? {};
  const rows = await testDatabase.query<{ 'QUERY PLAN': string }>(`explain ${statement?.text}`, [...(values ?? [])]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

describe('the index for searches', () => {
  it('is created once by concurrent processes', async () => {
    const states = await Promise.all(Array.from({ length: 3 }, () => ensureSearchIndex(database, never)));
    expect(states).toContain('created');
    expect(states.filter((state) => state === 'created')).toHaveLength(1);
    expect(await ensureSearchIndex(database, never)).toBe('exists');
    expect(await isValid()).toBe(true);
  });

  it('is created again if its creation was interrupted', async () => {
    await ensureSearchIndex(database, never);
    await testDatabase.query(`update pg_index set indisvalid = false where indexrelid = 'users_search'::regclass`);
    expect(await ensureSearchIndex(database, never)).toBe('created');
    expect(await isValid()).toBe(true);
  });

  it('replaces the index of a previous version, which no search can use', async () => {
    await testDatabase.query('create extension pg_trgm');
    await testDatabase.query(
      'create index users_search on users using gin (search_text(first_name, last_name, email) gin_trgm_ops)',
    );
    expect(await ensureSearchIndex(database, never)).toBe('created');
    expect(await ensureSearchIndex(database, never)).toBe('exists');
    const [row] = await testDatabase.query<{ definition: string }>(
      `select pg_get_indexdef('users_search'::regclass) as definition`,
    );
    expect(row?.definition).toContain('search_key(');
  });

  it('does not wait for reads or later writes, and stops when its caller aborts', async () => {
    const holder = await database.openSession(never);
    await holder.query('begin');
    await holder.query('lock table users in row exclusive mode');
    const caller = new AbortController();
    const state = ensureSearchIndex(database, caller.signal).catch((error: unknown) => error);
    await vi.waitFor(async () => {
      const waiting = await testDatabase.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%create index concurrently%'`,
      );
      expect(waiting).toHaveLength(1);
    }, 30_000);
    // It does not block writers while it waits.
    await insert([{}]);
    caller.abort(new Error('closing'));
    expect(await state).toBeInstanceOf(Error);
    await holder.query('rollback');
    await holder[Symbol.asyncDispose]();
    expect(await ensureSearchIndex(database, never)).toBe('created');
    expect(await isValid()).toBe(true);
  });

  it('is not required: a role that may not create it still gets answers', async () => {
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    try {
      await testDatabase.query(`grant select, insert on all tables in schema public to ${role}`);
      const url = Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href;
      const other = await openDatabase(databaseOptions(url));
      try {
        expect(await ensureSearchIndex(other, never)).toBe('impossible');
        await insert([{ firstName: 'Grace' }]);
        const { users } = await listPage(other, pageTokens, parseListUsers({ ...request, query: 'grace' }), never);
        expect(users).toHaveLength(1);
      } finally {
        await other.close();
      }
    } finally {
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
    expect(await isValid()).toBe(undefined);
  });

  it('serves words of three or more letters, and emails', async () => {
    await testDatabase.query(`
      insert into users (id, first_name, last_name, email)
      select gen_random_uuid(), 'Ada' || i % 100, md5(i::text), 'e' || i || '@x' from generate_series(1, 20000) as i`);
    await ensureSearchIndex(database, never);
    await testDatabase.query('vacuum analyze users');
    for (const query of ['abcdef', 'ada7 abcdef', 'e1234@x']) expect(await plan(query)).toContain('users_search');
    expect(await plan('a')).not.toContain('users_search');
  });
});
