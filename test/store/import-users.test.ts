/** Staged rows and their merge: texts stay unchanged, every mode matches the model, and a merge is all or nothing. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { parseJson } from '../../src/json.js';
import type { OnConflict } from '../../src/model/import-request.js';
import { attributesBytesMax, type JsonObject, type UserFields, validateAttributes } from '../../src/model/user.js';
import { type MergeCounts, openStaging, type Staging } from '../../src/store/import-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { selectUsers, selectUsersByEmail } from '../support/stored-users.js';

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

const never = new AbortController().signal;
const options = { takenRowsMax: 100, onWritten: () => {} };

async function staged<T>(rows: readonly UserFields[], work: (staging: Staging) => Promise<T>): Promise<T> {
  await using staging = await openStaging(database, options, never);
  await staging.stage(rows.map((fields, row) => ({ row, id: uuidv7(), fields })));
  return await work(staging);
}

/** The values of OnConflict, and `update` with merged attributes. */
type Mode = OnConflict | 'merge';

const isValid = (attributes: unknown) => validateAttributes(attributes) === undefined;

async function prepare(staging: Staging, mode: Mode): Promise<OnConflict> {
  if (mode !== 'merge') return mode;
  expect(await staging.mergeAttributes(isValid, attributesBytesMax)).toEqual({ refused: 0, refusedRows: [] });
  return 'update';
}

const merge = (rows: readonly UserFields[], mode: Mode, allOrNothing = false) =>
  staged(rows, async (staging) => staging.merge(await prepare(staging, mode), allOrNothing));

const preview = (rows: readonly UserFields[], mode: Mode) =>
  staged(rows, async (staging) => staging.preview(await prepare(staging, mode)));

interface StoredRow extends pg.QueryResultRow {
  id: string;
  first_name: string;
  last_name: string;
  email: string;
  profile_image_url: string;
  attributes: JsonObject;
  version: number;
  create_time: Date;
  update_time: Date;
}

/** The users whose emails have this ending, by key. */
async function stored(domain: string): Promise<Map<string, StoredRow & { fields: UserFields }>> {
  const rows = await testDatabase.query<StoredRow & { key: string }>(
    'select *, email_key(email) as key, attributes::text from users where right(email_key(email), length($1)) = $1',
    [domain],
  );
  return new Map(
    rows.map((row) => {
      const attributes = parseJson(row.attributes as unknown as string) as JsonObject;
      const { first_name: firstName, last_name: lastName, email, profile_image_url: profileImageUrl } = row;
      return [row.key, { ...row, fields: { firstName, lastName, email, profileImageUrl, attributes } }];
    }),
  );
}

async function changesOf(ids: readonly string[]): Promise<Map<string, number[]>> {
  const rows = await testDatabase.query<{ user_id: string; type: number }>(
    'select user_id, type from changes where user_id = any($1) order by seq',
    [ids],
  );
  const changes = new Map<string, number[]>();
  for (const { user_id: id, type } of rows) changes.set(id, [...(changes.get(id) ?? []), type]);
  return changes;
}

// ICU's lower case in NFC, for what the tests use.
const keyOf = (email: string) => email.normalize('NFC').toLowerCase();
const someDomain = () => `@${randomBytes(6).toString('hex')}.example`;

/** The expected outcome of a merge, row by row. */
function expected(before: ReadonlyMap<string, UserFields>, rows: readonly UserFields[], mode: Mode) {
  const after = new Map(before);
  const counts: MergeCounts = { created: 0, updated: 0, skipped: 0, taken: 0, takenRows: [] };
  rows.forEach((row, index) => {
    const key = keyOf(row.email);
    const held = after.get(key);
    if (held === undefined) {
      counts.created++;
      after.set(key, row);
    } else if (mode === 'reject') {
      counts.taken++;
      counts.takenRows = [...counts.takenRows, index];
    } else if (mode === 'skip') {
      counts.skipped++;
    } else {
      const next = {
        firstName: row.firstName || held.firstName,
        lastName: row.lastName || held.lastName,
        email: row.email,
        profileImageUrl: row.profileImageUrl || held.profileImageUrl,
        attributes:
          mode === 'merge'
            ? { ...held.attributes, ...row.attributes }
            : Object.keys(row.attributes).length > 0
              ? row.attributes
              : held.attributes,
      };
      if (JSON.stringify(next) === JSON.stringify(held)) counts.skipped++;
      else counts.updated++;
      after.set(key, next);
    }
  });
  return { after, counts };
}

const modes = ['reject', 'skip', 'update', 'merge'] as const;
const fieldsArbitrary = (domain: string) =>
  fc.record({
    firstName: fc.constantFrom('Ada', 'Grace'),
    lastName: fc.constantFrom('', 'Lovelace', 'Hopper'),
    email: fc.constantFrom('a', 'A', 'b', 'é', 'e\u0301', 'É', 'c').map((name) => `${name}${domain}`),
    profileImageUrl: fc.constantFrom('', 'https://a.example/1', 'https://a.example/2'),
    attributes: fc.constantFrom<JsonObject>({}, { a: 1 }, { a: 2, b: [null] }, { b: {} }, { a: 1, b: [null] }),
  });

describe('a merge', () => {
  it('keeps every text unchanged', async () => {
    const special = fc.constantFrom(
      '\t',
      '\n',
      '\r',
      '\\',
      '\\.',
      '\\N',
      '\\n',
      '\\x41',
      '"',
      "'",
      '😀',
      'e\u0301',
      '\u0001',
      '\u007f',
      '\u2028',
      '\ufeff',
      '{}',
      ',',
    );
    const text = fc
      .array(fc.oneof(special, fc.string({ unit: 'binary', maxLength: 5 })), { minLength: 1, maxLength: 8 })
      .map((parts) => parts.join('').replaceAll('\0', ''))
      .filter((joined) => joined.isWellFormed() && joined !== '');
    const attributes = fc
      .dictionary(text, fc.oneof(text, fc.array(text), fc.jsonValue({ maxDepth: 3 })))
      .map((value) => JSON.parse(JSON.stringify(value).replaceAll('\\u0000', '')) as JsonObject);
    // As the store receives them: it must keep texts that the model would reject, such as control characters in names.
    const user = fc.record({ firstName: text, lastName: text, email: text, profileImageUrl: text, attributes });
    await fc.assert(
      fc.asyncProperty(fc.array(user, { minLength: 1, maxLength: 30 }), async (list) => {
        const rows = list.map((fields, index) => ({
          row: index,
          id: uuidv7(),
          fields: { ...fields, email: `${fields.email} ${uuidv7()}` },
        }));
        await using staging = await openStaging(database, options, never);
        await staging.stage(rows);
        expect(await staging.merge('reject', true)).toMatchObject({ created: rows.length, committed: true });
        const users = await selectUsers(
          database,
          rows.map(({ id }) => id),
        );
        expect(users.map((found) => ({ ...found, attributes: undefined }))).toMatchObject(
          rows.map(({ id, fields }) => ({ id, ...fields, attributes: undefined, version: 1 })),
        );
        expect(users.map((found) => found?.attributes)).toEqual(rows.map(({ fields }) => fields.attributes));
      }),
      { numRuns: 30 },
    );
  });

  it('in every mode has the effect of the rows one after the other', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...modes),
        fc.array(fieldsArbitrary(''), { maxLength: 4 }),
        fc.array(fieldsArbitrary(''), { maxLength: 12 }),
        async (mode, there, imported) => {
          const domain = someDomain();
          const at = (list: readonly UserFields[]) =>
            list.map((fields) => ({ ...fields, email: `${fields.email}${domain}` }));
          const old = new Map(at(there).map((fields) => [keyOf(fields.email), fields]));
          await insertUsers(
            database,
            [...old.values()].map((fields) => ({ id: uuidv7(), fields, request: undefined })),
          );
          const before = await stored(domain);
          const rows = at(imported);
          const { after, counts } = expected(old, rows, mode);

          expect(await preview(rows, mode)).toEqual(counts);
          expect(await stored(domain)).toEqual(before);
          expect(await merge(rows, mode)).toEqual({ ...counts, committed: true });

          const users = await stored(domain);
          expect(new Map([...users].map(([key, { fields }]) => [key, fields]))).toEqual(after);
          const changes = await changesOf([...users.values()].map(({ id }) => id));
          for (const [key, user] of users) {
            const held = before.get(key);
            const isChanged = JSON.stringify(held?.fields) !== JSON.stringify(user.fields);
            expect(user.id).toBe(held?.id ?? user.id);
            expect(user.version).toBe(held === undefined ? 1 : held.version + (isChanged ? 1 : 0));
            if (held !== undefined) expect(user.update_time.getTime() > held.update_time.getTime()).toBe(isChanged);
            else expect(user.update_time).toEqual(user.create_time);
            expect(changes.get(user.id)).toEqual(held !== undefined && isChanged ? [2, 3] : [2]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('without rows does nothing', async () => {
    for (const onConflict of modes) {
      const nothing = { created: 0, updated: 0, skipped: 0, taken: 0, takenRows: [] };
      expect(await preview([], onConflict)).toEqual(nothing);
      expect(await merge([], onConflict, true)).toEqual({ ...nothing, committed: true });
    }
  });

  it('with allOrNothing writes nothing if one email is taken, and returns the expected counts', async () => {
    const domain = someDomain();
    const rows = ['a', 'b', 'A', 'c', 'B'].map((name) => someFields({ email: `${name}${domain}` }));
    expect(await merge(rows, 'reject', true)).toEqual({
      created: 3,
      updated: 0,
      skipped: 0,
      taken: 2,
      takenRows: [2, 4],
      committed: false,
    });
    expect((await stored(domain)).size).toBe(0);
  });

  it('lists only the first of the taken rows', async () => {
    const domain = someDomain();
    const rows = Array.from({ length: 300 }, (_, index) => someFields({ email: `${index % 2}${domain}` }));
    const late = Array.from({ length: 100 }, (_, index) => index + 2);
    expect(await preview(rows, 'reject')).toMatchObject({ created: 2, taken: 298, takenRows: late });
    expect(await merge(rows, 'reject')).toMatchObject({ created: 2, taken: 298, takenRows: late });
  });

  it('accepts rows of many pieces, and one row that is larger than a piece', async () => {
    const domain = someDomain();
    const large = someFields({ email: `large${domain}`, profileImageUrl: 'x'.repeat(2_000_000) });
    const rows = Array.from({ length: 3000 }, (_, index) =>
      someFields({ email: `${index}${domain}`, attributes: { text: 'x'.repeat(1000) } }),
    );
    expect(await merge([...rows, large, ...rows], 'skip', true)).toMatchObject({ created: 3001, skipped: 3000 });
    const users = await stored(domain);
    expect(users.get(`large${domain}`)?.profile_image_url).toBe(large.profileImageUrl);
    expect(users.size).toBe(3001);
  });

  it('accepts any number of rows of one user', async () => {
    const domain = someDomain();
    const rows = Array.from({ length: 5000 }, (_, index) =>
      someFields({ email: `one${domain}`, lastName: index < 100 ? 'First' : '', attributes: { index } }),
    );
    expect(await merge(rows, 'update', true)).toMatchObject({ created: 1, updated: 4999, skipped: 0 });
    const [user] = (await stored(domain)).values();
    expect(user).toMatchObject({ version: 1, last_name: 'First', attributes: '{"index": 4999}' });
  });

  it('leaves out rows that would give a user too many attributes', async () => {
    const domain = someDomain();
    const text = (kilobytes: number) => 'x'.repeat(kilobytes * 1024);
    const row = (name: string, attributes: JsonObject) => someFields({ email: `${name}${domain}`, attributes });
    await merge([row('a', { old: text(10) }), row('b', { old: text(10) })], 'reject');
    const rows = [
      row('a', { new: text(5) }),
      row('b', { new: text(7) }),
      // Each is valid alone.
      ...Array.from({ length: 300 }, (_, index) => row('c', { [`key${index}`]: text(15) })),
      row('d', { list: Array.from({ length: 8_000 }, () => 1) }),
      row('d', { more: 1 }),
      row('b', { city: 'Berlin' }),
      someFields({ email: `b${domain}`, firstName: 'Barbara', attributes: {} }),
    ];
    await staged(rows, async (staging) => {
      const { refused, refusedRows } = await staging.mergeAttributes(isValid, attributesBytesMax);
      // All rows of b and c that set attributes, so that nothing of a refused row is written.
      expect(refused).toBe(302);
      expect(refusedRows).toEqual([1, ...Array.from({ length: 99 }, (_, index) => 2 + index)]);
      expect(await staging.merge('update', false)).toMatchObject({ created: 1, updated: 3, skipped: 0 });
    });
    const users = await stored(domain);
    expect(users.get(`b${domain}`)?.fields).toMatchObject({ firstName: 'Barbara', attributes: { old: text(10) } });
    const sizes = [...users.values()].map(({ fields }) => Object.keys(fields.attributes).length);
    expect(sizes.toSorted()).toEqual([1, 2, 2]);
  });

  it('accepts attributes whose text in Postgres is much longer than compact JSON', async () => {
    const domain = someDomain();
    const long = { small: Array.from({ length: 2_000 }, () => 1e-18), large: Array.from({ length: 80 }, () => 1e300) };
    await merge([someFields({ email: `a${domain}`, attributes: long })], 'reject');
    const row = (attributes: JsonObject) => someFields({ email: `a${domain}`, attributes });
    expect(await merge([row({ city: 'Berlin' }), row({ level: 1 })], 'merge')).toMatchObject({ updated: 2 });
    const [user] = (await stored(domain)).values();
    expect(user?.fields.attributes).toEqual({ ...long, city: 'Berlin', level: 1 });
  });

  it('takes little memory and time for many rows that add attributes to one user', async () => {
    const domain = someDomain();
    const row = (attributes: JsonObject) => someFields({ email: `many${domain}`, attributes });
    const distinct = Array.from({ length: 20_000 }, (_, index) => row({ [`key${index}`]: 'some text' }));
    await staged(distinct, async (staging) => {
      expect(await staging.mergeAttributes(isValid, attributesBytesMax)).toMatchObject({ refused: 20_000 });
    });
    const large = row({ text: 'x'.repeat(16_000) });
    const same = [large, ...Array.from({ length: 20_000 }, (_, index) => row({ a: index % 2 }))];
    expect(await merge(same, 'merge')).toMatchObject({ created: 1, updated: 20_000 });
  });

  it('leaves nothing staged behind if the service is killed or the call is cancelled', async () => {
    const controller = new AbortController();
    const staging = await openStaging(database, options, controller.signal);
    const fields = someFields();
    await staging.stage([{ row: 0, id: uuidv7(), fields }]);
    controller.abort(new Error('gone'));
    await expect(staging.merge('reject', true)).rejects.toThrow('gone');
    await staging[Symbol.asyncDispose]();
    expect(await selectUsersByEmail(database, [fields.email])).toEqual([undefined]);
    await expect.poll(stagingTables, { timeout: 30_000 }).toBe(0);
  });

  it('fails as soon as the connection is lost', async () => {
    await using staging = await openStaging(database, options, never);
    await staging.stage([{ row: 0, id: uuidv7(), fields: someFields() }]);
    await endSessions();
    await expect.poll(() => staging.signal.aborted, { timeout: 30_000 }).toBe(true);
    expect(staging.signal.reason).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    await expect(staging.merge('reject', true)).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
  });
});

async function stagingTables(): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>(
    `select count(*) from pg_class where relname like 'staged_users%'`,
  );
  return Number(row?.count);
}

async function endSessions(): Promise<void> {
  await testDatabase.query(`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like '%staged_users%' and pid <> pg_backend_pid()`);
}

describe('an import whose staged rows are on another server connection than its statements', () => {
  it('is rejected, ends that connection, and writes nothing', async () => {
    const fields = someFields();
    await using staging = await openStaging(database, options, never);
    const [before] = await sessionPids();
    // This is the effect of a pooler that was mistaken for one that keeps sessions.
    await testDatabase.query(`do $$ begin
      execute (select format('drop table %s', oid::regclass) from pg_class where relname like 'staged_users%');
    end $$`);
    await staging.stage([{ row: 0, id: uuidv7(), fields }]);
    await expect(staging.merge('reject', true)).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    await expect.poll(sessionPids, { timeout: 30_000 }).not.toContain(before);
    expect(await selectUsersByEmail(database, [fields.email])).toEqual([undefined]);
  });
});

async function sessionPids(): Promise<number[]> {
  const rows = await testDatabase.query<{ pid: number }>(`
    select pid from pg_stat_activity
    where datname = current_database() and query like '%create temp table staged_users%' and pid <> pg_backend_pid()`);
  return rows.map(({ pid }) => pid);
}

describe('a merge with concurrent writes', () => {
  it('waits for a transaction that is taking an email, and depends on its outcome', async () => {
    for (const [end, created] of [
      ['commit', 1],
      ['rollback', 2],
    ] as const) {
      const domain = someDomain();
      const holder = new pg.Client({ connectionString: testDatabase.url });
      await holder.connect();
      await holder.query('begin');
      await holder.query('insert into users (id, first_name, email) values (gen_random_uuid(), $1, $2)', [
        'Eve',
        `A${domain}`,
      ]);
      const rows = ['a', 'b'].map((name) => someFields({ email: `${name}${domain}` }));
      const merging = merge(rows, 'reject');
      await expect.poll(waiting, { timeout: 30_000 }).toBe(1);
      await holder.query(end);
      expect(await merging).toMatchObject({ created, taken: 2 - created, takenRows: end === 'commit' ? [0] : [] });
      await holder.end();
    }
  });

  it('updates users that others changed or created meanwhile in their latest state', async () => {
    const domain = someDomain();
    await insertUsers(database, [
      { id: uuidv7(), fields: someFields({ email: `a${domain}`, lastName: 'Old' }), request: undefined },
    ]);
    const holder = new pg.Client({ connectionString: testDatabase.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query(`update users set last_name = 'Other', version = version + 1 where email = $1`, [`a${domain}`]);
    await holder.query('insert into users (id, first_name, last_name, email) values (gen_random_uuid(), $1, $2, $3)', [
      'Eve',
      'Made',
      `b${domain}`,
    ]);
    // Both occur twice: the effect of the first row depends on a user that does not exist yet when the merge starts.
    const rows = ['a', 'b', 'a', 'b'].map((name) =>
      someFields({ email: `${name}${domain}`, firstName: 'Ada', lastName: '' }),
    );
    const merging = merge(rows, 'update');
    await expect.poll(waiting, { timeout: 30_000 }).toBe(1);
    await holder.query('commit');
    await holder.end();
    expect(await merging).toMatchObject({ created: 0, updated: 1, skipped: 3 });
    const users = await stored(domain);
    expect(users.get(`a${domain}`)).toMatchObject({ first_name: 'Ada', last_name: 'Other', version: 2 });
    expect(users.get(`b${domain}`)).toMatchObject({ first_name: 'Ada', last_name: 'Made', version: 2 });
  });

  it('counts again if another transaction created a user with several rows', async () => {
    const domain = someDomain();
    const holder = new pg.Client({ connectionString: testDatabase.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('insert into users (id, first_name, last_name, email) values (gen_random_uuid(), $1, $2, $3)', [
      'Ada',
      'Made',
      `a${domain}`,
    ]);
    const row = someFields({ email: `a${domain}`, firstName: 'Ada', lastName: 'Made' });
    const merging = merge([row, row, { ...row, lastName: 'New' }], 'update');
    await expect.poll(waiting, { timeout: 30_000 }).toBe(1);
    await holder.query('commit');
    await holder.end();
    expect(await merging).toMatchObject({ created: 0, updated: 1, skipped: 2 });
    expect((await stored(domain)).get(`a${domain}`)).toMatchObject({ last_name: 'New', version: 2 });
  });

  it('neither deadlocks nor breaks uniqueness, with concurrent imports and single writes', async () => {
    const domain = someDomain();
    const emails = Array.from({ length: 60 }, (_, index) => `${index}${domain}`);
    const shuffled = () =>
      emails
        .map((email) => [Math.random(), email] as const)
        .sort(([a], [b]) => a - b)
        .map(([, email]) => email);
    const someone = (email: string) =>
      someFields({
        email: Math.random() < 0.5 ? email : email.toUpperCase(),
        lastName: randomBytes(2).toString('hex'),
      });
    const imports = modes.flatMap((mode) =>
      [0, 1].map(async () => {
        for (let round = 0; round < 5; round++) {
          const rows = [...shuffled(), ...shuffled()].map(someone);
          const { created, updated, skipped, taken, committed } = await merge(rows, mode);
          expect(committed).toBe(true);
          expect(created + updated + skipped + taken).toBe(rows.length);
        }
      }),
    );
    const singles = [0, 1].map(async () => {
      for (let round = 0; round < 15; round++) {
        const rows = shuffled().slice(0, 10).map(someone);
        await insertUsers(
          database,
          rows.map((fields) => ({ id: uuidv7(), fields, request: undefined })),
        );
        const found = (await selectUsersByEmail(database, shuffled().slice(0, 10))).filter(
          (user) => user !== undefined,
        );
        // Swaps emails too, because that statement deadlocks most easily.
        const updates = found.map((user, index) => ({
          id: user.id,
          version: undefined,
          fields: { lastName: 'Single', email: found[(index + 1) % found.length]?.email.toLowerCase() ?? user.email },
        }));
        await updateUsers(database, updates).catch((error) => expect(error).toMatchObject({ reason: 'EMAIL_TAKEN' }));
      }
    });
    await Promise.all([...imports, ...singles]);
    const users = await stored(domain);
    const [row] = await testDatabase.query<{ count: string }>(
      'select count(*) from users where right(email_key(email), length($1)) = $1',
      [domain],
    );
    expect(Number(row?.count)).toBe(users.size);
    expect(users.size).toBe(emails.length);
  });
});

async function waiting(): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>(
    `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return Number(row?.count);
}
