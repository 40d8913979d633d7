import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseExportUsers } from '../../src/model/requests.js';
import { storedId } from '../../src/model/stored-user.js';
import { messageBytesMax, type UserFields } from '../../src/model/user.js';
import { parseWatchToken } from '../../src/model/watch-token.js';
import { createExportTokens, type ExportedUsers, exportUsers } from '../../src/operations/export-users.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;
const waitOptions = { timeout: 30_000 };
const secret = randomBytes(32);

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
beforeEach(() => testDatabase.query('truncate users, changes'));
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

async function insert(count: number, changes: Partial<UserFields> = {}): Promise<string[]> {
  const users = Array.from({ length: count }, () => ({
    id: uuidv7(),
    fields: someFields(changes),
    request: undefined,
  }));
  await insertUsers(database, users, 'wait');
  return users.map(({ id }) => id);
}

const newSessions = (connectionsMax = 4) => createLimiter({ concurrencyMax: connectionsMax, queuedMax: 100 });

function start(
  request: { filter?: string; resumeToken?: string } = {},
  { signal = never, snapshotTimeoutMs = 600_000, sessions = newSessions() } = {},
) {
  const options = { database, tokens: createExportTokens(secret), sessions, snapshotTimeoutMs };
  return exportUsers(options, parseExportUsers({ filter: '', resumeToken: '', ...request }), signal);
}

const exported = (request?: Parameters<typeof start>[0]) => Array.fromAsync(start(request));
const idsOf = (messages: readonly ExportedUsers[]) => messages.flatMap(({ users }) => users.map(storedId));

/** The sessions of the process, without the pool's idle connections. */
const sessionsHeld = () =>
  testDatabase.query(`select state from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and (query ~ 'null::bigint' or xact_start is not null)`);

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown instanceof Fault) return thrown;
  throw new Error('no fault', { cause: thrown });
}

describe('an export', () => {
  it('has one message with both tokens if no user matches', async () => {
    const messages = await exported();
    expect(messages).toEqual([{ users: [], resumeToken: expect.stringMatching(/./), watchToken: expect.any(String) }]);
    parseWatchToken(messages[0]?.watchToken ?? '');
  });

  it('returns all matching users in the order of ids, with a token in every message and a watch token in the last', async () => {
    const ids = await insert(700);
    const others = await insert(100, { firstName: 'Grace' });
    expect(idsOf(await exported({ filter: 'first_name == "Grace"' }))).toEqual(others);
    const messages = await exported();
    expect(idsOf(messages)).toEqual([...ids, ...others]);
    expect(messages.length).toBeGreaterThan(3);
    for (const [index, { resumeToken, watchToken }] of messages.entries()) {
      expect(resumeToken).not.toBe('');
      expect(watchToken !== '').toBe(index === messages.length - 1);
    }
  });

  it('fits every message, however large the users are', async () => {
    const digits = Array.from({ length: 8000 }, (_, index) => index % 10);
    const ids = [...(await insert(100)), ...(await insert(120, { attributes: { digits } })), ...(await insert(100))];
    const messages = await exported();
    expect(idsOf(messages)).toEqual(ids);
    // In protobuf a digit takes eleven bytes.
    for (const { users } of messages) {
      const bytes = users.reduce(
        (sum, user) => sum + (decoded(user).attributes.digits === undefined ? 300 : 88_000),
        0,
      );
      expect(bytes).toBeLessThan(messageBytesMax / 2);
    }
  });

  it('waits for a free connection, and releases it after reading all, even if the client has not', async () => {
    await insert(10);
    const sessions = newSessions(1);
    const held = await sessions.acquire('', never);
    const first = start({}, { sessions });
    const second = start({}, { sessions });
    const firstMessage = first.next();
    const secondMessage = second.next();
    const caller = new AbortController();
    const third = start({}, { sessions, signal: caller.signal }).next();
    caller.abort(new Error('gone'));
    await expect(third).rejects.toThrow('gone');
    expect(await sessionsHeld()).toEqual([]);
    held[Symbol.dispose]();
    expect((await firstMessage).value?.users).toHaveLength(10);
    expect((await secondMessage).value?.users).toHaveLength(10);
    await vi.waitFor(async () => expect(await sessionsHeld()).toEqual([]), waitOptions);
    expect(await first.next()).toEqual({ done: true, value: undefined });
  });

  it('ends at once when it is cancelled, and leaves no connection and no permit behind', async () => {
    await insert(700);
    const sessions = newSessions(1);
    const caller = new AbortController();
    const messages = start({}, { sessions, signal: caller.signal });
    await messages.next();
    expect(await sessionsHeld()).toHaveLength(1);
    caller.abort(new Error('gone'));
    await expect(messages.next()).rejects.toThrow('gone');
    await expect.poll(sessionsHeld).toEqual([]);

    const left = start({}, { sessions });
    await left.next();
    await left.return();
    await expect.poll(sessionsHeld).toEqual([]);
    expect(idsOf(await Array.fromAsync(start({}, { sessions })))).toHaveLength(700);
  });
});

describe('an export whose connection breaks', () => {
  it('fails with DATABASE_UNAVAILABLE, and can be resumed', async () => {
    const ids = await insert(700);
    const sessions = newSessions(1);
    const taken: ExportedUsers[] = [];
    const fault = await faultOf(
      (async () => {
        for await (const message of start({}, { sessions })) {
          taken.push(message);
          await testDatabase.query(`select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and query ~ 'null::bigint'`);
          await vi.waitFor(async () => expect(await sessionsHeld()).toEqual([]), waitOptions);
        }
      })(),
    );
    expect(fault.reason).toBe('DATABASE_UNAVAILABLE');
    taken.push(...(await Array.fromAsync(start({ resumeToken: taken.at(-1)?.resumeToken ?? '' }, { sessions }))));
    expect(idsOf(taken)).toEqual(ids);
  });
});

describe('a resumed export', () => {
  it('at every message has each user that always existed exactly once, and the first export’s watch token', async () => {
    const ids = await insert(700);
    const whole = await exported();
    const behind = parseWatchToken(whole.at(-1)?.watchToken ?? '');
    const stayed = new Set(ids);
    for (const [index, { resumeToken }] of whole.entries()) {
      // Users are added and deleted between an export and its resumption.
      await insert(20);
      for (const id of [...stayed].filter((_, at) => at % 50 === index)) {
        stayed.delete(id);
        await deleteUsers(database, [{ id, version: undefined }]);
      }
      const rest = await exported({ resumeToken });
      const both = [...idsOf(whole.slice(0, index + 1)), ...idsOf(rest)];
      expect(new Set(both).size).toBe(both.length);
      expect(both.filter((id) => stayed.has(id))).toEqual([...stayed]);
      expect(parseWatchToken(rest.at(-1)?.watchToken ?? '')).toEqual(behind);
    }
  });

  it('can be resumed again after every message', async () => {
    const ids = await insert(700, { firstName: 'Grace' });
    await insert(20);
    const filter = 'first_name == "Grace"';
    const taken: ExportedUsers[] = [];
    let watchToken = '';
    for (let resumeToken = ''; watchToken === ''; ) {
      const messages = start({ filter, resumeToken });
      const { value } = await messages.next();
      await messages.return();
      if (value === undefined) throw new Error('no message');
      taken.push(value);
      ({ resumeToken, watchToken } = value);
    }
    expect(idsOf(taken)).toEqual(ids);
    // A finished export has no more users, even if some were added since.
    await insert(1, { firstName: 'Grace' });
    const again = await exported({ filter, resumeToken: taken.at(-1)?.resumeToken ?? '' });
    expect(again).toEqual([{ users: [], resumeToken: taken.at(-1)?.resumeToken, watchToken }]);
    const [first] = await exported({ filter: 'first_name == "Nobody"' });
    expect(await exported({ filter: 'first_name == "Nobody"', resumeToken: first?.resumeToken ?? '' })).toEqual([
      first,
    ]);
  });

  it('is rejected with any other token', async () => {
    await insert(300);
    const messages = await exported();
    const [first] = messages;
    const page = createPageTokens(secret).seal({ keys: [], id: uuidv7() }, { filter: '', query: '', orderBy: '' });
    const requests = [
      { resumeToken: 'x' },
      { resumeToken: page },
      { resumeToken: messages.at(-1)?.watchToken ?? '' },
      { resumeToken: `${first?.resumeToken}A` },
      { resumeToken: first?.resumeToken ?? '', filter: 'first_name != ""' },
      { resumeToken: createExportTokens(randomBytes(32)).seal({ feedId: '', snapshot: '' }, ['']) },
    ];
    for (const request of requests) {
      const fault = await faultOf(exported(request));
      expect(fault.reason).toBe('INVALID_RESUME_TOKEN');
      expect(fault.violations.map(({ field }) => field)).toEqual(['resume_token']);
    }
  });

  it('is rejected if the change log was replaced since, because its watch token would not belong to it', async () => {
    await insert(300);
    const [first] = await exported();
    await testDatabase.query('update change_feed set id = gen_random_uuid()');
    expect((await faultOf(exported({ resumeToken: first?.resumeToken ?? '' }))).reason).toBe('INVALID_RESUME_TOKEN');
    expect(await sessionsHeld()).toEqual([]);
  });
});

describe('a snapshot that is held too long', () => {
  it('is closed even if the client reads nothing, and the client gets the error and can resume', async () => {
    const ids = await insert(700);
    const sessions = newSessions(1);
    // Doubles the timeout until the first message arrives in time.
    for (let snapshotTimeoutMs = 250; ; snapshotTimeoutMs *= 2) {
      const messages = start({}, { sessions, snapshotTimeoutMs });
      const first = await messages.next().catch((error: unknown) => error);
      if (first instanceof Fault && first.reason === 'SNAPSHOT_TOO_OLD') continue;
      await vi.waitFor(async () => expect(await sessionsHeld()).toEqual([]), waitOptions);
      // Its permit is free, too.
      expect(idsOf(await Array.fromAsync(start({}, { sessions })))).toEqual(ids);
      const fault = await faultOf(messages.next());
      expect([fault.reason, fault.code]).toEqual(['SNAPSHOT_TOO_OLD', 'UNAVAILABLE']);
      const { value } = first as IteratorYieldResult<ExportedUsers>;
      expect(idsOf([value, ...(await exported({ resumeToken: value.resumeToken }))])).toEqual(ids);
      return;
    }
  });

  it('also fails an export that waits for the database', async () => {
    const locker = await database.openSession(never);
    await locker.query('begin');
    await locker.query('lock table users in access exclusive mode');
    expect((await faultOf(start({}, { snapshotTimeoutMs: 50 }).next())).reason).toBe('SNAPSHOT_TOO_OLD');
    await vi.waitFor(async () => expect(await sessionsHeld()).toHaveLength(1), waitOptions);
    await locker[Symbol.asyncDispose]();
  });
});
