/** The statements on users: outcomes by index, unique emails, request ids that count once, and no deadlocks. */
import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { parseJson } from '../../src/json.js';
import type { User, UserFields } from '../../src/model/user.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { selectUsers, selectUsersByEmail } from '../../src/store/find-users.js';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { insertUsers, type NewUser } from '../../src/store/insert-users.js';
import { deleteExpiredRequests, type RequestKey } from '../../src/store/request-ids.js';
import { type UserUpdate, updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';

let testDatabase: TestDatabase;
/** Two processes on one database. */
let database: Database;
let other: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  other = await openDatabase(databaseOptions(testDatabase.url));
});

afterAll(async () => {
  await database?.close();
  await other?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

const newUser = (changes: Partial<UserFields> = {}, request?: RequestKey): NewUser => ({
  id: uuidv7(),
  fields: someFields(changes),
  request,
});

async function created(changes: Partial<UserFields> = {}): Promise<User> {
  const [outcome] = await insertUsers(database, [newUser(changes)]);
  return userIn(outcome);
}

function userIn(outcome: unknown): User {
  if (typeof outcome === 'object' && outcome !== null && 'version' in outcome) return outcome as User;
  throw outcome ?? new Error('nobody');
}

/** An outcome as a word: `made` for a user, or the ids that it repeats. */
function said(outcome: object | string | undefined): string {
  if (typeof outcome === 'string') return outcome;
  if (outcome instanceof Error) throw outcome;
  if (outcome !== undefined && 'repeatedUserIds' in outcome)
    return `repeated ${(outcome.repeatedUserIds as string[]).join()}`;
  if (outcome !== undefined && 'takenIndexes' in outcome)
    return `EMAIL_TAKEN ${(outcome.takenIndexes as number[]).join()}`;
  return 'made';
}

const requestKey = (digest = 'a'): RequestKey => ({ id: randomUUID(), digest: Buffer.from(digest) });

async function count(email: string): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>(
    'select count(*) from users where email_key(email) = email_key($1)',
    [email],
  );
  return Number(row?.count);
}

describe('insertUsers', () => {
  it('returns an outcome for each row by its index, regardless of other rows', async () => {
    const taken = await created();
    const rows = [newUser(), newUser({ email: taken.email }), newUser(), newUser({ email: taken.email.toUpperCase() })];
    const outcomes = await insertUsers(database, rows);
    expect(outcomes.map(said)).toEqual(['made', 'EMAIL_TAKEN', 'made', 'EMAIL_TAKEN']);
    expect(userIn(outcomes[0])).toMatchObject({ id: rows[0]?.id, ...rows[0]?.fields, version: 1 });
    expect(userIn(outcomes[2])).toMatchObject({ id: rows[2]?.id, ...rows[2]?.fields, version: 1 });
  });

  it('gives a repeated email to the first row, in any case or form', async () => {
    const name = randomBytes(4).toString('hex');
    const rows = ['É', 'E\u0301', 'é', 'e\u0301'].map((letter) => newUser({ email: `${name}${letter}@x` }));
    for (const request of [undefined, requestKey()]) {
      const batch = rows.map((row) => ({
        ...row,
        id: uuidv7(),
        fields: { ...row.fields, email: `${request?.id}${row.fields.email}` },
      }));
      const outcomes = await insertUsers(database, [...batch, newUser({}, request)]);
      expect(outcomes.map(said)).toEqual(['made', 'EMAIL_TAKEN', 'EMAIL_TAKEN', 'EMAIL_TAKEN', 'made']);
    }
  });

  it('without rows does nothing', async () => {
    expect(await insertUsers(database, [])).toEqual([]);
  });

  it('returns the same user as a later read', async () => {
    const attributes = { z: 1, a: [null, 1.5, -0.1, 1e300, 5e-324, { ü: 'x\n\t\u0001"\\' }], '': '', n: null };
    const user = await created({
      firstName: ' e\u0301 ',
      lastName: '"{\\,}"',
      profileImageUrl: 'https://x/?a={b}',
      attributes,
    });
    expect(await selectUsers(other, [user.id])).toEqual([user]);
    expect(user.updateTime).toEqual(user.createTime);
    expect(Math.abs(user.createTime.getTime() - Date.now())).toBeLessThan(60_000);
  });

  it('keeps every text and every attribute that the model allows', async () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    const attributes = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }));
    const users = fc.array(fc.record({ firstName: text, lastName: text, attributes }), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(users, async (list) => {
        // Through JSON first, which has no -0.
        const rows = list.map((fields) => newUser(parseJson(JSON.stringify(fields)) as Partial<UserFields>));
        const made = (await insertUsers(database, rows)).map(userIn);
        const ids = made.map((user) => user.id);
        expect(await selectUsers(database, ids)).toEqual(made);
        for (const [index, user] of made.entries()) expect(user).toMatchObject({ ...rows[index]?.fields });
      }),
      { numRuns: 20 },
    );
  });

  it('keeps attributes with similar names apart', async () => {
    // JSON.parse of today's V8 confuses these. The empty key, because jsonb sorts it first.
    const lists: UserFields['attributes'][] = [
      { '': 0, '\\': 0 },
      { '': 0, '"': 0 },
      { '': 0, '\n': 0 },
    ];
    const made = (
      await insertUsers(
        database,
        lists.map((attributes) => newUser({ attributes })),
      )
    ).map(userIn);
    for (let turn = 0; turn < 3; turn++) {
      const read = await selectUsers(
        database,
        made.map((user) => user.id),
      );
      expect(read.map((user) => user?.attributes)).toEqual(lists);
    }
  });

  it('accepts the longest possible texts, even if their normal form is longer', async () => {
    // Three times as long in NFC; a row of an index may have 2704 bytes.
    const growing = [
      '\u{1d160}',
      '\u{1d161}',
      '\u{1d162}',
      '\u{1d163}',
      '\u{1d164}',
      '\u{1d1bb}',
      '\u{1d1bd}',
      '\u{1d1bf}',
    ];
    for (let round = 0; round < 20; round++) {
      const local = Array.from({ length: 254 }, () => growing[Math.floor(Math.random() * growing.length)]).join('');
      const letters = Array.from({ length: 254 }, () =>
        String.fromCodePoint(0x20000 + Math.floor(Math.random() * 40_000)),
      );
      for (const email of [`${local}@b`, `${letters.join('')}@b`]) {
        const user = await created({ firstName: '😀'.repeat(256), lastName: '😀'.repeat(256), email });
        expect((await selectUsersByEmail(database, [email]))[0]?.id).toBe(user.id);
      }
    }
  });

  it('gives an email to one of two processes that create it at once, and EMAIL_TAKEN to the other', async () => {
    for (let round = 0; round < 30; round++) {
      const email = `${randomBytes(8).toString('hex')}@x`;
      const batches = [database, other, database, other].map((process) =>
        insertUsers(process, [newUser({ email }), newUser(), newUser({ email: email.toUpperCase() })]),
      );
      const outcomes = (await Promise.all(batches)).flat().map(said);
      expect(outcomes.filter((word) => word === 'made')).toHaveLength(4 + 1);
      expect(outcomes.filter((word) => word === 'EMAIL_TAKEN')).toHaveLength(8 - 1);
      expect(await count(email)).toBe(1);
    }
  });

  it('never deadlocks for the same emails in opposite orders in two processes', async () => {
    const emails = Array.from({ length: 100 }, () => `${randomBytes(8).toString('hex')}@x`);
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 10; round++) {
        const rows = (list: string[]) => list.map((email) => newUser({ email: `${round}${email}` }));
        const outcomes = await Promise.all([
          insertUsers(one, rows(emails)),
          insertUsers(another, rows(emails.toReversed())),
          insertUsers(one, rows(emails.toSorted())),
        ]);
        expect(outcomes.flat().filter((outcome) => said(outcome) === 'made')).toHaveLength(100);
      }
    });
    expect(deadlocks).toBe(0);
  });
});

/**
 * Runs two separate processes and returns how many deadlocks Postgres has resolved, which `run` hides from its callers.
 */
async function deadlocksIn(work: (one: Database, another: Database) => Promise<void>): Promise<number> {
  const read = async () => {
    const [row] = await testDatabase.query<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    );
    return Number(row?.deadlocks);
  };
  const before = await read();
  const name = `roster-${randomBytes(4).toString('hex')}`;
  const url = new URL(testDatabase.url);
  url.searchParams.set('application_name', name);
  const [one, another] = [await openDatabase(databaseOptions(url.href)), await openDatabase(databaseOptions(url.href))];
  try {
    await work(one, another);
  } finally {
    await Promise.all([one.close(), another.close()]);
  }
  // A connection reports its counts when it ends, at the latest.
  await vi.waitUntil(
    async () =>
      (await testDatabase.query('select from pg_stat_activity where application_name = $1', [name])).length === 0,
    { timeout: 30_000 },
  );
  return (await read()) - before;
}

/** Waits until a statement waits for a lock. */
function waitForLock(): Promise<true> {
  const text = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return vi.waitUntil(async () => (await testDatabase.query(text)).length > 0, { timeout: 30_000 });
}

describe('the database itself', () => {
  const insert = (email: string) =>
    testDatabase.query('insert into users (id, first_name, email) values (gen_random_uuid(), $1, $2)', ['x', email]);

  it.each([
    ['A@x', 'a@x'],
    ['a@EXAMPLE.com', 'a@example.COM'],
    ['Ä@x', 'ä@x'],
    ['\u00e4@x', 'a\u0308@x'],
    ['A\u0308@x', '\u00e4@x'],
    ['İ@x', 'i\u0307@x'],
    ['ΑΒΓ@x', 'αβγ@x'],
    ['ΟΔΟΣ@x', 'οδος@x'],
    ['ẞ@x', 'ß@x'],
    ['STRASSE@x', 'straße@x'],
    ['ı@x', 'I@x'],
    ['ﬁ@x', 'FI@x'],
    ['a@bücher.example', 'A@xn--BCHER-kva.example'],
    ['Я@x', 'я@x'],
    ['𐐀@x', '𐐨@x'],
    ['K@x', 'k@x'],
    ['Å@x', 'å@x'],
    ['Ǆ@x', 'ǆ@x'],
    ['\u1e69@x', 's\u0307\u0323@x'],
  ])('treats %s and %s as one email', async (one, another) => {
    const tag = randomBytes(4).toString('hex');
    await insert(tag + one);
    await expect(insert(tag + another)).rejects.toMatchObject({ constraint: 'users_email_key' });
    const [found, foundToo] = await selectUsersByEmail(database, [tag + one, tag + another]);
    expect(found?.email).toBe(tag + one);
    expect(foundToo).toEqual(found);
  });

  it.each([
    ['İ@x', 'i@x'],
    ['é@x', 'e@x'],
    ['ａ@x', 'a@x'],
    ['a@x', 'а@x'],
    ['a@x', 'a@x '],
    ['a@x', 'a@x\n'],
  ])('treats %j and %j as two emails', async (one, another) => {
    const tag = randomBytes(4).toString('hex');
    await insert(tag + one);
    await insert(tag + another);
    const found = await selectUsersByEmail(database, [tag + one, tag + another]);
    expect(found.map((user) => user?.email)).toEqual([tag + one, tag + another]);
  });

  it('has one key for texts with the same NFC', async () => {
    const letters = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
    const texts = fc.sample(letters, 500).filter((text) => !text.includes('\0'));
    const keys = await testDatabase.query<{ same: boolean; again: boolean }>(
      `select email_key(a) = email_key(b) as same, email_key(email_key(a)) = email_key(a) as again
       from unnest($1::text[], $2::text[]) as input(a, b)`,
      [texts, texts.map((text) => text.normalize('NFD'))],
    );
    expect(keys.filter((row) => !row.same || !row.again)).toEqual([]);
  });
});

describe('a request id', () => {
  it('returns the user of the first call for a repeated call', async () => {
    const request = requestKey();
    const first = newUser({}, request);
    expect((await insertUsers(database, [first])).map(said)).toEqual(['made']);
    const again = { ...first, id: uuidv7() };
    expect((await insertUsers(other, [newUser(), again])).map(said)).toEqual(['made', `repeated ${first.id}`]);
    expect(await count(first.fields.email)).toBe(1);
  });

  it('with a different user is REQUEST_ID_REUSED', async () => {
    const request = requestKey('a');
    await insertUsers(database, [newUser({}, request)]);
    const another = newUser({}, { ...request, digest: Buffer.from('b') });
    expect(await insertUsers(other, [another])).toEqual(['REQUEST_ID_REUSED']);
    expect(await count(another.fields.email)).toBe(0);
  });

  it('is not used up by a call that failed', async () => {
    const taken = await created();
    const request = requestKey('a');
    expect((await insertUsers(database, [newUser({ email: taken.email }, request)])).map(said)).toEqual([
      'EMAIL_TAKEN',
    ]);
    const batch = [newUser(), newUser({ email: taken.email })];
    expect(said(await insertAllUsers(database, batch, request))).toBe('EMAIL_TAKEN 1');
    const another = { ...request, digest: Buffer.from('b') };
    expect((await insertUsers(database, [newUser({}, another)])).map(said)).toEqual(['made']);
  });

  it('is valid for 24 hours and not longer', async () => {
    const age = (request: RequestKey, interval: string) =>
      testDatabase.query('update request_ids set create_time = now() - $2::interval where request_id = $1', [
        request.id,
        interval,
      ]);
    const request = requestKey('a');
    const first = newUser({}, request);
    await insertUsers(database, [first]);
    await age(request, '23 hours 59 minutes');
    expect((await insertUsers(database, [{ ...first, id: uuidv7() }])).map(said)).toEqual([`repeated ${first.id}`]);

    await age(request, '24 hours 1 second');
    expect((await insertUsers(database, [{ ...first, id: uuidv7() }])).map(said)).toEqual(['EMAIL_TAKEN']);
    const second = newUser({}, { ...request, digest: Buffer.from('b') });
    expect((await insertUsers(database, [second])).map(said)).toEqual(['made']);
    expect((await insertUsers(database, [{ ...second, id: uuidv7() }])).map(said)).toEqual([`repeated ${second.id}`]);

    await age(request, '24 hours 1 second');
    const batch = [newUser(), newUser()];
    expect(said(await insertAllUsers(database, batch, request))).toBe('made');
    expect(said(await insertAllUsers(database, batch, request))).toBe(
      `repeated ${batch.map((user) => user.id).join()}`,
    );
  });

  it('creates one user for the same call from two processes at once, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const request = requestKey();
      const call = newUser({}, request);
      const calls = [database, other, database, other].map((process) =>
        insertUsers(process, [newUser(), { ...call, id: uuidv7() }]),
      );
      const outcomes = (await Promise.all(calls)).map(([, outcome]) => outcome);
      const made = outcomes.filter((outcome) => said(outcome) === 'made').map(userIn);
      expect(made).toHaveLength(1);
      expect(outcomes.map(said).filter((word) => word !== 'made')).toEqual(Array(3).fill(`repeated ${made[0]?.id}`));
      expect(await count(call.fields.email)).toBe(1);
    }
  });

  it('that two processes use for two users at once creates one of them, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const { id } = requestKey();
      const calls = [database, other, database, other].map((process, index) =>
        insertUsers(process, [newUser({}, { id, digest: Buffer.from(`${index}`) }), newUser()]),
      );
      const outcomes = await Promise.all(calls);
      expect(outcomes.map(([outcome]) => said(outcome)).sort()).toEqual([
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'made',
      ]);
      expect(outcomes.map(([, outcome]) => said(outcome))).toEqual(Array(4).fill('made'));
    }
  });

  it('that two processes use for two batches at once creates one of them, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const { id } = requestKey();
      const calls = [database, other, database, other].map((process, index) =>
        insertAllUsers(process, [newUser(), newUser()], { id, digest: Buffer.from(`${index}`) }),
      );
      const outcomes = await Promise.all(calls);
      expect(outcomes.map(said).sort()).toEqual([
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'made',
      ]);
    }
  });

  it('creates one batch for the same call from two processes at once, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const request = requestKey();
      const fields = [someFields(), someFields(), someFields()];
      const calls = [database, other, database, other].map((process) =>
        insertAllUsers(
          process,
          fields.map((user) => ({ id: uuidv7(), fields: user })),
          request,
        ),
      );
      const outcomes = (await Promise.all(calls)).map(said);
      expect(outcomes.filter((word) => word === 'made')).toHaveLength(1);
      expect(new Set(outcomes).size).toBe(2);
      for (const { email } of fields) expect(await count(email)).toBe(1);
    }
  });

  it('of many calls in opposite orders in two processes never deadlocks', async () => {
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 10; round++) {
        const requests = Array.from({ length: 100 }, () => requestKey());
        const rows = (list: RequestKey[]) => list.map((request) => newUser({}, request));
        const outcomes = await Promise.all([
          insertUsers(one, rows(requests)),
          insertUsers(another, rows(requests.toReversed())),
          insertUsers(another, rows(requests)),
        ]);
        expect(outcomes.flat().filter((outcome) => said(outcome) === 'made')).toHaveLength(100);
      }
    });
    expect(deadlocks).toBe(0);
  });

  it('is deleted after it expires, in limited numbers', async () => {
    await testDatabase.query('delete from request_ids');
    const fresh = newUser({}, requestKey());
    await insertUsers(database, [fresh, ...Array.from({ length: 5 }, () => newUser({}, requestKey()))]);
    await testDatabase.query(
      `update request_ids set create_time = now() - interval '24 hours 1 second' where request_id <> $1`,
      [fresh.request?.id],
    );
    expect(await deleteExpiredRequests(database, 3)).toBe(3);
    expect(await deleteExpiredRequests(database, 3)).toBe(2);
    expect(await deleteExpiredRequests(database, 3)).toBe(0);
    expect(await testDatabase.query('select request_id from request_ids')).toEqual([{ request_id: fresh.request?.id }]);
  });

  it('is deleted without waiting for a locked one', async () => {
    await testDatabase.query('delete from request_ids');
    const held = newUser({}, requestKey());
    await insertUsers(database, [held, newUser({}, requestKey())]);
    await testDatabase.query(`update request_ids set create_time = now() - interval '25 hours'`);
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('select from request_ids where request_id = $1 for update', [held.request?.id]);
      expect(await deleteExpiredRequests(database, 10)).toBe(1);
    } finally {
      await holder.end();
    }
  });
});

describe('insertAllUsers', () => {
  it('adds all, and returns them in their order', async () => {
    const rows = Array.from({ length: 1000 }, () => newUser({ attributes: { a: 1 } }));
    const outcome = await insertAllUsers(database, rows, undefined);
    const users = outcome as User[];
    expect(users.map((user) => user.id)).toEqual(rows.map((row) => row.id));
    expect(
      await selectUsers(
        database,
        users.map((user) => user.id),
      ),
    ).toEqual(users);
  });

  it('adds no user if an email is taken, and names each taken one', async () => {
    const taken = await created();
    const rows = [
      newUser({ email: 'batch@x' }),
      newUser({ email: taken.email.toUpperCase() }),
      newUser(),
      newUser({ email: 'BATCH@x' }),
      newUser({ email: 'batch@X' }),
    ];
    expect(await insertAllUsers(database, rows, requestKey())).toEqual({ takenIndexes: [1, 3, 4] });
    expect(
      await selectUsers(
        database,
        rows.map((row) => row.id),
      ),
    ).toEqual(rows.map(() => undefined));
  });

  it('of the same emails in opposite orders in two processes creates one batch, and never deadlocks', async () => {
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 20; round++) {
        const emails = Array.from({ length: 50 }, () => `${randomBytes(8).toString('hex')}@x`);
        const batch = (process: Database, list: string[]) => {
          const rows = list.map((email) => newUser({ email }));
          return insertAllUsers(process, rows, requestKey());
        };
        const outcomes = await Promise.all([
          batch(one, emails),
          batch(another, emails.toReversed()),
          batch(another, emails.toSorted()),
        ]);
        const all = emails.map((_, index) => index).join();
        expect(outcomes.map(said).sort()).toEqual([`EMAIL_TAKEN ${all}`, `EMAIL_TAKEN ${all}`, 'made']);
      }
    });
    expect(deadlocks).toBe(0);
  });
});

describe('selectUsers and selectUsersByEmail', () => {
  it('return users in the order of the request, with repetitions', async () => {
    const [ada, bob] = [await created(), await created()];
    const nobody = uuidv7();
    expect(await selectUsers(database, [bob.id, nobody, ada.id, bob.id])).toEqual([bob, undefined, ada, bob]);
    expect(await selectUsersByEmail(database, [bob.email.toUpperCase(), 'nobody', ada.email, bob.email])).toEqual([
      bob,
      undefined,
      ada,
      bob,
    ]);
    expect(await selectUsers(database, [])).toEqual([]);
    expect(await selectUsersByEmail(database, [])).toEqual([]);
  });

  it('use their indexes', async () => {
    await testDatabase.query(`
      insert into users (id, first_name, email) select gen_random_uuid(), 'x', 'plan' || i || '@x' from generate_series(1, 10000) as i`);
    await testDatabase.query('analyze users');
    const plans: string[] = [];
    const explaining: Database = {
      ...database,
      async run(statement, values) {
        const explained = await database.run(
          { name: `explain-${statement.name}`, text: `explain ${statement.text}` },
          values,
        );
        plans.push(explained.map(([line]) => line).join('\n'));
        return database.run(statement, values);
      },
    };
    await selectUsersByEmail(explaining, ['plan1@x']);
    await selectUsersByEmail(
      explaining,
      Array.from({ length: 100 }, (_, index) => `plan${index}@x`),
    );
    await selectUsers(explaining, [uuidv7()]);
    await updateUsers(explaining, [{ id: uuidv7(), version: undefined, fields: { email: 'new@x' } }]);
    await deleteUsers(explaining, [{ id: uuidv7(), version: undefined }]);
    expect(plans[0]).toContain('users_email_key');
    expect(plans[1]).toContain('users_email_key');
    expect(plans[2]).toContain('users_pkey');
    expect(plans[3]).toContain('users_email_key');
    for (const plan of plans) expect(plan).not.toContain('Seq Scan on users');
  });
});

describe('updateUsers', () => {
  const update = async (id: string, fields: Partial<UserFields>, version?: number) => {
    const [outcome] = await updateUsers(database, [{ id, version, fields }]);
    return outcome;
  };

  it('writes the given fields, keeps the others, and returns the same user as a read', async () => {
    const before = await created({ attributes: { a: 1 } });
    const changes: Partial<UserFields>[] = [
      { firstName: 'Augusta' },
      { lastName: '' },
      { email: `new-${before.email}` },
      { profileImageUrl: 'https://x' },
      { attributes: { b: [null] } },
      { attributes: {}, profileImageUrl: '' },
    ];
    let expected = before;
    for (const [index, fields] of changes.entries()) {
      const after = userIn(await update(before.id, fields));
      expected = { ...expected, ...fields, version: index + 2, updateTime: after.updateTime };
      expect(after).toEqual(expected);
      expect(await selectUsers(other, [before.id])).toEqual([after]);
    }
  });

  it('without a change keeps the version and the time', async () => {
    const before = await created({ attributes: { a: 1, b: { c: [1, 2] } } });
    for (const fields of [
      {},
      { firstName: before.firstName },
      { ...before },
      { attributes: { b: { c: [1, 2] }, a: 1.0 } },
    ]) {
      const { firstName, attributes } = fields as Partial<UserFields>;
      expect(await update(before.id, { firstName, attributes })).toEqual(before);
    }
    expect(await update(before.id, { email: before.email })).toEqual(before);
  });

  it('never returns the same or an earlier time', async () => {
    const user = await created();
    let last = user.updateTime.getTime();
    for (let turn = 0; turn < 20; turn++) {
      const { updateTime } = userIn(await update(user.id, { lastName: `${turn}` }));
      expect(updateTime.getTime()).toBeGreaterThan(last);
      last = updateTime.getTime();
    }
    await testDatabase.query(`update users set update_time = now() + interval '1 hour' where id = $1`, [user.id]);
    const [ahead] = await selectUsers(database, [user.id]);
    const { updateTime } = userIn(await update(user.id, { lastName: 'x' }));
    expect(updateTime.getTime()).toBe((ahead?.updateTime.getTime() ?? 0) + 1);
  });

  it('checks the version, even if nothing would change', async () => {
    const user = await created();
    expect(said(await update(user.id, { lastName: 'x' }, 2))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, { lastName: user.lastName }, 2))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, {}, 0))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, { lastName: 'x' }, 1))).toBe('made');
    expect(said(await update(user.id, { lastName: 'y' }, 1))).toBe('ETAG_MISMATCH');
  });

  it('returns an outcome for each row by its index', async () => {
    const [ada, bob, eve] = [await created(), await created(), await created()];
    const outcomes = await updateUsers(database, [
      { id: bob.id, version: undefined, fields: { lastName: 'x' } },
      { id: uuidv7(), version: undefined, fields: { lastName: 'x' } },
      { id: ada.id, version: 7, fields: { lastName: 'x' } },
      { id: eve.id, version: 1, fields: { email: bob.email.toUpperCase() } },
    ]);
    expect(outcomes.map(said)).toEqual(['made', 'USER_NOT_FOUND', 'ETAG_MISMATCH', 'EMAIL_TAKEN']);
    expect(userIn(outcomes[0]).id).toBe(bob.id);
    expect(await selectUsers(database, [ada.id, eve.id])).toEqual([ada, eve]);
    expect(await updateUsers(database, [])).toEqual([]);
  });

  it('may change the spelling of a user’s own email', async () => {
    const user = await created({ email: `e\u0301${randomBytes(8).toString('hex')}@x` });
    for (const email of [user.email.toUpperCase(), user.email.normalize('NFC'), user.email]) {
      expect(userIn(await update(user.id, { email })).email).toBe(email);
    }
    expect((await selectUsers(database, [user.id]))[0]?.version).toBe(4);
  });

  it('rejects another user’s email, even in a swap', async () => {
    const [ada, bob] = [await created(), await created()];
    const outcomes = await updateUsers(database, [
      { id: ada.id, version: undefined, fields: { email: bob.email } },
      { id: bob.id, version: undefined, fields: { email: ada.email } },
    ]);
    expect(outcomes.map(said)).toEqual(['EMAIL_TAKEN', 'EMAIL_TAKEN']);
    expect(await selectUsers(database, [ada.id, bob.id])).toEqual([ada, bob]);
  });

  it('fails as a whole and writes nothing if two updates want the same new email', async () => {
    const [ada, bob, eve] = [await created(), await created(), await created()];
    const rows: UserUpdate[] = [
      { id: ada.id, version: undefined, fields: { email: 'wanted@x' } },
      { id: eve.id, version: undefined, fields: { lastName: 'x' } },
      { id: bob.id, version: undefined, fields: { email: 'WANTED@x' } },
    ];
    await expect(updateUsers(database, rows)).rejects.toMatchObject({
      reason: 'EMAIL_TAKEN',
      cause: { code: '23505' },
    });
    expect(await selectUsers(database, [ada.id, bob.id, eve.id])).toEqual([ada, bob, eve]);
  });

  it('alone is EMAIL_TAKEN if another process takes its new email while it waits', async () => {
    const [user, email] = [await created(), `${randomBytes(8).toString('hex')}@x`];
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('insert into users (id, first_name, email) values ($1, $2, $3)', [uuidv7(), 'x', email]);
      const waiting = update(user.id, { email });
      await waitForLock();
      await holder.query('commit');
      expect(await waiting).toBe('EMAIL_TAKEN');
    } finally {
      await holder.end();
    }
  });

  it('sees a change that another process committed while it waited for the row', async () => {
    const [user, rival] = [await created(), await created()];
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      for (const [change, outcome] of [
        [`update users set version = version + 1, last_name = 'theirs' where id = $1`, 'ETAG_MISMATCH'],
        ['delete from users where id = $1', 'USER_NOT_FOUND'],
      ] as const) {
        await holder.query('begin');
        await holder.query(change, [user.id]);
        const version = (await selectUsers(database, [user.id]))[0]?.version;
        const waiting = updateUsers(other, [
          { id: user.id, version, fields: { lastName: 'mine' } },
          { id: rival.id, version: undefined, fields: { lastName: outcome } },
        ]);
        await waitForLock();
        await holder.query('commit');
        expect((await waiting).map(said)).toEqual([outcome, 'made']);
      }
    } finally {
      await holder.end();
    }
  });

  it('keeps other fields as another process has just written them', async () => {
    const user = await created();
    const turns = 25;
    const write = async (process: Database, field: 'firstName' | 'lastName') => {
      for (let turn = 1; turn <= turns; turn++) {
        expect(
          said((await updateUsers(process, [{ id: user.id, version: undefined, fields: { [field]: `${turn}` } }]))[0]),
        ).toBe('made');
      }
    };
    await Promise.all([write(database, 'firstName'), write(other, 'lastName')]);
    const [after] = await selectUsers(database, [user.id]);
    expect(after).toMatchObject({ firstName: `${turns}`, lastName: `${turns}`, version: 1 + 2 * turns });
  });
});

describe('deleteUsers', () => {
  it('returns an outcome for each row by its index', async () => {
    const [ada, bob] = [await created(), await created()];
    const outcomes = await deleteUsers(database, [
      { id: bob.id, version: 2 },
      { id: uuidv7(), version: undefined },
      { id: ada.id, version: 1 },
    ]);
    expect(outcomes).toEqual(['ETAG_MISMATCH', 'USER_NOT_FOUND', 'deleted']);
    expect(await selectUsers(database, [ada.id, bob.id])).toEqual([undefined, bob]);
    expect(await deleteUsers(database, [{ id: bob.id, version: undefined }])).toEqual(['deleted']);
    expect(await deleteUsers(database, [])).toEqual([]);
  });

  it('frees the email', async () => {
    const user = await created();
    await deleteUsers(database, [{ id: user.id, version: undefined }]);
    expect((await created({ email: user.email.toUpperCase() })).version).toBe(1);
  });

  it('succeeds for one of many concurrent deletions of the same user', async () => {
    for (let round = 0; round < 10; round++) {
      const user = await created();
      const outcomes = await Promise.all(
        [database, other, database, other].map((process) => deleteUsers(process, [{ id: user.id, version: 1 }])),
      );
      expect(outcomes.flat().sort()).toEqual(['USER_NOT_FOUND', 'USER_NOT_FOUND', 'USER_NOT_FOUND', 'deleted']);
    }
  });
});

describe('two processes that update and delete the same users in random orders', () => {
  it('cause no deadlock, and every version counts one successful update', async () => {
    const users = await Promise.all(Array.from({ length: 30 }, () => created()));
    const successes = new Map(users.map((user) => [user.id, 0]));
    const deleted = new Set<string>();
    const shuffled = () =>
      users
        .map((user) => ({ user, key: Math.random() }))
        .sort((a, b) => a.key - b.key)
        .slice(0, 12)
        .map(({ user }) => user.id);
    let turns = 0;
    const work = async (process: Database) => {
      while (turns++ < 300) {
        if (turns % 20 === 0) {
          const ids = shuffled().slice(0, 2);
          const outcomes = await deleteUsers(
            process,
            ids.map((id) => ({ id, version: undefined })),
          );
          for (const [index, id] of ids.entries()) {
            if (outcomes[index] === 'deleted') {
              expect(deleted.has(id)).toBe(false);
              deleted.add(id);
            }
          }
          continue;
        }
        const ids = shuffled();
        const changed = ids.map(
          (id): UserUpdate => ({ id, version: undefined, fields: { lastName: randomBytes(4).toString('hex') } }),
        );
        for (const [index, outcome] of (await updateUsers(process, changed)).entries()) {
          const id = ids[index] ?? '';
          if (said(outcome) === 'made') successes.set(id, (successes.get(id) ?? 0) + 1);
          else expect(said(outcome)).toBe('USER_NOT_FOUND');
        }
      }
    };
    const deadlocks = await deadlocksIn(async (one, another) => {
      await Promise.all([one, another, one, another, one, another].map(work));
    });
    expect(deadlocks).toBe(0);
    const after = await selectUsers(
      database,
      users.map((user) => user.id),
    );
    for (const [index, user] of users.entries()) {
      if (deleted.has(user.id)) expect(after[index]).toBeUndefined();
      else expect(after[index]?.version).toBe(1 + (successes.get(user.id) ?? 0));
    }
    expect(deleted.size).toBeGreaterThan(0);
  });
});

describe('a statement that Postgres has planned once', () => {
  it('uses indexes, however few users existed', async () => {
    await using few = await createTestDatabase();
    const one = await openDatabase(databaseOptions(few.url, { connectionsMax: 1 }));
    try {
      const [user] = (await insertUsers(one, [newUser()])).map(userIn);
      if (user === undefined) throw new Error('nobody');
      await few.query('analyze users');
      // Postgres makes its generic plan after five custom plans.
      for (let count = 0; count < 8; count++) {
        await selectUsers(one, [user.id]);
        await selectUsersByEmail(one, [user.email]);
        await updateUsers(one, [{ id: user.id, version: undefined, fields: { lastName: `${count}` } }]);
      }
      const plans = await Promise.all(
        [
          `"select-users"('{${user.id}}')`,
          `"select-users-by-email"('{${user.email}}')`,
          `"update-users-wait"('{${user.id}}', '{null}', '{x}', '{null}', '{y}', '{null}', '{null}')`,
        ].map((statement) => one.run({ name: '', text: `explain (verbose) execute ${statement}` }, [])),
      );
      for (const plan of plans) {
        expect(plan.join('\n')).toContain('Index Scan using users_');
        expect(plan.join('\n')).not.toContain('Seq Scan on public.users');
      }
    } finally {
      await one.close();
    }
  });
});
