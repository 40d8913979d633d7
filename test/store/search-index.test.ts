/** Searches must find the same users with and without their index, and must work on a Postgres that cannot have it. */

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import { storedId } from '../../src/model/stored-user.js';
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

  it('changes no answer for any search', async () => {
    const letters = [
      ...'abcAB1 ',
      ...[
        '%',
        '_',
        '\\',
        "'",
        '@',
        '.',
        '-',
        'é',
        'e\u0301',
        'É',
        'ß',
        'ẞ',
        'İ',
        'ı',
        'Σ',
        'ς',
        '😀',
        'ﬁ',
        '中',
        '\u0301',
      ],
    ];
    const text = fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength: 8 }).map((parts) => parts.join(''));
    const users = fc.sample(fc.tuple(text, text), 400);
    await insert(users.map(([firstName, lastName]) => ({ firstName, lastName })));
    const texts = users.flat();
    const queries = [
      ...fc.sample(text, 40),
      // Parts of existing texts, and both at once.
      ...fc
        .sample(fc.tuple(fc.constantFrom(...texts), fc.nat(3), fc.constantFrom(...texts)), 60)
        .map(([first, start, second]) => `${[...first].slice(start).join('')} ${[...second].slice(0, 4).join('')}`),
    ];
    const answers = async (from: Database) => {
      const all = [];
      for (const query of queries) {
        const { users: found, totalSize } = await listPage(
          from,
          pageTokens,
          parseListUsers({ ...request, query, pageSize: 1000, orderBy: 'last_name desc' }),
          never,
        );
        all.push([query, totalSize, found.map(storedId)]);
      }
      return all;
    };
    const without = await answers(database);
    // Compared with a statement without LIKE, without the fast path for ASCII and without windows.
    for (const [query, totalSize] of without) {
      const words = [
        ...new Set(
          String(query)
            .split(/\s+/u)
            .filter((word) => word !== ''),
        ),
      ];
      const [row] = await testDatabase.query<{ count: string }>(
        `select count(*) from users u where not exists (
           select from unnest($1::text[]) as word where strpos(
             lower(normalize(u.first_name || chr(10) || u.last_name || chr(10) || u.email, NFC) collate "und-x-icu"),
             lower(normalize(word, NFC) collate "und-x-icu")) = 0)`,
        [words],
      );
      expect([query, totalSize]).toEqual([query, Number(row?.count)]);
    }
    await ensureSearchIndex(database, never);
    // Every word with a trigram uses the index, even with few users, and no connection changes that back.
    await testDatabase.query(`alter database ${testDatabase.name} set enable_seqscan = off`);
    await testDatabase.query(`alter database ${testDatabase.name} set enable_indexscan = off`);
    const forced = await openDatabase(databaseOptions(testDatabase.url, { preparedStatements: false }));
    try {
      const { statement, values } = listStatements({
        ...parseListUsers({ ...request, query: 'abc' }),
        after: undefined,
        rowsMax: 51,
      }).at(-1) as ReturnType<typeof listStatements>[0];
      const explained = await forced.run({ name: '', text: `explain ${statement.text}` }, values);
      expect(explained.join()).toContain('users_search');
      expect(await answers(forced)).toEqual(without);
    } finally {
      await forced.close();
    }
  });
});
