/**
 * The directory on a real database: each call gets its own correct answer, alone, with many others and next to another
 * process.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import { parseDeleteUser, parseListUserChanges, parseListUsers } from '../../src/model/requests.js';
import { parseUpdateUser } from '../../src/model/update-request.js';
import { etagOf, type JsonObject, noFields, type User, type UserFields } from '../../src/model/user.js';
import { createDirectory, type Directory } from '../../src/operations/directory.js';
import { readIdentity } from '../../src/store/identity.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;

interface Process extends AsyncDisposable {
  readonly directory: Directory;
  readonly database: Database;
  /** The names of the statements that ran. */
  readonly statements: string[];
}

let testDatabase: TestDatabase;
let one: Process;
let another: Process;
let directory: Directory;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  one = await start();
  another = await start();
  directory = one.directory;
});

afterAll(async () => {
  await one?.[Symbol.asyncDispose]();
  await another?.[Symbol.asyncDispose]();
  await testDatabase?.[Symbol.asyncDispose]();
});

async function start(): Promise<Process> {
  const database = await openDatabase(databaseOptions(testDatabase.url));
  const statements: string[] = [];
  const counting: Database = {
    ...database,
    run(statement, values) {
      statements.push(statement.name);
      return database.run(statement, values);
    },
    runBinary(statement, values) {
      statements.push(statement.name);
      return database.runBinary(statement, values);
    },
  };
  const started = createDirectory({
    database: counting,
    identity: await readIdentity(database),
    indexes: presentIndexes,
    batchRowsMax: 200,
    queueRowsMax: 10_000,
    streams: { connectionsMax: 2, stallTimeoutMs: 60_000, snapshotTimeoutMs: 60_000 },
    onError: (error) => expect.unreachable(String(error)),
  });
  return {
    directory: started,
    database,
    statements,
    async [Symbol.asyncDispose]() {
      await started.close();
      await database.close();
    },
  };
}

const create = (changes: Partial<UserFields> = {}, requestId?: string, by = directory) =>
  by.createUser({ fields: someFields(changes), requestId }, never);

const message = { ...noFields, attributes: undefined, etag: '' };
const update = (user: Partial<User> & { id: string; etag?: string }, updateMask: string[], by = directory) =>
  by.updateUser(parseUpdateUser({ user: { ...message, ...user }, updateMask }), never);
const remove = (id: string, changes: { etag?: string; allowMissing?: boolean } = {}) =>
  directory.deleteUser(parseDeleteUser({ id, etag: '', allowMissing: false, ...changes }), never);

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof Fault) return error;
  throw error;
}

/** `made`, or the reason of the Fault. */
const outcomeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'made',
    (error: unknown) => {
      if (error instanceof Fault) return error.reason;
      throw error;
    },
  );

describe('many calls at once', () => {
  it('each get their own correct answer, in few statements', async () => {
    const taken = await create();
    one.statements.length = 0;
    const emails = Array.from({ length: 100 }, () => `${randomBytes(8).toString('hex')}@x`);
    const calls = Array.from({ length: 500 }, (_, index) => {
      // Of five, three are free, one shares its email with another call in three spellings, and one has a taken email.
      const email = emails[index % 100] ?? '';
      if (index % 5 === 0) return { kind: 'good', fields: someFields() };
      if (index % 5 === 1) return { kind: 'taken', fields: someFields({ email: taken.email.toUpperCase() }) };
      return { kind: 'raced', fields: someFields({ email: index % 2 === 0 ? email : email.toUpperCase() }) };
    });
    const answers = await Promise.all(
      calls.map(async ({ kind, fields }) => {
        const answer = await directory
          .createUser({ fields, requestId: undefined }, never)
          .catch((error: unknown) => error);
        return { kind, fields, answer };
      }),
    );
    const winners = new Map<string, number>();
    for (const { kind, fields, answer } of answers) {
      const isFault = answer instanceof Fault;
      if (isFault) expect(answer).toMatchObject({ reason: 'EMAIL_TAKEN', violations: [{ field: 'user.email' }] });
      else expect(answer).toMatchObject({ ...fields, version: 1 });
      if (kind === 'good') expect(isFault).toBe(false);
      if (kind === 'taken') expect(isFault).toBe(true);
      if (kind === 'raced')
        winners.set(fields.email.toLowerCase(), (winners.get(fields.email.toLowerCase()) ?? 0) + (isFault ? 0 : 1));
    }
    expect(winners.size).toBe(60);
    expect(new Set(winners.values())).toEqual(new Set([1]));
    // 500 rows of at most 200 in a statement. Only the first call was sent before the others arrived.
    expect(one.statements.length).toBeLessThan(20);
    expect(new Set(one.statements)).toEqual(new Set(['insert-users-skip']));
  });

  it('of every verb share statements', async () => {
    const users = await Promise.all(Array.from({ length: 100 }, () => create()));
    one.statements.length = 0;
    const read = await Promise.all(users.map((user) => directory.getUser(user.id, never)));
    expect(read.map(decoded)).toEqual(users);
    const found = await Promise.all(users.map((user) => directory.getUserByEmail(user.email.toUpperCase(), never)));
    expect(found.map(decoded)).toEqual(users);
    const changed = await Promise.all(
      users.map((user, index) => update({ id: user.id, lastName: `${index}` }, ['last_name'])),
    );
    expect(changed.map((user) => user.lastName)).toEqual(users.map((_, index) => `${index}`));
    await Promise.all(users.map((user) => remove(user.id)));
    const missing = await Promise.all(users.map((user) => outcomeOf(directory.getUser(user.id, never))));
    expect(new Set(missing)).toEqual(new Set(['USER_NOT_FOUND']));
    expect(one.statements.length).toBeLessThan(50);
  });

  it('that change to the same new email all get an answer, and one gets the email', async () => {
    const users = await Promise.all(Array.from({ length: 20 }, () => create()));
    const email = `${randomBytes(8).toString('hex')}@x`;
    const outcomes = await Promise.all(
      users.map((user, index) =>
        index % 2 === 0
          ? outcomeOf(update({ id: user.id, email: index % 4 === 0 ? email : email.toUpperCase() }, ['email']))
          : outcomeOf(update({ id: user.id, lastName: 'bystander' }, ['last_name'])),
      ),
    );
    expect(outcomes.filter((_, index) => index % 2 === 0).sort()).toEqual([...Array(9).fill('EMAIL_TAKEN'), 'made']);
    expect(outcomes.filter((_, index) => index % 2 === 1)).toEqual(Array(10).fill('made'));
  });

  it('that change and delete one user run one after the other', async () => {
    const user = await create();
    const outcomes = await Promise.all([
      ...Array.from({ length: 10 }, (_, index) =>
        outcomeOf(update({ id: user.id, lastName: `${index}`, etag: etagOf(user) }, ['last_name'])),
      ),
    ]);
    expect(outcomes.sort()).toEqual([...Array(9).fill('ETAG_MISMATCH'), 'made']);
    const deletions = await Promise.all(Array.from({ length: 10 }, () => outcomeOf(remove(user.id))));
    expect(deletions.sort()).toEqual([...Array(9).fill('USER_NOT_FOUND'), 'made']);
  });

  it('that were cancelled end at once, with the reason', async () => {
    const reason = new Fault('DEADLINE_PASSED', 'late');
    const gone = AbortSignal.abort(reason);
    const { id, email } = await create();
    const fields = someFields();
    for (const call of [
      () => directory.createUser({ fields, requestId: undefined }, gone),
      () => directory.batchCreateUsers({ users: [fields], requestId: undefined }, gone),
      () => directory.getUser(id, gone),
      () => directory.getUserByEmail(email, gone),
      () => directory.batchGetUsers([id], gone),
      () => directory.updateUser(parseUpdateUser({ user: { ...message, id, lastName: 'x' }, updateMask: [] }), gone),
      () => directory.deleteUser(parseDeleteUser({ id, etag: '', allowMissing: true }), gone),
      () =>
        directory.listUsers(
          parseListUsers({ pageSize: 0, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: true }),
          gone,
        ),
    ]) {
      await expect(call()).rejects.toBe(reason);
    }
    expect(await outcomeOf(directory.getUserByEmail(fields.email, never))).toBe('USER_NOT_FOUND');
    expect(decoded(await directory.getUser(id, never)).version).toBe(1);
  });
});

describe('an update of attributes', () => {
  it('by key survives concurrent updates from two processes', async () => {
    const { id } = await create({ attributes: { first: true } });
    const keys = Array.from({ length: 24 }, (_, index) => `k${index}`);
    await Promise.all(
      keys.map((key, index) =>
        update(
          { id, attributes: { [key]: index } },
          [`attributes.${key}`],
          index % 2 === 0 ? directory : another.directory,
        ),
      ),
    );
    const user = decoded(await directory.getUser(id, never));
    expect(user.attributes).toEqual({ first: true, ...Object.fromEntries(keys.map((key, index) => [key, index])) });
    expect(user.version).toBe(1 + keys.length);
  });

  it('by key waits for the others of the same user, so that no write is in vain', async () => {
    const { id } = await create();
    const before = one.statements.length;
    const keys = Array.from({ length: 60 }, (_, index) => `k${index}`);
    await Promise.all(keys.map((key) => update({ id, attributes: { [key]: 1 } }, [`attributes.${key}`])));
    // One read and one write each. Without the limiter one would win each round, with 1,830 writes.
    expect(one.statements.length - before).toBeLessThanOrEqual(2 * keys.length);
    expect(Object.keys(decoded(await directory.getUser(id, never)).attributes)).toHaveLength(keys.length);
  });

  it('by key supports __proto__, dots and the empty key', async () => {
    const { id } = await create();
    const attributes: JsonObject = JSON.parse('{"__proto__":1,"a.b":2,"":3}');
    const paths = ['attributes.__proto__', 'attributes.a.b', 'attributes.'];
    const user = await update({ id, attributes }, paths);
    expect(JSON.stringify(Object.entries(user.attributes).sort())).toBe('[["",3],["__proto__",1],["a.b",2]]');
    expect(decoded(await directory.getUser(id, never)).attributes).toEqual(user.attributes);
    expect((await update({ id, attributes: {} }, paths)).attributes).toEqual({});
  });

  it('that changes no value changes nothing', async () => {
    const user = await create({ attributes: { a: 1 } });
    expect(await update({ id: user.id, attributes: { a: 1 } }, ['attributes.a', 'attributes.b'])).toEqual(user);
  });
});

describe('an email of the first contract', () => {
  it('survives updates of other fields, and cannot be changed to another invalid text', async () => {
    const email = `this ${randomBytes(4).toString('hex')}`;
    const user = await create({ email });
    expect((await update({ id: user.id, email, lastName: 'x' }, ['email', 'last_name'])).lastName).toBe('x');
    expect((await update({ id: user.id, firstName: 'y', email }, ['*'])).firstName).toBe('y');
    const fault = await faultOf(update({ id: user.id, email: email.toUpperCase() }, ['email']));
    expect(fault).toMatchObject({ reason: 'INVALID_FIELD', violations: [{ field: 'user.email' }] });
    expect(decoded(await directory.getUserByEmail(email.toUpperCase(), never)).id).toBe(user.id);
  });
});

describe('a request id', () => {
  it('creates one user, even across processes, and returns the current user', async () => {
    const requestId = randomUUID();
    const fields = someFields({ attributes: { a: 1, b: { c: [1], d: 2 } } });
    const first = await directory.createUser({ fields, requestId }, never);
    const changed = await update({ id: first.id, lastName: 'King' }, ['last_name']);
    const reordered = { ...fields, attributes: { b: { d: 2, c: [1] }, a: 1 } };
    expect(await directory.createUser({ fields: reordered, requestId }, never)).toEqual(changed);
    expect(await another.directory.createUser({ fields, requestId }, never)).toEqual(changed);
    await remove(first.id);
    expect(await outcomeOf(directory.createUser({ fields, requestId }, never))).toBe('USER_NOT_FOUND');
    expect(await outcomeOf(directory.getUserByEmail(fields.email, never))).toBe('USER_NOT_FOUND');
  });

  it.each<[string, Partial<UserFields>]>([
    ['first name', { firstName: 'x' }],
    ['last name', { lastName: 'x' }],
    ['email’s spelling', { email: 'A@x' }],
    ['URL', { profileImageUrl: 'https://x' }],
    ['attributes', { attributes: { a: [2, 1] } }],
  ])('with a different %s is REQUEST_ID_REUSED', async (_, changes) => {
    const requestId = randomUUID();
    const fields = someFields({ email: `${randomBytes(8).toString('hex')}a@x`, attributes: { a: [1, 2] } });
    await directory.createUser({ fields, requestId }, never);
    const fault = await faultOf(directory.createUser({ fields: { ...fields, ...changes }, requestId }, never));
    expect(fault).toMatchObject({ reason: 'REQUEST_ID_REUSED', violations: [{ field: 'request_id' }] });
  });

  it('sent many times at once creates one user', async () => {
    const requestId = randomUUID();
    const fields = someFields();
    const users = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? directory : another.directory).createUser({ fields, requestId }, never),
      ),
    );
    expect(new Set(users.map((user) => user.id)).size).toBe(1);
  });

  it('sent at once with many different users creates one of them', async () => {
    const requestId = randomUUID();
    const calls = Array.from({ length: 20 }, (_, index) =>
      create({}, requestId, (index % 2 === 0 ? one : another).directory),
    );
    const outcomes = await Promise.all(calls.map(outcomeOf));
    expect(outcomes.sort()).toEqual([...Array(19).fill('REQUEST_ID_REUSED'), 'made']);
  });

  it('of a batch creates it once, and fails if one of its users was deleted', async () => {
    const requestId = randomUUID();
    const request = { users: [someFields(), someFields()], requestId };
    const first = (await directory.batchCreateUsers(request, never)).map(decoded);
    expect((await another.directory.batchCreateUsers(request, never)).map(decoded)).toEqual(first);
    const shorter = { ...request, users: request.users.slice(1) };
    expect(await outcomeOf(directory.batchCreateUsers(shorter, never))).toBe('REQUEST_ID_REUSED');
    await remove(first[0]?.id ?? '');
    expect(await outcomeOf(directory.batchCreateUsers(request, never))).toBe('USER_NOT_FOUND');
  });
});

describe('a batch', () => {
  it('without users succeeds without a statement', async () => {
    one.statements.length = 0;
    expect(await directory.batchCreateUsers({ users: [], requestId: randomUUID() }, never)).toEqual([]);
    expect(await directory.batchGetUsers([], never)).toEqual([]);
    expect(one.statements).toEqual([]);
  });

  it('is read in its order, with gaps for missing users', async () => {
    const [ada, bob] = [await create(), await create()];
    const users = await directory.batchGetUsers([bob.id, uuidv7(), ada.id, bob.id], never);
    expect(users.map((user) => user && decoded(user))).toEqual([bob, undefined, ada, bob]);
  });
});

describe('a deletion', () => {
  it('of a missing user is USER_NOT_FOUND, or succeeds with allow_missing, with any etag', async () => {
    expect(await outcomeOf(remove(uuidv7()))).toBe('USER_NOT_FOUND');
    expect(await outcomeOf(remove(uuidv7(), { allowMissing: true }))).toBe('made');
    expect(await outcomeOf(remove(uuidv7(), { allowMissing: true, etag: 'v7' }))).toBe('made');
  });

  it('checks the etag, also with allow_missing', async () => {
    const user = await create();
    for (const allowMissing of [false, true]) {
      expect(await outcomeOf(remove(user.id, { etag: 'v2', allowMissing }))).toBe('ETAG_MISMATCH');
    }
    expect(await outcomeOf(remove(user.id, { etag: etagOf(user) }))).toBe('made');
  });

  it('leaves no data of the person in any table', async () => {
    const traces = {
      ...noFields,
      firstName: 'Tracéfirst',
      lastName: 'Tracelast',
      email: 'trace@mail.example',
      profileImageUrl: 'https://trace.example/',
      attributes: { trace: 'Traceattribute' },
    };
    const everything = async () => {
      const tables = await testDatabase.query<{ name: string }>(
        `select quote_ident(relname) as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'm', 'p')`,
      );
      const texts = await Promise.all(
        tables.map(({ name }) =>
          testDatabase.query<{ text: string; bytes: string }>(
            `select t::text as text, encode(convert_to(t::text, 'UTF8'), 'escape') as bytes from ${name} as t`,
          ),
        ),
      );
      // Text in a bytea is written as hex, so search for that as well.
      return texts
        .flat()
        .flatMap(({ text }) => [text, Buffer.from(text.match(/\\x([0-9a-f]+)/)?.[1] ?? '', 'hex').toString()])
        .join('\n');
    };
    const user = await directory.createUser({ fields: traces, requestId: randomUUID() }, never);
    await update({ id: user.id, email: 'trace2@mail.example', attributes: { more: 'Tracemore' } }, [
      'email',
      'attributes.more',
    ]);
    const batch = { users: [{ ...traces, email: 'trace3@mail.example' }], requestId: randomUUID() };
    const [batched] = (await directory.batchCreateUsers(batch, never)).map(decoded);
    expect(await everything()).toMatch(/trac[eé]/i);
    await remove(user.id);
    await remove(batched?.id ?? '');
    expect(await everything()).not.toMatch(/trac[eé]/i);
  });
});

describe('close', () => {
  it('answers the running calls, accepts no new ones, and leaves the database idle', async () => {
    const process = await start();
    const calls = Array.from({ length: 50 }, () => create({}, undefined, process.directory));
    const closed = process.directory.close();
    expect(await outcomeOf(create({}, undefined, process.directory))).toBe('SERVER_STOPPING');
    await closed;
    await process.database.close();
    for (const user of await Promise.all(calls)) expect(user.version).toBe(1);
  });
});

describe('the changes to a user', () => {
  const list = (id: string, more: { pageSize?: number; pageToken?: string } = {}, by = directory) =>
    by.listUserChanges(parseListUserChanges({ id, pageSize: 0, pageToken: '', ...more }), never);

  it('are listed in pages, by any process, also after the deletion', async () => {
    const author = { actor: 'key:billing', requestId: 'first' };
    const { id } = await directory.createUser({ fields: someFields(), requestId: undefined }, never, author);
    for (const lastName of ['a', 'b']) await update({ id, lastName }, ['last_name']);
    await remove(id);
    const first = await list(id.toUpperCase(), { pageSize: 3 });
    expect(first.changes.map(({ type }) => type)).toEqual(['deleted', 'updated', 'updated']);
    const second = await list(id, { pageSize: 3, pageToken: first.nextPageToken }, another.directory);
    expect(second).toMatchObject({ changes: [{ type: 'created', ...author }], nextPageToken: '' });
    expect((await list(id, { pageSize: 4 })).nextPageToken).toBe('');
  });

  it('of an id that no user ever had are an empty list', async () => {
    expect(await list(randomUUID())).toEqual({ changes: [], nextPageToken: '' });
  });

  it('refuse a page token of another user, and a negative page size', async () => {
    const [ada, bob] = [await create(), await create()];
    await update({ id: ada.id, lastName: 'a' }, ['last_name']);
    const { nextPageToken: pageToken } = await list(ada.id, { pageSize: 1 });
    expect(await faultOf(list(bob.id, { pageToken }))).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
    expect(() => list(ada.id, { pageSize: -1 })).toThrow('page_size: must not be negative');
  });
});

describe('the author of a write', () => {
  it('learns the ids before the write, and that a repeated or refused create has written none', async () => {
    const calls: (readonly string[])[] = [];
    const author = { actor: '', requestId: '', onUsers: (ids: readonly string[]) => void calls.push(ids) };
    const requestId = randomUUID();
    const fields = someFields();
    const { id } = await directory.createUser({ fields, requestId }, never, author);
    expect(calls.splice(0)).toEqual([[id]]);
    await directory.createUser({ fields, requestId }, never, author);
    expect(calls.splice(0).at(-1)).toEqual([]);
    await faultOf(directory.createUser({ fields, requestId: undefined }, never, author));
    expect(calls.splice(0).at(-1)).toEqual([]);
    const users = await directory.batchCreateUsers({ users: [someFields()], requestId: undefined }, never, author);
    expect(calls.splice(0)).toEqual([users.map((user) => ('id' in user ? user.id : ''))]);
    await faultOf(directory.batchCreateUsers({ users: [fields], requestId: undefined }, never, author));
    expect(calls.splice(0).at(-1)).toEqual([]);
    const gone = AbortSignal.abort(new Fault('DEADLINE_PASSED', 'late'));
    await faultOf(directory.deleteUser({ id, version: undefined, allowMissing: false }, gone, author));
    expect(calls).toEqual([[id]]);
  });
});
