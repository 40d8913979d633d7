/** Indexes follow use: a list requests its index, one process builds it, and every list is answered meanwhile. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { type Database, openDatabase, type Statement } from '../../src/database/database.js';
import { createPageTokens } from '../../src/model/page-token.js';
import { parseListUsers } from '../../src/model/requests.js';
import { type ListIndexMode, startIndexKeeper } from '../../src/operations/index-keeper.js';
import { listPage } from '../../src/operations/list-page.js';
import { dropListIndex, findListIndexes, type ListIndexName, listIndexes } from '../../src/store/list-indexes.js';
import { startTestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;
const waitOptions = { timeout: 30_000 };
const pageTokens = createPageTokens(randomBytes(32));
const byLastName = { orderBy: 'last_name desc' };
const checkMs = 10_000;
const retryMs = 10 * 60_000;

let testDatabase: TestDatabase;
let database: Database;

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
afterEach(async () => {
  vi.useRealTimers();
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

/** Postgres' driver needs a real clock; only the keeper's is faked. */
const fakeClock = () => void vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });

async function addUsers(count: number): Promise<void> {
  await testDatabase.query(
    `insert into users (id, first_name, last_name, email)
     select gen_random_uuid(), 'Ada' || i % 10, 'L' || i, 'e' || i || '@x' from generate_series(1, $1::int) as i`,
    [count],
  );
}

const existing = async () => [...(await findListIndexes(database.run))].sort();

function indexOf(name: ListIndexName) {
  const index = listIndexes.find((candidate) => candidate.name === name);
  if (index === undefined) throw new Error(name);
  return index;
}

/** A process, which records what its keeper reports and the statements of its lists. */
function startProcess(mode: ListIndexMode, on: Database = database) {
  const built: string[] = [];
  const forbidden: string[] = [];
  const errors: unknown[] = [];
  const statements: string[] = [];
  const recorded =
    <Rows>(run: (statement: Statement, values: readonly unknown[]) => Promise<Rows>): typeof run =>
    (statement, values) => {
      statements.push(statement.name);
      return run(statement, values);
    };
  const recording: Database = {
    ...on,
    withConnection: (signal, work) =>
      on.withConnection(signal, (run, runBinary) => work(recorded(run), recorded(runBinary))),
  };
  const keeper = startIndexKeeper({
    database: on,
    mode,
    background: createLimiter({ concurrencyMax: 1, queuedMax: 10 }),
    onError: (error) => errors.push(error),
    onBuilt: ({ name }) => built.push(name),
    onForbidden: ({ name }, reason) => forbidden.push(`${name} ${reason}`),
  });
  onTestFinished(() => keeper.close());
  async function list(changes: Partial<Parameters<typeof parseListUsers>[0]>) {
    const request = { pageSize: 49, pageToken: '', filter: '', query: '', orderBy: '', includeTotalSize: false };
    statements.length = 0;
    const { users } = await listPage(recording, keeper, pageTokens, parseListUsers({ ...request, ...changes }), never);
    return users.map((user) => decoded(user).lastName);
  }
  return { keeper, built, forbidden, errors, statements, list };
}

describe('auto', () => {
  it('builds no index for up to 20,000 users, or for lists that need none', async () => {
    fakeClock();
    await addUsers(20_000);
    const { list, built } = startProcess('auto');
    await list(byLastName);
    await testDatabase.query(`insert into users (id, first_name, email) values (gen_random_uuid(), 'Ada', 'last@x')`);
    for (const changes of [{}, { orderBy: 'create_time desc' }, { orderBy: 'email' }, { orderBy: 'update_time' }]) {
      vi.advanceTimersByTime(checkMs);
      await list(changes);
    }
    await list({ query: 'x', pageSize: 10 });
    expect(await existing()).toEqual([]);
    await list(byLastName);
    await vi.waitUntil(async () => built.length > 0, waitOptions);
    expect(built).toEqual(['users_last_name_id']);
  });

  it.each([
    [{ orderBy: 'first_name' }, 'users_first_name_id'],
    [{ orderBy: 'last_name desc' }, 'users_last_name_id'],
    [{ query: 'l1234' }, 'users_search'],
  ] as const)('answers %j correctly before, during and after it builds the index', async (changes, name) => {
    await addUsers(20_001);
    const { list, built, statements } = startProcess('auto');
    const answers = [await list(changes)];
    expect(statements.at(-1)).toBe('');
    while (built.length === 0) answers.push(await list(changes));
    answers.push(await list(changes));
    expect(await existing()).toEqual([name]);
    expect(answers.length).toBeGreaterThan(2);
    expect(new Set(answers.map(String)).size).toBe(1);
    expect(answers[0]?.length).toBeGreaterThan(0);
  });

  it('builds each index once for several processes, which all use it', async () => {
    fakeClock();
    await addUsers(20_001);
    const other = await openDatabase(databaseOptions(testDatabase.url));
    onTestFinished(() => other.close());
    const processes = [startProcess('auto'), startProcess('auto', other)];
    const request = { ...byLastName, pageSize: 50 };
    await Promise.all(processes.map(({ list }) => list(request)));
    await vi.waitUntil(async () => (await existing()).length === 1, waitOptions);
    vi.advanceTimersByTime(checkMs);
    for (const { list, statements } of processes) {
      await list(request);
      expect(statements).toEqual(['list-indexes', 'list-users-last_name-desc-51']);
      // A process reads the state once more if its own build ends only now.
      const readsState = async () => {
        await list(request);
        return statements.includes('list-indexes');
      };
      await vi.waitUntil(async () => !(await readsState()), waitOptions);
      expect(statements).toEqual(['list-users-last_name-desc-51']);
    }
    await vi.waitUntil(() => processes.flatMap(({ built }) => built).length > 0, waitOptions);
    for (const { keeper, errors } of processes) {
      await keeper.close();
      expect(errors).toEqual([]);
    }
    expect(processes.flatMap(({ built }) => built)).toEqual(['users_last_name_id']);
  });

  it('builds an index again if an operator drops it and a list needs it', async () => {
    fakeClock();
    await addUsers(20_001);
    const { list, built } = startProcess('auto');
    const before = await list(byLastName);
    await vi.waitUntil(() => built.length === 1, waitOptions);
    await list(byLastName);
    expect(await dropListIndex(database, indexOf('users_last_name_id'), never)).toBe(true);
    expect(await list(byLastName)).toEqual(before);
    expect(await existing()).toEqual([]);
    vi.advanceTimersByTime(checkMs);
    expect(await list(byLastName)).toEqual(before);
    await vi.waitUntil(() => built.length === 2, waitOptions);
    expect(await existing()).toEqual(['users_last_name_id']);
  });

  it('reports once that the role may not build an index, and tries again after ten minutes', async () => {
    fakeClock();
    await addUsers(20_001);
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    await testDatabase.query(`grant select on all tables in schema public to ${role}`);
    const url = Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href;
    const theirs = await openDatabase(databaseOptions(url));
    try {
      const { list, built, forbidden, errors } = startProcess('auto', theirs);
      for (let times = 0; times < 3; times++) {
        expect(await list(byLastName)).toHaveLength(49);
        await list({ orderBy: 'first_name' });
        expect(await list({ query: 'l1234' })).toEqual(expect.arrayContaining(['L1234']));
        vi.advanceTimersByTime(checkMs);
        await vi.waitUntil(() => forbidden.length === 2, waitOptions);
      }
      expect(forbidden).toEqual(['users_last_name_id notOwner', 'users_search noExtension']);
      await testDatabase.query(`alter table users owner to ${role}`);
      await testDatabase.query(`grant create on schema public to ${role}`);
      vi.advanceTimersByTime(retryMs);
      await list(byLastName);
      await vi.waitUntil(() => built.length === 1, waitOptions);
      expect([forbidden.length, errors]).toEqual([2, []]);
    } finally {
      await theirs.close();
      await testDatabase.query(`alter table users owner to current_user`);
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
  });

  it('reports a build that fails, answers lists, and tries again after ten minutes', async () => {
    fakeClock();
    await addUsers(20_001);
    // In the way of the index.
    await testDatabase.query('create table users_last_name_id (theirs text)');
    const { list, built, errors } = startProcess('auto');
    for (let times = 0; times < 3; times++) {
      expect(await list(byLastName)).toHaveLength(49);
      await vi.waitUntil(() => errors.length === 1, waitOptions);
      vi.advanceTimersByTime(checkMs);
    }
    expect(errors).toHaveLength(1);
    await testDatabase.query('drop table users_last_name_id');
    vi.advanceTimersByTime(retryMs);
    await list(byLastName);
    await vi.waitUntil(() => built.length === 1, waitOptions);
    expect(errors).toHaveLength(1);
  });

  it('is not tried by each process if it fails after a long time', async () => {
    fakeClock();
    await addUsers(20_001);
    const writer = await database.openSession(never);
    await writer.query('begin');
    await writer.query('lock table users in row exclusive mode');
    const [first, second] = [startProcess('auto'), startProcess('auto')];
    await first.list(byLastName);
    // Not before this phase, because the second process must find the unfinished index.
    const building = () =>
      testDatabase.query(
        `select from pg_stat_progress_create_index
         where datname = current_database() and phase = 'waiting for writers before build'`,
      );
    await vi.waitUntil(async () => (await building()).length === 1, waitOptions);
    const opened = vi.spyOn(database, 'openSession');
    await second.list(byLastName);
    await vi.waitUntil(() => opened.mock.calls.length === 1, waitOptions);
    const guard = await opened.mock.results[0]?.value;
    const guards = () => testDatabase.query('select from pg_stat_activity where pid = $1', [guard?.backendPid]);
    await vi.waitUntil(async () => (await guards()).length === 0, waitOptions);
    await testDatabase.query(
      'select pg_cancel_backend(pid) from pg_stat_progress_create_index where datname = current_database()',
    );
    await writer[Symbol.asyncDispose]();
    await vi.waitUntil(() => first.errors.length === 1, waitOptions);
    vi.advanceTimersByTime(checkMs);
    for (const { list } of [first, second]) expect(await list(byLastName)).toHaveLength(49);
    expect(opened).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(retryMs);
    await second.list(byLastName);
    await vi.waitUntil(() => second.built.length === 1, waitOptions);
    expect(second.errors).toEqual([]);
  });

  it('ends a build when its process closes, and another process builds the index', async () => {
    await addUsers(20_001);
    const writer = await database.openSession(never);
    await writer.query('begin');
    await writer.query('lock table users in row exclusive mode');
    const { list, keeper, errors } = startProcess('auto');
    await list(byLastName);
    const building = () =>
      testDatabase.query(`select from pg_stat_progress_create_index where datname = current_database()`);
    await vi.waitUntil(async () => (await building()).length === 1, waitOptions);
    await keeper.close();
    expect(errors).toEqual([]);
    // Postgres reports the cancellation before it clears the progress.
    await vi.waitUntil(async () => (await building()).length === 0, waitOptions);
    await writer[Symbol.asyncDispose]();
    const next = startProcess('auto');
    await next.list(byLastName);
    await vi.waitUntil(() => next.built.length === 1, waitOptions);
    expect(await existing()).toEqual(['users_last_name_id']);
  });
});

describe('none', () => {
  it('builds nothing, and uses the indexes that exist', async () => {
    fakeClock();
    await addUsers(20_001);
    const { list, built, statements } = startProcess('none');
    const before = await list(byLastName);
    await list({ query: 'l1234' });
    await testDatabase.query('create index users_last_name_id on users (last_name, id)');
    vi.advanceTimersByTime(checkMs);
    expect(await list(byLastName)).toEqual(before);
    await list({ ...byLastName, pageSize: 50 });
    expect(statements).toEqual(['list-users-last_name-desc-51']);
    await dropListIndex(database, indexOf('users_last_name_id'), never);
    vi.advanceTimersByTime(retryMs);
    expect(await list(byLastName)).toEqual(before);
    expect([built, await existing()]).toEqual([[], []]);
  });
});

describe('all', () => {
  it('builds every index at the start, and dropped ones again within ten minutes', async () => {
    fakeClock();
    const { built } = startProcess('all');
    const names = listIndexes.map(({ name }) => name);
    await vi.waitUntil(() => built.length === 3, waitOptions);
    expect([built, await existing()]).toEqual([names, names]);
    await dropListIndex(database, indexOf('users_search'), never);
    vi.advanceTimersByTime(retryMs);
    await vi.waitUntil(() => built.length === 4, waitOptions);
    expect(await existing()).toEqual(names);
  });

  it('tries a build that failed again when it next looks', async () => {
    fakeClock();
    await testDatabase.query('create table users_last_name_id (theirs text)');
    const holder = await database.openSession(never);
    await holder.query('begin');
    await holder.query('lock table users in share update exclusive mode');
    const { built, errors } = startProcess('all');
    await vi.waitUntil(async () => {
      const waiting = await testDatabase.query(`
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like 'create index%'`);
      return waiting.length === 1;
    }, waitOptions);
    vi.advanceTimersByTime(1_000);
    await holder[Symbol.asyncDispose]();
    await vi.waitUntil(() => built.length === 2 && errors.length === 1, waitOptions);
    await testDatabase.query('drop table users_last_name_id');
    vi.advanceTimersByTime(retryMs - 1_000);
    await vi.waitUntil(() => built.length === 3, waitOptions);
  });
});

it('reads the state of the indexes in the background, at most every two seconds', async () => {
  fakeClock();
  const { keeper } = startProcess('none');
  const states = () => keeper.status().map(({ state }) => state);
  expect(states()).toEqual([]);
  await vi.waitUntil(() => states().length > 0, waitOptions);
  expect(states()).toEqual(['missing', 'missing', 'missing']);
  await testDatabase.query('create index users_last_name_id on users (last_name, id)');
  vi.advanceTimersByTime(2_000);
  await vi.waitUntil(() => states()[1] === 'exists', waitOptions);
});

describe('a server', () => {
  it('logs the index that it has built once, and shows it in its metrics', async () => {
    await using app = await startTestApp();
    await app.database.query(`
      insert into users (id, first_name, email)
      select gen_random_uuid(), 'Ada', 'e' || i || '@x' from generate_series(1, 20001) as i`);
    const built = () => app.lines.filter(({ msg }) => msg === 'built an index for lists');
    await app.client.listUsers({ orderBy: 'last_name' });
    await vi.waitUntil(() => built().length === 1, waitOptions);
    expect(built()).toMatchObject([{ index: 'users_last_name_id', level: 'info' }]);
    const size = async () => {
      const text = await (await fetch(`${app.http}/metrics`)).text();
      return Number(/^roster_list_index_size_bytes\{index="users_last_name_id"\} (\d+)$/m.exec(text)?.[1]);
    };
    await vi.waitUntil(async () => (await size()) > 0, { ...waitOptions, interval: 500 });
  });

  it('warns once that its role may not build indexes', async () => {
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    await testDatabase.query(`grant select, insert, update, delete on all tables in schema public to ${role}`);
    await addUsers(20_001);
    const DATABASE_URL = Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href;
    try {
      await using app = await startTestApp({ DATABASE_URL });
      const warnings = () =>
        app.lines.filter(({ msg }) => msg === 'lists are slow because Roster may not build their index');
      for (const orderBy of ['last_name', 'first_name', 'last_name desc', 'first_name desc']) {
        expect((await app.client.listUsers({ orderBy })).users).toHaveLength(50);
        await vi.waitUntil(() => warnings().length > 0, waitOptions);
      }
      expect(warnings()).toMatchObject([
        {
          level: 'warn',
          index: 'users_last_name_id',
          help: expect.stringContaining('does not own the table users'),
        },
      ]);
    } finally {
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
  });

  it('warns at the start if SEARCH_INDEX is set', async () => {
    await using app = await startTestApp({ SEARCH_INDEX: 'false' });
    const msg = 'SEARCH_INDEX is deprecated and read as LIST_INDEXES=none. Set LIST_INDEXES instead.';
    expect(app.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg }));
  });
});
