/**
 * Pages in every order: each user once despite concurrent writes, split to fit into messages, and cancelled with the
 * call.
 */

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { orderFields } from '../../src/fields.js';
import { Fault } from '../../src/model/fault.js';

import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import { displayName, type JsonObject, type JsonValue, type User, type UserFields } from '../../src/model/user.js';
import { listPage } from '../../src/operations/list-page.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { buildListIndex, type ListIndexName, listIndexes } from '../../src/store/list-indexes.js';
import { type ExistingIndexes, listStatements } from '../../src/store/list-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;
const pageTokens = createPageTokens(randomBytes(32));
const request = { pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: false };

async function insert(database: Database, list: readonly Partial<UserFields>[]): Promise<User[]> {
  const users: User[] = [];
  for (let start = 0; start < list.length; start += 1000) {
    const rows = list
      .slice(start, start + 1000)
      .map((fields) => ({ id: uuidv7(), fields: someFields(fields), request: undefined }));
    for (const outcome of await insertUsers(database, rows)) {
      if (typeof outcome === 'string' || !('version' in outcome)) throw outcome;
      users.push(outcome);
    }
  }
  return users;
}

async function page(database: Database, changes: Partial<typeof request>) {
  const answer = await listPage(
    database,
    presentIndexes,
    pageTokens,
    parseListUsers({ ...request, ...changes }),
    never,
  );
  return { ...answer, users: answer.users.map(decoded) };
}

/** Reads all pages, and runs `between` between two pages. */
async function walk(
  database: Database,
  changes: Partial<typeof request>,
  between: () => Promise<void> = async () => {},
): Promise<User[]> {
  const users: User[] = [];
  for (let pageToken = ''; ; ) {
    const { users: more, nextPageToken } = await page(database, { ...changes, pageToken });
    users.push(...more);
    if (nextPageToken === '') return users;
    expect(more.length).toBeGreaterThan(0);
    expect(more.length).toBeLessThanOrEqual(changes.pageSize ?? 50);
    pageToken = nextPageToken;
    await between();
  }
}

/** By code point, which is how UTF-8 sorts. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const comparisons: Record<(typeof orderFields)[number], (a: User, b: User) => number> = {
  create_time: (a, b) => a.createTime.getTime() - b.createTime.getTime(),
  update_time: (a, b) => a.updateTime.getTime() - b.updateTime.getTime(),
  first_name: (a, b) => compareText(a.firstName, b.firstName),
  last_name: (a, b) => compareText(a.lastName, b.lastName),
  email: (a, b) => compareText(a.email.normalize('NFC').toLowerCase(), b.email.normalize('NFC').toLowerCase()),
};

/** The expected order, computed without SQL. */
function sorted(users: readonly User[], orderBy: string): string[] {
  const terms = orderBy === '' ? ['create_time'] : orderBy.split(',').map((term) => term.trim());
  return users
    .toSorted((a, b) => {
      for (const term of terms) {
        const [field, direction] = term.split(' ') as [(typeof orderFields)[number], string?];
        const order = comparisons[field](a, b);
        if (order !== 0) return direction === 'desc' ? -order : order;
      }
      return compareText(a.id, b.id);
    })
    .map((user) => user.id);
}

const longText = 'x'.repeat(100);
const sortedValues: readonly (JsonValue | undefined)[] = [
  ...[false, true, 0, -1.5, 1e300, -1e300, 5e-324, 0.1, 0.30000000000000004, 10, 9, 12345678901234568],
  ...['', '10', '9', 'a', 'A', 'ä', '\uffee', '😀', 'Zürich', 'true', `${longText}b`, `${longText}a`, '\u0001'],
  ...[null, [], [1], { b: 1 }, {}, undefined],
];
const attributeOrders = [
  ...['attributes.v', 'attributes.v desc', 'last_name desc, attributes.v', 'attributes.v desc, last_name'],
  'attributes["a, \\"key\\" desc"].b desc , attributes["v"]',
];

/** The expected order of users with `sortedValues`, which are in `v` and in `b` of another attribute. */
function sortedByAttribute(users: readonly User[], orderBy: string): string[] {
  const ranks = ['boolean', 'number', 'string'];
  const compare = (a: JsonValue | undefined, b: JsonValue | undefined, direction: number) => {
    const [rankOfA, rankOfB] = [ranks.indexOf(typeof a), ranks.indexOf(typeof b)];
    if (rankOfA < 0 || rankOfB < 0) return Number(rankOfA < 0) - Number(rankOfB < 0);
    if (rankOfA !== rankOfB) return direction * (rankOfA - rankOfB);
    if (typeof a !== 'string') return direction * (Number(a) - Number(b));
    return direction * compareText([...a].slice(0, 100).join(''), [...String(b)].slice(0, 100).join(''));
  };
  const terms = orderBy.split(/ *, (?=[al])/);
  return users
    .toSorted((a, b) => {
      for (const term of terms) {
        const direction = term.endsWith(' desc') ? -1 : 1;
        const order = term.startsWith('last_name')
          ? direction * compareText(a.lastName, b.lastName)
          : compare(a.attributes.v, b.attributes.v, direction);
        if (order !== 0) return order;
      }
      return compareText(a.id, b.id);
    })
    .map((user) => user.id);
}

const directions = orderFields.flatMap((field) => [field, `${field} desc`]);

describe('pages', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  let users: User[];

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = await openDatabase(databaseOptions(testDatabase.url));
    // Few different names, so that most rows tie. Different cases, planes and lengths, so that collations would differ.
    const names = ['a', 'A', 'b', 'ä', 'Z', '😀', '\uffee', 'a b', 'a-b', '_'];
    await insert(
      database,
      Array.from({ length: 120 }, (_, index) => ({
        firstName: names[index % 3] ?? '',
        lastName: ['', ...names][Math.floor(index / 7) % 11],
        email: `${names[index % 10]?.replaceAll(' ', '.')}${index % 2 === 0 ? 'X' : 'x'}${index}@x`,
      })),
    );
    await testDatabase.query(`
      update users set create_time = timestamptz '2026-01-01' + (ascii(email) % 4) * interval '1 ms',
        update_time = timestamptz '2026-01-01' + (length(email) % 3) * interval '1 ms'`);
    const all = await walk(database, { pageSize: 1000 });
    users = all;
  });

  afterAll(async () => {
    await database?.close();
    await testDatabase?.[Symbol.asyncDispose]();
  });

  it('without users are one empty page', async () => {
    expect(await page(database, { filter: 'first_name == "nobody"' })).toEqual({
      users: [],
      nextPageToken: '',
      totalSize: undefined,
    });
  });

  it.each(['', ...directions])(
    'ordered by %j contain every user once and in that order, ties by id',
    async (orderBy) => {
      expect(users).toHaveLength(120);
      for (const pageSize of [7, 50, 119, 120, 121]) {
        expect((await walk(database, { orderBy, pageSize })).map((user) => user.id)).toEqual(sorted(users, orderBy));
      }
    },
  );

  it('ordered by several fields contain every user once and in that order', async () => {
    const orders = fc
      .shuffledSubarray([...orderFields], { minLength: 2 })
      .chain((fields) =>
        fc.tuple(...fields.map((field) => fc.boolean().map((desc) => (desc ? `${field} desc` : field)))),
      )
      .map((terms) => terms.join(', '));
    await fc.assert(
      fc.asyncProperty(orders, fc.integer({ min: 5, max: 60 }), async (orderBy, pageSize) => {
        expect((await walk(database, { orderBy, pageSize })).map((user) => user.id)).toEqual(sorted(users, orderBy));
      }),
      { numRuns: 30 },
    );
  });

  it.each(attributeOrders)('ordered by %j contain every user once and in that order', async (orderBy) => {
    const marked = { filter: 'first_name == "Sorted"' };
    const stored = await insert(
      database,
      [...sortedValues, ...sortedValues].map((value, index) => ({
        firstName: 'Sorted',
        lastName: index % 2 === 0 ? 'a' : 'b',
        attributes: (value === undefined ? {} : { v: value, 'a, "key" desc': { b: value } }) as JsonObject,
      })),
    );
    for (const pageSize of [3, stored.length, 1000]) {
      const ids = (await walk(database, { ...marked, orderBy, pageSize })).map((user) => user.id);
      expect(ids).toEqual(sortedByAttribute(stored, orderBy));
    }
    await deleteUsers(
      database,
      stored.map(({ id }) => ({ id, version: undefined })),
    );
  });

  it('of one user each are as many as there are users', async () => {
    const filter = 'first_name == "a" && last_name != ""';
    const expected = users.filter((user) => user.firstName === 'a' && user.lastName !== '');
    expect((await walk(database, { filter, pageSize: 1, orderBy: 'last_name desc' })).map((user) => user.id)).toEqual(
      sorted(expected, 'last_name desc'),
    );
  });

  it('contain users as they were stored', async () => {
    const attributes = { a: [1, 'ü', null, { b: 1e21 }], z: '"' };
    // JSON.parse of today's V8 confuses the last two.
    const lists: JsonObject[] = [attributes, { '': 0, '\\': 0 }, { '': 0, '"': 0 }];
    const stored = await insert(
      database,
      lists.map((attributes) => ({ firstName: 'Stored', attributes, profileImageUrl: 'https://x' })),
    );
    for (let turn = 0; turn < 3; turn++) {
      expect((await page(database, { filter: 'first_name == "Stored"' })).users).toEqual(stored);
    }
    await deleteUsers(
      database,
      stored.map(({ id }) => ({ id, version: undefined })),
    );
  });

  it('count all matching users over all pages, if requested', async () => {
    const counted = { includeTotalSize: true, pageSize: 10 };
    const first = await page(database, counted);
    expect(first.totalSize).toBe(120);
    expect((await page(database, { ...counted, pageToken: first.nextPageToken })).totalSize).toBe(120);
    expect((await page(database, { ...counted, filter: 'first_name == "a"' })).totalSize).toBe(40);
    expect((await page(database, { ...counted, query: 'nobody' })).totalSize).toBe(0);
  });

  it('continue with another page size, but not with another filter, query or order', async () => {
    const { nextPageToken: pageToken } = await page(database, { pageSize: 10, orderBy: 'email' });
    expect((await page(database, { pageToken, pageSize: 20, orderBy: 'email' })).users).toHaveLength(20);
    for (const other of [
      {},
      { orderBy: 'email desc' },
      { orderBy: 'email', filter: 'email != ""' },
      { orderBy: 'email', query: 'x' },
    ]) {
      await expect(page(database, { pageToken, ...other })).rejects.toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
    }
  });

  it('continue at the same position after the last user was deleted', async () => {
    const [gone] = await insert(database, [{ firstName: 'a', lastName: 'a' }]);
    const orderBy = 'last_name desc, first_name';
    const before = sorted([...users, gone as User], orderBy);
    const place = before.indexOf(gone?.id ?? '');
    const first = await page(database, { orderBy, pageSize: place + 1 });
    expect(first.users.at(-1)?.id).toBe(gone?.id);
    await deleteUsers(database, [{ id: gone?.id ?? '', version: undefined }]);
    const second = await page(database, { orderBy, pageSize: 1000, pageToken: first.nextPageToken });
    expect(second.users.map((user) => user.id)).toEqual(before.slice(place + 1));
  });

  it.each([
    '',
    'first_name',
    'last_name desc',
    'email',
    'update_time desc, email desc',
    'first_name desc, last_name, email',
  ])('ordered by %j contain every remaining user exactly once during other creates and deletes', async (orderBy) => {
    const other = await openDatabase(databaseOptions(testDatabase.url));
    let isOver = false;
    const writer = (async () => {
      while (!isOver) {
        const names = ['a', 'b', '', '😀', 'zz'];
        const guests = await insert(
          other,
          names.map((name) => ({ firstName: name || 'A', lastName: name })),
        );
        await deleteUsers(
          other,
          guests.map(({ id }) => ({ id, version: undefined })),
        );
      }
    })();
    try {
      const seen = (await walk(database, { orderBy, pageSize: 9 })).map((user) => user.id);
      expect(new Set(seen).size).toBe(seen.length);
      const residents = new Set(users.map((user) => user.id));
      expect(seen.filter((id) => residents.has(id))).toEqual(sorted(users, orderBy));
    } finally {
      isOver = true;
      await writer;
      await other.close();
    }
  });
});

describe('a search', () => {
  let testDatabase: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = await openDatabase(databaseOptions(testDatabase.url));
    await insert(database, [
      { firstName: 'Ada', lastName: 'Lovelace', email: 'countess@example.com' },
      { firstName: 'Grace', lastName: 'Hopper', email: 'grace@navy.mil' },
      { firstName: '100%', lastName: 'a_b', email: 'back\\slash@x' },
      {
        firstName: 'Ångström',
        lastName: 'ΣΟΦΟΣ',
        email: 'İ@x',
        profileImageUrl: 'https://hidden',
        attributes: { a: 'hidden' },
      },
    ]);
  });

  afterAll(async () => {
    await database?.close();
    await testDatabase?.[Symbol.asyncDispose]();
  });

  it.each([
    ['ada', ['Ada']],
    ['ADA', ['Ada']],
    ['LACE ada', ['Ada']],
    ['love example', ['Ada']],
    ['ada hopper', []],
    ['a', ['Ada', 'Grace', '100%', 'Ångström']],
    ['x', ['Ada', '100%', 'Ångström']],
    ['grace grace', ['Grace']],
    ['adalovelace', []],
    ['a v', ['Ada', 'Grace']],
    ['%', ['100%']],
    ['a_b', ['100%']],
    ['_', ['100%']],
    ['\\', ['100%']],
    ["' or true --", []],
    ['ångström', ['Ångström']],
    ['angstrom', ['Ångström']],
    ['A\u030angstro\u0308m', ['Ångström']],
    ['σοφος', ['Ångström']],
    ['i\u0307@X', ['Ångström']],
    ['hidden', []],
    [':p0 $1 ?', []],
  ])('for %j finds %j', async (query, expected) => {
    const { users, totalSize } = await page(database, { query, includeTotalSize: true });
    expect(users.map((user) => user.firstName)).toEqual(expected);
    expect(totalSize).toBe(expected.length);
  });

  it('can be combined with a filter and with pages', async () => {
    const changes = {
      query: 'x',
      filter: 'last_name != "Hopper" && email.contains("x")',
      orderBy: 'first_name desc',
      pageSize: 1,
    };
    expect((await walk(database, changes)).map((user) => user.firstName)).toEqual(['Ångström', 'Ada', '100%']);
  });

  it('for the maximum number of words is answered', async () => {
    const query = Array.from({ length: 128 }, (_, index) => String.fromCodePoint(0x4e00 + index)).join(' ');
    expect((await page(database, { query })).users).toEqual([]);
  });
});

function countValues(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, child) => sum + countValues(child), 1);
}

describe('a page of large users', () => {
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

  const numbers = (text: string) =>
    JSON.parse(
      `[${Array(Math.floor(16_370 / (text.length + 1)))
        .fill(text)
        .join()}]`,
    );
  const shapes: [string, JsonObject][] = [
    ['lists of digits', { a: numbers('1') }],
    ['lists of empty lists', { a: numbers('[]') }],
    ['lists of lists of a digit', { a: numbers('[1]') }],
    ['short keys', Object.fromEntries(Array.from({ length: 1900 }, (_, index) => [index.toString(36), 1]))],
    ['letters of three bytes', { a: '€'.repeat(5_400) }],
    [
      'deep lists',
      {
        a: JSON.parse(
          `[${Array(220)
            .fill(`${'['.repeat(30)}1${']'.repeat(30)}`)
            .join()}]`,
        ),
      },
    ],
  ];

  it.each(shapes)('with %s fits into a message, and the pages contain all users', async (_, attributes) => {
    await testDatabase.query('delete from users');
    const name = '€'.repeat(256);
    const users = await insert(database, Array(90).fill({ firstName: name, lastName: name, attributes }));
    const seen: string[] = [];
    for (let pageToken = ''; ; ) {
      const { users: more, nextPageToken } = await page(database, { pageSize: 1000, pageToken });
      const message = ListUsersResponse.encode(
        ListUsersResponse.fromPartial({
          users: more.map((user) => ({ ...user, displayName: displayName(user), etag: 'v'.repeat(17) })),
          nextPageToken,
          totalSize: Number.MAX_SAFE_INTEGER,
        }),
      ).finish();
      expect(message.length).toBeLessThan(4 * 1024 * 1024);
      const values = more.reduce((sum, user) => sum + countValues(user.attributes), 0);
      expect(values).toBeLessThanOrEqual(50_000);
      // The estimates are upper bounds, but not wild ones.
      if (nextPageToken !== '') expect(message.length > 512 * 1024 || values > 40_000).toBe(true);
      seen.push(...more.map((user) => user.id));
      if (nextPageToken === '') break;
      pageToken = nextPageToken;
    }
    expect(seen.toSorted()).toEqual(users.map((user) => user.id).toSorted());
  });

  it('has 1000 users if their attributes are ordinary', async () => {
    await testDatabase.query('delete from users');
    const attributes = { department: 'ops', title: 'x'.repeat(800), tags: ['a', 'b', 'c'], manager: { name: 'Grace' } };
    await insert(database, Array(1001).fill({ attributes }));
    expect((await page(database, { pageSize: 1000 })).users).toHaveLength(1000);
  });
});

describe('a list that is cancelled', () => {
  // Far above what the slowest machine needs.
  const waitOptions = { timeout: 30_000 };
  let testDatabase: TestDatabase;

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    const database = await openDatabase(databaseOptions(testDatabase.url));
    await insert(database, [{}]);
    await database.close();
    // Simulates a long scan: a list waits here until the test lets it continue.
    await testDatabase.query(`
      alter table users rename to users_table;
      create function slowly() returns boolean language sql volatile as $$ select pg_sleep(600) is not null $$;
      create view users as select * from users_table where slowly()`);
  });

  afterAll(async () => {
    await testDatabase?.[Symbol.asyncDispose]();
  });

  const sleepers = () =>
    testDatabase.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
    );

  it.each([
    ['', 'with our name'],
    ['?application_name=theirs', 'with a name from the URL'],
  ])('is cancelled in the server, and its connection serves the next (%j: %s)', async (query) => {
    const database = await openDatabase(databaseOptions(testDatabase.url + query, { connectionsMax: 1 }));
    try {
      const [before] = await database.run({ name: 'pid', text: 'select pg_backend_pid()' }, []);
      const caller = new AbortController();
      const reason = new Fault('CALL_CANCELLED', 'gone');
      const answer = listPage(database, presentIndexes, pageTokens, parseListUsers(request), caller.signal).catch(
        (error: unknown) => error,
      );
      await vi.waitUntil(async () => (await sleepers()).length === 1, waitOptions);
      caller.abort(reason);
      expect(await answer).toBe(reason);
      expect(await sleepers()).toEqual([]);
      expect(await database.run({ name: 'pid', text: 'select pg_backend_pid()' }, [])).toEqual([before]);
    } finally {
      await database.close();
    }
  });

  it('is not started', async () => {
    const database = await openDatabase(databaseOptions(testDatabase.url));
    try {
      const reason = new Fault('DEADLINE_PASSED', 'late');
      await expect(
        listPage(database, presentIndexes, pageTokens, parseListUsers(request), AbortSignal.abort(reason)),
      ).rejects.toBe(reason);
    } finally {
      await database.close();
    }
  });

  it('is not started either if it is cancelled while it waits for a connection', async () => {
    const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1 }));
    try {
      const callers = [new AbortController(), new AbortController()];
      const [first, second] = callers.map(({ signal }) =>
        listPage(database, presentIndexes, pageTokens, parseListUsers(request), signal).catch(
          (error: unknown) => error,
        ),
      );
      await vi.waitUntil(async () => (await sleepers()).length === 1, waitOptions);
      const reasons = callers.map((_, index) => new Fault('CALL_CANCELLED', `${index}`));
      callers[1]?.abort(reasons[1]);
      callers[0]?.abort(reasons[0]);
      expect(await first).toBe(reasons[0]);
      expect(await second).toBe(reasons[1]);
      expect(await sleepers()).toEqual([]);
    } finally {
      await database.close();
    }
  });

  it('just when its statement has ended does not cancel the next statement on its connection', async () => {
    const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1 }));
    const holder = new pg.Client({ connectionString: testDatabase.url });
    await holder.connect();
    // The cancel request uses a separate connection, which ends after the request was sent.
    const disconnects = vi.spyOn(pg.Client.prototype, 'end');
    try {
      for (let turn = 1; turn <= 5; turn++) {
        await holder.query('select pg_advisory_lock(1)');
        const caller = new AbortController();
        const answer = database.withConnection(caller.signal, async () => {
          caller.abort();
          return 'answered';
        });
        // Runs until any cancel request has arrived.
        const next = database.run({ name: 'next', text: 'select 1 from pg_advisory_xact_lock(1)' }, []);
        expect(await answer).toBe('answered');
        await vi.waitUntil(() => disconnects.mock.calls.length === turn, waitOptions);
        await holder.query('select pg_advisory_unlock(1)');
        expect(await next).toEqual([[1]]);
      }
    } finally {
      disconnects.mockRestore();
      await holder.end();
      await database.close();
    }
  });

  it('many times at once cancels no other statement', async () => {
    const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 3 }));
    try {
      const outcomes = await Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          const caller = new AbortController();
          const isImpatient = index % 2 === 0;
          // Half of the cancelled calls never end on their own; the others are cancelled just when their answer
          // arrives.
          const seconds = index % 4 === 0 ? 600 : 0.002;
          const outcome = await database
            .withConnection(caller.signal, async (run) => {
              if (isImpatient) setTimeout(() => caller.abort(new Fault('CALL_CANCELLED', 'gone')), index % 5);
              return await run({ name: '', text: 'select 1 from pg_sleep($1)' }, [seconds]);
            })
            .catch((error: unknown) => error);
          return { isImpatient, seconds, outcome };
        }),
      );
      for (const { isImpatient, seconds, outcome } of outcomes) {
        if (seconds === 600 || outcome instanceof Error) {
          expect([isImpatient, outcome]).toMatchObject([true, { reason: 'CALL_CANCELLED' }]);
        }
      }
    } finally {
      await database.close();
    }
  });
});

describe('the plan of a list', () => {
  let testDatabase: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = await openDatabase(databaseOptions(testDatabase.url));
    await testDatabase.query(`
      insert into users (id, first_name, last_name, email, create_time)
      select gen_random_uuid(), 'f' || i % 100, 'l' || i % 1000, 'e' || i || '@x', now() - (i / 3) * interval '1 second'
      from generate_series(1, 10000) as i`);
    for (const index of listIndexes) expect(await buildListIndex(database, index, never)).toBe('built');
  });

  afterAll(async () => {
    await database?.close();
    await testDatabase?.[Symbol.asyncDispose]();
  });

  const all = new Set(listIndexes.map(({ name }) => name));
  const without = (name: ListIndexName) => new Set([...all].filter((other) => other !== name));

  /** The plans of the first page and of the page after a hundred users. */
  async function plans(orderBy: string, existing: ExistingIndexes = all): Promise<string[]> {
    const { nextPageToken } = await page(database, { orderBy, pageSize: 100 });
    const statements = ['', nextPageToken].map((pageToken) => {
      const { scope, ...listing } = parseListUsers({ ...request, orderBy });
      const after = pageToken === '' ? undefined : pageTokens.open(pageToken, scope);
      return listStatements({ ...listing, after, rowsMax: 101 }, existing)[0];
    });
    return Promise.all(
      statements.map(async ({ statement: { text }, values }) => {
        const rows = await testDatabase.query<{ 'QUERY PLAN': string }>(`explain ${text}`, [...values]);
        return rows.map((row) => row['QUERY PLAN']).join('\n');
      }),
    );
  }

  it.each(['create_time', 'email', 'first_name', 'last_name'].flatMap((field) => [field, `${field} desc`]))(
    'ordered by %j has the same statement with the values of each page',
    (orderBy) => {
      const { scope: _, ...listing } = parseListUsers({ ...request, orderBy });
      const times = orderBy.startsWith('create_time');
      const [first] = listStatements({ ...listing, after: undefined, rowsMax: 201 }, all);
      expect([first.statement.name, first.values]).toEqual([expect.stringMatching(/^list-users-/), []]);
      const texts = [1, 2].map((page) => {
        const after = { keys: [times ? page : `key ${page}`], id: uuidv7() };
        const [{ statement, values }] = listStatements({ ...listing, after, rowsMax: 201 }, all);
        expect(values).toEqual([times ? new Date(page).toISOString() : `key ${page}`, after.id]);
        expect(statement.name).toBe(`${first.statement.name}-after`);
        expect(statement.text).toMatch(/CAST\(\$1 AS (?:text|timestamptz)/);
        expect(statement.text).toContain('CAST($2 AS uuid)');
        expect(statement.text).not.toContain('$3');
        return statement.text;
      });
      expect(texts[0]).toBe(texts[1]);
    },
  );

  it.each([
    ['', 'users_create_time_id'],
    ['create_time', 'users_create_time_id'],
    ['email', 'users_email_key'],
    ['email desc', 'users_email_key'],
    ['create_time desc', 'users_create_time_id'],
    ['first_name', 'users_first_name_id'],
    ['first_name desc', 'users_first_name_id'],
    ['last_name', 'users_last_name_id'],
    ['last_name desc', 'users_last_name_id'],
  ])("ordered by %j uses an index and starts at the page's position", async (orderBy, index) => {
    const [first, later] = await plans(orderBy);
    expect(first).toContain(`using ${index}`);
    expect(later).toContain(`using ${index}`);
    expect(later).toContain('Index Cond');
    expect(later).not.toContain('Seq Scan');
  });

  it.each([
    ['first_name', 'users_first_name_id'],
    ['first_name desc', 'users_first_name_id'],
    ['last_name', 'users_last_name_id'],
    ['last_name desc', 'users_last_name_id'],
  ] as const)(
    'ordered by %j without its index sorts the table once, in a statement without a name',
    async (orderBy, name) => {
      const definition = `select pg_get_indexdef('${name}'::regclass) as sql`;
      const [index] = await testDatabase.query<{ sql: string }>(definition);
      await testDatabase.query(`drop index ${name}`);
      try {
        for (const plan of await plans(orderBy, without(name))) {
          expect(plan.match(/(?:on|using) users/g)).toHaveLength(1);
          expect(plan).toContain('Seq Scan on users');
        }
        const { scope: _, ...listing } = parseListUsers({ ...request, orderBy });
        const nameWith = (existing: ExistingIndexes) =>
          listStatements({ ...listing, after: undefined, rowsMax: 51 }, existing).map(
            ({ statement }) => statement.name,
          );
        expect(nameWith(without(name))).toEqual(['']);
        expect(nameWith(all)).toEqual([expect.stringMatching(/^list-users-/)]);
      } finally {
        await testDatabase.query(index?.sql ?? '');
      }
    },
  );

  it('of a search reads a second window only if the first one has a quarter of the page', () => {
    const { scope: _, ...listing } = parseListUsers({ ...request, query: 'ada' });
    const statements = listStatements({ ...listing, after: undefined, rowsMax: 51 }, all);
    expect(statements.map(({ rowsBefore }) => rowsBefore)).toEqual([undefined, 51 / 4, undefined]);
    const [first, second] = statements.map(({ statement }) => /limit (\d+)/.exec(statement.text)?.[1]).map(Number);
    expect(second).toBe(5 * (first ?? 0));
  });

  it.each([
    ['with its index', new Set(['users_search'] as const)],
    ['without its index', new Set<never>()],
  ])('of a search for 1000 users reads no window twice, %s', (_, existing) => {
    const { scope: _scope, ...listing } = parseListUsers({ ...request, query: 'ada' });
    const statements = listStatements({ ...listing, after: undefined, rowsMax: 1001 }, existing);
    expect(statements.map(({ statement }) => /limit (\d+)/.exec(statement.text)?.[1])).toEqual(['40000', '1001']);
  });

  it('of many ties, as after an import, reads no more of them in descending order than a page contains', async () => {
    await testDatabase.query(`update users set create_time = '2026-01-01'`);
    await testDatabase.query('vacuum analyze users');
    const first = await page(database, { orderBy: 'create_time desc', pageSize: 100 });
    const { scope, ...listing } = parseListUsers({ ...request, orderBy: 'create_time desc' });
    const after = pageTokens.open(first.nextPageToken, scope);
    const [{ statement, values }] = listStatements({ ...listing, after, rowsMax: 101 }, all);
    const [row] = await testDatabase.query<{ 'QUERY PLAN': unknown }>(
      `explain (analyze, timing off, format json) ${statement.text}`,
      [...values],
    );
    const rows = [...JSON.stringify(row).matchAll(/"Actual Rows":([0-9.]+)/g)].map(([, count]) => Number(count));
    expect(rows.length).toBeGreaterThan(3);
    expect(Math.max(...rows)).toBeLessThanOrEqual(303);
  });
});
