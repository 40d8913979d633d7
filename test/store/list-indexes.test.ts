/** Indexes for lists: one process builds each, an interrupted build is repaired, and lists work without them. */
import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import { listPage } from '../../src/operations/list-page.js';
import { insertUsers } from '../../src/store/insert-users.js';
import {
  buildListIndex,
  dropListIndex,
  findListIndexes,
  hasManyUsers,
  type ListIndex,
  listIndexes,
  readListIndexStatus,
  usersWithoutIndexMax,
} from '../../src/store/list-indexes.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;
const waitOptions = { timeout: 30_000 };

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

async function insert(): Promise<void> {
  const [outcome] = await insertUsers(database, [{ id: uuidv7(), fields: someFields(), request: undefined }]);
  expect(outcome).toHaveProperty('version');
}

const existing = async () => [...(await findListIndexes(database.run))];
const statusOf = async ({ name }: ListIndex) =>
  (await readListIndexStatus(database.run)).find((status) => status.name === name);

/** Resolves when a statement waits for a lock. */
const waits = (statement: string) =>
  vi.waitFor(async () => {
    const waiting = await testDatabase.query(
      `select from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query like '%${statement}%'`,
    );
    expect(waiting).toHaveLength(1);
  }, waitOptions);

/** Holds a lock on the table, as a transaction that has written. */
async function openWriter(): Promise<AsyncDisposable> {
  const holder = await database.openSession(never);
  await holder.query('begin');
  await holder.query('lock table users in row exclusive mode');
  return holder;
}

describe.each(listIndexes)('$name', (index) => {
  it('is missing from a new directory, and is built once by concurrent processes', async () => {
    expect(await existing()).toEqual([]);
    expect(await statusOf(index)).toMatchObject({ state: 'missing', bytes: 0, scans: 0 });
    const outcomes = await Promise.all(Array.from({ length: 3 }, () => buildListIndex(database, index, never)));
    expect(outcomes.filter((outcome) => outcome === 'built')).toHaveLength(1);
    expect(await buildListIndex(database, index, never)).toBe('exists');
    expect(await existing()).toEqual([index.name]);
    const status = await statusOf(index);
    expect(status).toMatchObject({ state: 'exists', scans: 0 });
    expect(status?.bytes).toBeGreaterThan(0);
  });

  it('is built again if its build was interrupted', async () => {
    await buildListIndex(database, index, never);
    await testDatabase.query(`update pg_index set indisvalid = false where indexrelid = '${index.name}'::regclass`);
    expect(await existing()).toEqual([]);
    expect(await statusOf(index)).toMatchObject({ state: 'unusable' });
    expect(await buildListIndex(database, index, never)).toBe('built');
    expect(await existing()).toEqual([index.name]);
  });

  it('replaces another index with its name, which lists cannot use', async () => {
    await testDatabase.query(`create index ${index.name} on users (update_time)`);
    expect(await existing()).toEqual([]);
    expect(await statusOf(index)).toMatchObject({ state: 'unusable' });
    expect(await buildListIndex(database, index, never)).toBe('built');
    expect(await existing()).toEqual([index.name]);
  });

  it('is dropped without waiting for reads, and can be built again', async () => {
    await buildListIndex(database, index, never);
    expect(await dropListIndex(database, index, never)).toBe(true);
    expect(await dropListIndex(database, index, never)).toBe(false);
    expect(await existing()).toEqual([]);
    expect(await buildListIndex(database, index, never)).toBe('built');
  });

  it('may be forbidden to the role, whose lists still work', async () => {
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    try {
      await testDatabase.query(`grant select, insert on all tables in schema public to ${role}`);
      const url = Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href;
      const other = await openDatabase(databaseOptions(url));
      try {
        const isSearch = index.name === 'users_search';
        expect(await buildListIndex(other, index, never)).toBe(isSearch ? 'noExtension' : 'notOwner');
        await testDatabase.query('create extension pg_trgm');
        expect(await buildListIndex(other, index, never)).toBe('notOwner');
        await insert();
        for (const changes of [{ query: 'ada' }, { orderBy: 'last_name desc' }, { orderBy: 'first_name' }]) {
          const request = parseListUsers({
            ...{ pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: true },
            ...changes,
          });
          const page = await listPage(other, presentIndexes, createPageTokens(randomBytes(32)), request, never);
          expect(page.totalSize).toBe(1);
          expect(page.users.map(decoded)).toMatchObject([{ firstName: 'Ada' }]);
        }
      } finally {
        await other.close();
      }
    } finally {
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
    expect(await existing()).toEqual([]);
  });
});

const [first, second] = listIndexes as [ListIndex, ListIndex];

describe('a build', () => {
  it('does not delay writes, shows its state, and stops when its caller aborts', async () => {
    {
      await using _writer = await openWriter();
      const caller = new AbortController();
      const outcome = buildListIndex(database, first, caller.signal).catch((error: unknown) => error);
      await waits('create index concurrently');
      expect(await statusOf(first)).toMatchObject({ state: 'building', built: 0 });
      await insert();
      expect(await buildListIndex(database, first, never)).toBe('building');
      // Only one process builds at a time, even another index.
      expect(await buildListIndex(database, second, never)).toBe('busy');
      caller.abort(new Error('closing'));
      expect(await outcome).toBe(caller.signal.reason);
    }
    expect(await buildListIndex(database, first, never)).toBe('built');
    expect(await existing()).toEqual([first.name]);
  });

  it('that fails leaves no index behind, which would take space and slow down writes', async () => {
    const writer = await openWriter();
    const outcome = buildListIndex(database, first, never).catch((error: unknown) => error);
    await waits('create index concurrently');
    await testDatabase.query(
      `select pg_cancel_backend(pid) from pg_stat_activity where query like 'create index concurrently%' and datname = current_database()`,
    );
    await writer[Symbol.asyncDispose]();
    expect(await outcome).toMatchObject({ reason: 'DEADLINE_PASSED' });
    expect(await statusOf(first)).toMatchObject({ state: 'missing' });
  });

  it('by the statement of an operator is left alone', async () => {
    const writer = await openWriter();
    const theirs = testDatabase.query(`create index concurrently ${first.name} on users (first_name, id)`);
    await waits('create index concurrently');
    expect(await buildListIndex(database, first, never)).toBe('building');
    await writer[Symbol.asyncDispose]();
    await theirs;
    expect(await existing()).toEqual([first.name]);
    expect(await buildListIndex(database, first, never)).toBe('exists');
  });

  it('by an operator in another role is left alone, although Roster cannot see its progress', async () => {
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    await testDatabase.query(`grant create on schema public to ${role}`);
    await testDatabase.query(`alter table users owner to ${role}`);
    const other = await openDatabase(
      databaseOptions(Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href),
    );
    try {
      const writer = await openWriter();
      const theirs = testDatabase.query(`create index concurrently ${first.name} on users (first_name, id)`);
      await waits('create index concurrently');
      expect(await buildListIndex(other, first, never)).toBe('busy');
      await writer[Symbol.asyncDispose]();
      await theirs;
      expect(await buildListIndex(other, first, never)).toBe('exists');
    } finally {
      await other.close();
      await testDatabase.query(`reassign owned by ${role} to current_user`);
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
  });

  it('finds the table in any schema of the search path', async () => {
    await testDatabase.query('create schema "Of ours"');
    await testDatabase.query('alter table users set schema "Of ours"');
    await testDatabase.query(`alter database ${testDatabase.name} set search_path = public, "Of ours"`);
    const other = await openDatabase(databaseOptions(testDatabase.url));
    try {
      expect(await buildListIndex(other, first, never)).toBe('built');
      expect([...(await findListIndexes(other.run))]).toEqual([first.name]);
      await testDatabase.query('update pg_index set indisvalid = false where indexrelid = $1::regclass', [
        `"Of ours".${first.name}`,
      ]);
      expect(await buildListIndex(other, first, never)).toBe('built');
      expect(await dropListIndex(other, first, never)).toBe(true);
    } finally {
      await other.close();
    }
  });
});

it('the number of users that need an index is counted exactly', async () => {
  const add = (count: number) =>
    testDatabase.query(
      `insert into users (id, first_name, email)
       select id, 'Ada', id || '@x' from (select gen_random_uuid() as id from generate_series(1, $1::int)) as ids`,
      [count],
    );
  await add(usersWithoutIndexMax);
  expect(await hasManyUsers(database.run)).toBe(false);
  await add(1);
  expect(await hasManyUsers(database.run)).toBe(true);
});
