/** Searches must find the same users with and without their index. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import type { UserFields } from '../../src/model/user.js';
import { listPage } from '../../src/operations/list-page.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { listStatements } from '../../src/store/list-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { buildIndex, databaseOptions, presentIndexes, someFields } from '../support/open-database.js';

const never = new AbortController().signal;
const searchIndex = new Set(['users_search'] as const);
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
    await buildIndex(database, 'users_search');
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
          presentIndexes,
          pageTokens,
          parseListUsers({ ...request, query, pageSize: 1000, orderBy: 'last_name desc' }),
          never,
        );
        all.push([query, totalSize, found.map((user) => user.id)]);
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
    await buildIndex(database, 'users_search');
    // Every word with a trigram uses the index, even with few users, and no connection changes that back.
    await testDatabase.query(`alter database ${testDatabase.name} set enable_seqscan = off`);
    await testDatabase.query(`alter database ${testDatabase.name} set enable_indexscan = off`);
    const forced = await openDatabase(databaseOptions(testDatabase.url, { preparedStatements: false }));
    try {
      const { statement, values } = listStatements(
        {
          ...parseListUsers({ ...request, query: 'abc' }),
          after: undefined,
          rowsMax: 51,
        },
        searchIndex,
      ).at(-1) as ReturnType<typeof listStatements>[0];
      const explained = await forced.run({ name: '', text: `explain ${statement.text}` }, values);
      expect(explained.join()).toContain('users_search');
      expect(await answers(forced)).toEqual(without);
    } finally {
      await forced.close();
    }
  });
});
