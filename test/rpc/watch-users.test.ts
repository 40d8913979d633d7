import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createClient,
  UserChange_Type,
  type WatchUsersRequest,
  type WatchUsersResponse,
} from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { someFields } from '../support/open-database.js';

const waitOptions = { timeout: 30_000 };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());
beforeEach(async () => {
  await app.database.query('delete from users');
});

interface Watch extends Disposable {
  readonly messages: WatchUsersResponse[];
  /** Changes as texts, such as `created 01890a5d-…`. */
  changes(): string[];
  token(): string;
  /** Resolves to the error that ended it. */
  readonly end: Promise<unknown>;
}

async function watch(request: Partial<WatchUsersRequest> = {}, client = app.client): Promise<Watch> {
  const stop = new AbortController();
  const messages: WatchUsersResponse[] = [];
  const end = (async () => {
    for await (const message of client.watchUsers(request, { signal: stop.signal })) messages.push(message);
  })().catch((error: unknown) => error);
  await Promise.race([end, expect.poll(() => messages.length, waitOptions).toBeGreaterThan(0)]);
  return {
    messages,
    changes: () =>
      messages.flatMap((message) =>
        message.changes.map(({ type, user }) => `${UserChange_Type[type].slice(5).toLowerCase()} ${user?.id}`),
      ),
    token: () => messages.at(-1)?.resumeToken ?? '',
    end,
    [Symbol.dispose]: () => stop.abort(),
  };
}

async function create(changes: Parameters<typeof someFields>[0] = {}): Promise<string> {
  const { user } = await app.client.createUser({ user: someFields(changes) });
  return user?.id ?? '';
}

const update = (id: string, firstName: string) =>
  app.client.updateUser({ user: { id, firstName }, updateMask: ['first_name'] });

describe('WatchUsers', () => {
  it('sends a first message at once, and then the changes of every kind of write', async () => {
    await create();
    using watching = await watch();
    expect(watching.messages[0]).toMatchObject({ changes: [], caughtUp: true });
    expect(watching.token()).not.toBe('');
    const ada = await create();
    await update(ada, 'Augusta');
    await update(ada, 'Augusta');
    await app.client.deleteUser({ id: ada });
    const { users } = await app.client.batchCreateUsers({
      users: [someFields({ email: 'a@b' }), someFields({ email: 'b@b' })],
    });
    const batch = users.map(({ id }) => `created ${id}`);
    await expect
      .poll(() => watching.changes(), waitOptions)
      .toEqual([`created ${ada}`, `updated ${ada}`, `deleted ${ada}`, ...batch]);
    const last = watching.messages.at(-1)?.changes.at(-1);
    expect(last?.user).toEqual(users[1]);
    expect(last?.changeTime).toEqual(users[1]?.createTime);
    expect(watching.messages.every(({ caughtUp, resumeToken }) => caughtUp && resumeToken !== '')).toBe(true);
  });

  it('sends only the id of a user who has been deleted since', async () => {
    using first = await watch();
    const token = first.token();
    const id = await create();
    await app.client.deleteUser({ id });
    using resumed = await watch({ resumeToken: token });
    await expect.poll(() => resumed.changes(), waitOptions).toEqual([`created ${id}`, `deleted ${id}`]);
    const sent = resumed.messages.flatMap(({ changes }) => changes.map(({ user }) => user));
    expect(sent).toEqual(
      [1, 2].map(() => expect.objectContaining({ id, email: '', firstName: '', createTime: undefined })),
    );
  });

  it('resumes after every token that it sent, even in the middle of a transaction', async () => {
    using first = await watch();
    await app.database.query(
      `insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 1200)`,
    );
    await create();
    await expect.poll(() => first.changes().length, waitOptions).toBe(1201);
    const all = first.changes();
    expect(new Set(all).size).toBe(1201);
    let sent = 0;
    for (const { changes, resumeToken } of [...first.messages]) {
      sent += changes.length;
      using resumed = await watch({ resumeToken });
      await expect.poll(() => resumed.changes(), waitOptions).toEqual(all.slice(sent));
    }
  });

  it('sends all existing users first, and reports when it has sent them', async () => {
    const ids = await Promise.all(Array.from({ length: 700 }, () => create()));
    using watching = await watch({ includeExisting: true });
    expect(watching.messages[0]).toEqual({ changes: [], resumeToken: '', caughtUp: false });
    await expect.poll(() => watching.messages.at(-1)?.caughtUp, waitOptions).toBe(true);
    expect(watching.changes().sort()).toEqual(ids.map((id) => `existing ${id}`).sort());
    for (const { caughtUp, resumeToken } of watching.messages) expect(resumeToken !== '').toBe(caughtUp);
    const late = await create();
    await expect.poll(() => watching.changes().at(-1), waitOptions).toBe(`created ${late}`);
  });

  it('loses no change after the existing users, and sends no new user as existing', async () => {
    for (let count = 0; count < 300; count++) await create();
    const created: string[] = [];
    const watches = [];
    let isDone = false;
    const writing = (async () => {
      // Not more than one page, even if the watches begin slowly.
      while (!isDone && created.length < 700) created.push(await create());
    })();
    for (let count = 0; count < 8; count++) watches.push(await watch({ includeExisting: true }));
    isDone = true;
    await writing;
    const everybody = await app.client.listUsers({ pageSize: 1000 });
    for (const watching of watches) {
      const names = () => watching.changes().map((change) => change.split(' ')[1]);
      await expect.poll(() => names().length, waitOptions).toBeGreaterThanOrEqual(everybody.users.length);
      // Each user is sent as existing or as created, but not as both.
      expect(names().sort()).toEqual(everybody.users.map(({ id }) => id).sort());
      watching[Symbol.dispose]();
    }
  });

  it('sends its position if nothing changes', async () => {
    using watching = await watch({ heartbeat: { seconds: 0, nanos: 100_000_000 } });
    await expect.poll(() => watching.messages.length, waitOptions).toBeGreaterThan(5);
    expect(watching.changes()).toEqual([]);
    // Other transactions move the end of the log, and so the token.
    await app.database.query('select pg_current_xact_id()');
    const before = watching.token();
    await expect.poll(() => watching.token(), waitOptions).not.toBe(before);
  });

  it.each([
    ['a malformed token', { resumeToken: 'x' }, 'INVALID_RESUME_TOKEN', 'resume_token'],
    ['a token and existing users', { resumeToken: 'x', includeExisting: true }, 'INVALID_FIELD', 'include_existing'],
    ['a heartbeat below 100 ms', { heartbeat: { seconds: 0, nanos: 99_999_999 } }, 'INVALID_FIELD', 'heartbeat'],
    ['a heartbeat above 10 minutes', { heartbeat: { seconds: 600, nanos: 1 } }, 'INVALID_FIELD', 'heartbeat'],
    ['a negative heartbeat', { heartbeat: { seconds: -1, nanos: 0 } }, 'INVALID_FIELD', 'heartbeat'],
  ])('refuses %s', async (_, request, reason, field) => {
    const watching = await watch(request);
    expect(await watching.end).toMatchObject({ code: 'INVALID_ARGUMENT', reason, violations: [{ field }] });
  });

  it('refuses a token from another database or from before the start of the log', async () => {
    await using other = await startTestApp();
    const token = (await watch({}, other.client)).token();
    const watching = await watch({ resumeToken: token });
    expect(await watching.end).toMatchObject({ code: 'OUT_OF_RANGE', reason: 'RESUME_TOKEN_EXPIRED' });
  });

  it('ends if the client disconnects, and closes its connection to the database', async () => {
    await create();
    const watches = await Promise.all([watch({ includeExisting: true }), watch()]);
    for (const watching of watches) watching[Symbol.dispose]();
    for (const watching of watches) expect(await watching.end).toMatchObject({ name: 'AbortError' });
    const lines = () =>
      app.lines.filter(({ method, status }) => method === 'users.v1.UserService/WatchUsers' && status === 'CANCELLED');
    await expect.poll(() => lines().length, waitOptions).toBeGreaterThanOrEqual(2);
  });

  it('continues if its connections to the database break, and misses nothing', async () => {
    using watching = await watch();
    const ids: string[] = [];
    for (let count = 0; count < 5; count++) {
      await app.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'roster' and pid <> pg_backend_pid()`,
      );
      await expect
        .poll(
          () =>
            create().then(
              (id) => ids.push(id),
              () => 0,
            ),
          waitOptions,
        )
        .toBeGreaterThan(count);
    }
    await expect.poll(() => watching.changes(), waitOptions).toEqual(ids.map((id) => `created ${id}`));
  });

  it('receives the changes of another process', async () => {
    using watching = await watch();
    await app.database.query(`insert into changes (user_id, type) values ('01890a5d-ac96-774b-bcce-b302099a8057', 4)`);
    await expect.poll(() => watching.changes(), waitOptions).toEqual(['deleted 01890a5d-ac96-774b-bcce-b302099a8057']);
  });
});

describe('a watcher that reads existing users slowly', () => {
  it('fails with a reason when its snapshot times out', async () => {
    await using small = await startTestApp({ SNAPSHOT_TIMEOUT_MS: '1000' });
    await small.database.query(`
      insert into users (id, first_name, email, attributes)
      select gen_random_uuid(), 'Ada', n || '@example.com', jsonb_build_object('text', repeat('x', 15000))
      from generate_series(1, 3000) as n`);
    const slow = (async () => {
      for await (const _ of small.client.watchUsers({ includeExisting: true })) await sleep(100);
    })();
    await expect(slow).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'WATCHER_TOO_SLOW' });
    const sessions = () =>
      small.database.query(`
        select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'`);
    await expect.poll(sessions, waitOptions).toEqual([]);
  });
});

describe('a watcher that does not read', () => {
  it('ends with a reason after the messages already sent, and other watchers miss nothing', async () => {
    // Longer than the other watcher pauses on a slow machine.
    await using small = await startTestApp({ STREAM_STALL_TIMEOUT_MS: '5000' });
    using reading = await watch({}, small.client);
    using sleeper = createClient({ address: small.address });
    const stream = sleeper.watchUsers({})[Symbol.asyncIterator]();
    const received = [(await stream.next()).value as WatchUsersResponse];
    // More than the sockets and flow-control windows can buffer.
    const attributes = { text: 'x'.repeat(15_000) };
    let created = 0;
    const lines = () => small.lines.filter(({ reason }) => reason === 'WATCHER_TOO_SLOW');
    while (lines().length === 0) {
      const users = Array.from({ length: 100 }, () => ({ ...someFields(), attributes }));
      created += (await small.client.batchCreateUsers({ users })).users.length;
      await sleep(200);
    }
    await expect.poll(() => reading.changes().length, waitOptions).toBe(created);
    const end = (async () => {
      for (let next = await stream.next(); !next.done; next = await stream.next()) received.push(next.value);
    })();
    await expect(end).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'WATCHER_TOO_SLOW' });
    // No change after its last token is missing.
    using resumed = await watch({ resumeToken: received.at(-1)?.resumeToken ?? '' }, small.client);
    const before = received.flatMap(({ changes }) => changes).length;
    await expect.poll(() => resumed.changes().length, waitOptions).toBe(created - before);
  });
});
