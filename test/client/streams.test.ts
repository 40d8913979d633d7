/** The client's streams with real service processes that are killed, stopped and restarted. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Client, createClient, type User } from '../../src/client/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';

const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
let elsewhere: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  elsewhere = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await elsewhere[Symbol.asyncDispose]();
});

/** Ends a service and starts a new one at the same address. */
async function serveAgain(first: Served, signal: NodeJS.Signals): Promise<Served> {
  await first.end(signal);
  return serve({ DATABASE_URL: database.url, GRPC_ADDRESS: first.address });
}

async function allUsers(client: Client): Promise<Map<string, User>> {
  const users = new Map<string, User>();
  for await (const user of client.exportAllUsers()) {
    expect(users.has(user.id)).toBe(false);
    users.set(user.id, user);
  }
  return users;
}

/** The ids of users that differ. */
function differences(a: Map<string, User>, b: Map<string, User>): string[] {
  const versionOf = (user: User | undefined) => user && [user.email, user.lastName, user.etag].join();
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => versionOf(a.get(id)) !== versionOf(b.get(id)));
}

/** Keeps a copy of the directory, like the example in the client's doc comment, until stop() is called. */
function keepCopy(client: Client, copy: Map<string, User>, token: string) {
  const stop = new AbortController();
  const state = { token, startedOver: 0, disconnects: [] as string[] };
  const keep = async () => {
    let unseen = state.token === '' ? new Set(copy.keys()) : undefined;
    const options = { includeExisting: true, heartbeatMs: 200, signal: stop.signal };
    const onDisconnect = ({ message }: Error) => void state.disconnects.push(message);
    for await (const message of client.followUsers({ resumeToken: state.token, onDisconnect, ...options })) {
      if (message.startedOver) {
        state.startedOver++;
        unseen = new Set(copy.keys());
      }
      for (const { user } of message.changes) {
        if (user === undefined) continue;
        if (user.email === '') copy.delete(user.id);
        else copy.set(user.id, user);
        unseen?.delete(user.id);
      }
      if (message.caughtUp) {
        for (const id of unseen ?? []) copy.delete(id);
        unseen = undefined;
        state.token = message.resumeToken;
      }
    }
  };
  const kept = keep().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return Object.assign(state, {
    stop: () => {
      stop.abort();
      return kept;
    },
  });
}

/** Creates, updates and deletes users one after the other until stop() is called. */
function write(client: Client) {
  let isRunning = true;
  const run = async () => {
    const ids: string[] = [];
    for (let count = 0; isRunning; count++) {
      const created = await client.createUser({ user: { firstName: 'Ada', email: `w${count}@example.com` } });
      ids.push(created.user?.id ?? '');
      const id = ids[Math.floor(count / 2)] ?? '';
      await client.updateUser({ user: { id, lastName: `${count}` } }).catch(() => {});
      if (count % 3 === 0) await client.deleteUser({ id: ids[Math.floor(count / 4)] ?? '', allowMissing: true });
    }
  };
  const done = run();
  return {
    stop: () => {
      isRunning = false;
      return done;
    },
  };
}

describe('the streams', () => {
  it('import, export and follow the same users, even if the service is killed', async () => {
    const steady = await serve({ DATABASE_URL: database.url });
    using writer = createClient({ address: steady.address });
    let service = await serve({ DATABASE_URL: database.url });
    using client = createClient({ address: service.address });

    async function* users() {
      // 15 MB in total, more than sockets and streams can buffer.
      const about = 'x'.repeat(10_000);
      for (let row = 0; row < 1500; row++) {
        yield { firstName: 'Ada', email: `ada${row}@example.com`, attributes: { about } };
      }
    }
    expect(await client.importAllUsers(users())).toMatchObject({ committed: true, created: 1500 });

    const copy = new Map<string, User>();
    let watchToken = '';
    let batches = 0;
    let attempts = 0;
    for await (const batch of client.exportAllUsers({}, { onHeader: () => void attempts++ }).batches()) {
      // Deletes a user that was already exported, so that only a token of the first snapshot shows the deletion.
      if (++batches === 3) {
        await writer.deleteUser({ id: copy.keys().next().value ?? '' });
        service = await serveAgain(service, 'SIGKILL');
      }
      for (const user of batch.users) {
        expect(copy.has(user.id)).toBe(false);
        copy.set(user.id, user);
      }
      watchToken = batch.watchToken;
    }
    expect(copy.size).toBe(1500);
    expect(attempts).toBe(2);

    const feed = keepCopy(client, copy, watchToken);
    const writes = write(writer);
    await vi.waitFor(() => expect(copy.size).toBeGreaterThan(1510), waitOptions);
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      service = await serveAgain(service, signal);
      const before = copy.size;
      await vi.waitFor(() => expect(copy.size).toBeGreaterThan(before + 10), waitOptions);
    }
    await writes.stop();
    const truth = await allUsers(writer);
    await vi.waitFor(() => expect(differences(copy, truth)).toEqual([]), waitOptions);
    expect(feed.disconnects.length).toBeGreaterThanOrEqual(2);
    expect(feed.startedOver).toBe(0);
    await feed.stop();

    await service.end('SIGTERM');
    await steady.end('SIGTERM');
  });

  it('start over if the token is from another directory, and remove users that are not in this one', async () => {
    const there = await serve({ DATABASE_URL: elsewhere.url });
    using client = createClient({ address: there.address });
    await client.importAllUsers([{ firstName: 'Ada', email: 'ada@example.com' }]);
    const copy = new Map<string, User>();
    const first = keepCopy(client, copy, '');
    await vi.waitFor(() => expect(first.token).not.toBe(''), waitOptions);
    await first.stop();
    expect([...copy.values()].map(({ email }) => email)).toEqual(['ada@example.com']);
    await there.end('SIGTERM');

    const here = await serve({ DATABASE_URL: database.url });
    using other = createClient({ address: here.address });
    const second = keepCopy(other, copy, first.token);
    const truth = await allUsers(other);
    await vi.waitFor(() => expect(differences(copy, truth)).toEqual([]), waitOptions);
    expect(second.startedOver).toBe(1);
    await second.stop();
    await here.end('SIGTERM');
  });
});
