import { setImmediate as turn } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import { parseResolveUsers, type ResolveUsersRequest } from '../../src/model/requests.js';
import { type StoredUser, storedId } from '../../src/model/stored-user.js';
import { createResolver, type ResolvedUsers } from '../../src/operations/resolve-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';

const never = new AbortController().signal;
const waitOptions = { timeout: 30_000 };

let testDatabase: TestDatabase;
let database: Database;
const ids: string[] = [];
const emails: string[] = [];
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  const users = Array.from({ length: 1000 }, () => ({ id: uuidv7(), fields: someFields(), request: undefined }));
  await insertUsers(database, users, 'wait');
  ids.push(...users.map(({ id }) => id));
  emails.push(...users.map(({ fields }) => fields.email));
});
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

const idAt = (index: number) => ids[index % ids.length] ?? '';
const requestOf = (request: { tag?: string; ids?: string[]; emails?: string[] }) =>
  parseResolveUsers({ tag: '', ids: [], emails: [], ...request });

/** A resolver whose statements wait until they are released, and the number of keys of each. */
function heldResolver({ open = false } = {}) {
  const statements: { name: string; keys: number }[] = [];
  const gates: (() => void)[] = [];
  let isOpen = open;
  const resolver = createResolver({
    statementsMax: 1,
    database: {
      ...database,
      async runBinary(statement, values) {
        const [keys] = values as [string | unknown[]];
        statements.push({ name: statement.name, keys: (typeof keys === 'string' ? keys.split(',') : keys).length });
        if (!isOpen) await new Promise<void>((resolve) => gates.push(resolve));
        return database.runBinary(statement, values);
      },
    },
  });
  return {
    resolver,
    statements,
    release() {
      isOpen = true;
      for (const gate of gates.splice(0)) gate();
    },
  };
}

/** Requests that count how many of them were read. */
function countedRequests(requests: Iterable<ResolveUsersRequest>, last?: Promise<never>) {
  const counted = {
    taken: 0,
    async *[Symbol.asyncIterator]() {
      for (const request of requests) {
        counted.taken++;
        yield request;
      }
      await last;
    },
  };
  return counted;
}

const idOf = (user: StoredUser | undefined) => user && storedId(user);
const tagsOf = (answers: readonly ResolvedUsers[]) => answers.map(({ request }) => request.tag);

describe('a stream of requests', () => {
  it('is answered in order, by index and with repetitions', async () => {
    const { resolver } = heldResolver({ open: true });
    const missing = uuidv7();
    const requests = [
      requestOf({
        tag: 'a',
        ids: [idAt(2), missing, idAt(1), idAt(2)],
        emails: [emails[3] ?? '', 'x@y', emails[3] ?? ''],
      }),
      requestOf({ tag: 'b' }),
      requestOf({ tag: 'c', ids: [idAt(5).toUpperCase()] }),
      requestOf({ tag: 'a', emails: [(emails[6] ?? '').toUpperCase()] }),
    ];
    const answers = await Array.fromAsync(resolver.resolve(countedRequests(requests), never));
    expect(tagsOf(answers)).toEqual(['a', 'b', 'c', 'a']);
    const found = answers.map(({ byId, byEmail }) => [byId.map(idOf), byEmail.map(idOf)]);
    expect(found).toEqual([
      [
        [ids[2], undefined, ids[1], ids[2]],
        [ids[3], undefined, ids[3]],
      ],
      [[], []],
      [[ids[5]], []],
      [[], [ids[6]]],
    ]);
  });

  it('does not keep the rows of other streams in memory', async () => {
    const { resolver, statements } = heldResolver({ open: true });
    const [many, one] = await Promise.all(
      [ids.slice(0, 900), [idAt(900)]].map((ids) =>
        Array.fromAsync(resolver.resolve(countedRequests([requestOf({ ids })]), never)),
      ),
    );
    expect(statements).toEqual([{ name: 'select-users', keys: 901 }]);
    const users = one?.[0]?.byId ?? [];
    expect(users.map(idOf)).toEqual([idAt(900)]);
    for (const user of users) expect(user?.bytes.length).toBe(user && user.end - user.start);
    expect(many?.[0]?.byId.map(idOf)).toEqual(ids.slice(0, 900));
  });

  it('has up to 16 requests looked up at once', async () => {
    const { resolver, statements, release } = heldResolver();
    const requests = countedRequests(
      Array.from({ length: 40 }, (_, index) => requestOf({ tag: `${index}`, ids: [idAt(index)] })),
    );
    const answers = Array.fromAsync(resolver.resolve(requests, never));
    await vi.waitFor(() => expect(requests.taken).toBe(16), waitOptions);
    await turn();
    expect([requests.taken, statements]).toEqual([16, [{ name: 'select-users', keys: 16 }]]);
    release();
    expect(tagsOf(await answers)).toEqual(Array.from({ length: 40 }, (_, index) => `${index}`));
    expect(statements.length).toBeLessThan(10);
  });

  it('is not read beyond 2000 users', async () => {
    const { resolver, statements, release } = heldResolver();
    const requests = countedRequests(Array.from({ length: 10 }, () => requestOf({ ids })));
    const answers = Array.fromAsync(resolver.resolve(requests, never));
    await vi.waitFor(() => expect(requests.taken).toBe(2), waitOptions);
    await turn();
    expect(requests.taken).toBe(2);
    release();
    expect((await answers).map(({ byId }) => byId.length)).toEqual(Array.from({ length: 10 }, () => 1000));
    expect(Math.max(...statements.map(({ keys }) => keys))).toBe(1000);
  });

  it('is not read while its client reads no answers', async () => {
    const { resolver } = heldResolver({ open: true });
    const requests = countedRequests(Array.from({ length: 1000 }, (_, index) => requestOf({ ids: [idAt(index)] })));
    const answers = resolver.resolve(requests, never);
    for (let taken = 1; taken <= 20; taken++) {
      expect((await answers.next()).value?.byId.map(idOf)).toEqual([idAt(taken - 1)]);
      // Another stream is served meanwhile, so there was enough time.
      await Array.fromAsync(resolver.resolve(countedRequests([requestOf({ ids: [idAt(0)] })]), never));
      expect(requests.taken).toBeLessThanOrEqual(taken + 16);
    }
    await answers.return(undefined);
  });

  it('gets the answers to all requests before its error, in order', async () => {
    const { resolver, release } = heldResolver();
    const bad = new Fault('INVALID_FIELD', 'bad');
    const requests = countedRequests(
      Array.from({ length: 5 }, (_, index) => requestOf({ tag: `${index}`, ids: [idAt(index)] })),
      Promise.reject(bad),
    );
    const answers: ResolvedUsers[] = [];
    const failed = (async () => {
      for await (const answer of resolver.resolve(requests, never)) answers.push(answer);
    })();
    failed.catch(() => {});
    await vi.waitFor(() => expect(requests.taken).toBe(5), waitOptions);
    release();
    await expect(failed).rejects.toBe(bad);
    expect(tagsOf(answers)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('ends at once when it is cancelled: idle, during a lookup and in the queue', async () => {
    const { resolver, statements, release } = heldResolver();
    const silent = countedRequests([], new Promise(() => {}));
    const lookups = countedRequests([requestOf({ ids: [idAt(0)], emails: [emails[0] ?? ''] })], new Promise(() => {}));
    for (const requests of [silent, lookups, lookups]) {
      const caller = new AbortController();
      const answer = resolver.resolve(requests, caller.signal).next();
      await turn();
      caller.abort(new Error('gone'));
      await expect(answer).rejects.toThrow('gone');
    }
    release();
    await resolver.close();
    // Queued lookups were never sent.
    expect(statements).toHaveLength(2);
  });
});

describe('many streams', () => {
  it('share statements', async () => {
    const { resolver, statements, release } = heldResolver();
    const streams = Array.from({ length: 50 }, (_, index) => {
      const requests = [requestOf({ ids: [idAt(index)], emails: [emails[index] ?? ''] })];
      return Array.fromAsync(resolver.resolve(countedRequests(requests), never));
    });
    await vi.waitFor(() => expect(statements).toHaveLength(2), waitOptions);
    release();
    for (const [index, [answer]] of (await Promise.all(streams)).entries()) {
      expect([idOf(answer?.byId[0]), idOf(answer?.byEmail[0])]).toEqual([ids[index], ids[index]]);
    }
    expect(statements.length).toBeLessThanOrEqual(4);
  });

  it('wait instead of failing if there are more requests than the queue holds', async () => {
    const { resolver, statements, release } = heldResolver();
    const requests = Array.from({ length: 16 }, (_, index) => requestOf({ ids: [idAt(index)] }));
    const counted = Array.from({ length: 100 }, () => countedRequests(requests));
    const streams = counted.map((of) => Array.fromAsync(resolver.resolve(of, never)));
    await vi.waitFor(() => expect(counted.every(({ taken }) => taken === 16)).toBe(true), waitOptions);
    release();
    expect((await Promise.all(streams)).map((answers) => answers.length)).toEqual(counted.map(() => 16));
    expect(statements.length).toBeLessThan(50);
  });

  it('are not affected by one that is invalid, cancelled or slow', async () => {
    const { resolver } = heldResolver({ open: true });
    const bad = Array.fromAsync(resolver.resolve(countedRequests([], Promise.reject(new Error('bad'))), never));
    const gone = AbortSignal.abort(new Error('gone'));
    const left = Array.fromAsync(resolver.resolve(countedRequests([requestOf({ ids })]), gone));
    const failures = Promise.allSettled([bad, left]);
    const slow = resolver.resolve(
      countedRequests(Array.from({ length: 100 }, () => requestOf({ ids: [idAt(1)] }))),
      never,
    );
    const good = Array.fromAsync(
      resolver.resolve(countedRequests(Array.from({ length: 100 }, () => requestOf({ ids: [idAt(2)] }))), never),
    );
    await slow.next();
    expect(await failures).toEqual(['bad', 'gone'].map((text) => ({ status: 'rejected', reason: new Error(text) })));
    expect(await good).toHaveLength(100);
    await slow.return(undefined);
  });

  it('are rejected after the resolver is closed', async () => {
    const { resolver } = heldResolver({ open: true });
    await resolver.close();
    const late = Array.fromAsync(resolver.resolve(countedRequests([requestOf({ ids: [idAt(0)] })]), never));
    await expect(late).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
  });
});
