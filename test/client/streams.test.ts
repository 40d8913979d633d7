/** The client's streams against the service itself, in processes that are killed, stopped and started again. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Client, createClient, type User } from '../../src/client/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';

const patience = { timeout: 30_000 };

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

/** A service at an address that stays the same however often it ends. */
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

/** Ids of those in whom the two differ. */
function differences(a: Map<string, User>, b: Map<string, User>): string[] {
  const versionOf = (user: User | undefined) => user && [user.email, user.lastName, user.etag].join();
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => versionOf(a.get(id)) !== versionOf(b.get(id)));
}

/** A copy of the directory as the client's doc comment keeps one, until it is told to stop. */
function keepCopy(client: Client, copy: Map<string, User>, token: string) {
  const stop = new AbortController();
  const state = { token, startedOver: 0, disconnects: [] as string[] };
  const keep = async () => {
    let unheard = state.token === '' ? new Set(copy.keys()) : undefined;
    const options = { includeExisting: true, heartbeatMs: 200, signal: stop.signal };
    const onDisconnect = ({ message }: Error) => void state.disconnects.push(message);
    for await (const message of client.followUsers({ resumeToken: state.token, onDisconnect, ...options })) {
      if (message.startedOver) {
        state.startedOver++;
        unheard = new Set(copy.keys());
      }
      for (const { user } of message.changes) {
        if (user === undefined) continue;
        if (user.email === '') copy.delete(user.id);
        else copy.set(user.id, user);
        unheard?.delete(user.id);
      }
      if (message.caughtUp) {
        for (const id of unheard ?? []) copy.delete(id);
        unheard = undefined;
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

/** Creates, updates and deletes one after the other until it is told to stop; at a service of its own. */
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
  it('bring in, take out and follow the same users, whatever happens to the service', async () => {
    const steady = await serve({ DATABASE_URL: database.url });
    using writer = createClient({ address: steady.address });
    let service = await serve({ DATABASE_URL: database.url });
    using client = createClient({ address: service.address });

    async function* users() {
      // 15 MB of them, more than waits in sockets and streams.
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
      // Of a user that is exported already, so that only the first snapshot's token brings it.
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
    await vi.waitFor(() => expect(copy.size).toBeGreaterThan(1510), patience);
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      service = await serveAgain(service, signal);
      const before = copy.size;
      await vi.waitFor(() => expect(copy.size).toBeGreaterThan(before + 10), patience);
    }
    await writes.stop();
    const truth = await allUsers(writer);
    await vi.waitFor(() => expect(differences(copy, truth)).toEqual([]), patience);
    expect(feed.disconnects.length).toBeGreaterThanOrEqual(2);
    expect(feed.startedOver).toBe(0);
    await feed.stop();

    await service.end('SIGTERM');
    await steady.end('SIGTERM');
  });

  it('start over behind the token of another directory, and forget who is not in this one', async () => {
    const there = await serve({ DATABASE_URL: elsewhere.url });
    using client = createClient({ address: there.address });
    await client.importAllUsers([{ firstName: 'Ada', email: 'ada@example.com' }]);
    const copy = new Map<string, User>();
    const first = keepCopy(client, copy, '');
    await vi.waitFor(() => expect(first.token).not.toBe(''), patience);
    await first.stop();
    expect([...copy.values()].map(({ email }) => email)).toEqual(['ada@example.com']);
    await there.end('SIGTERM');

    const here = await serve({ DATABASE_URL: database.url });
    using other = createClient({ address: here.address });
    const second = keepCopy(other, copy, first.token);
    const truth = await allUsers(other);
    await vi.waitFor(() => expect(differences(copy, truth)).toEqual([]), patience);
    expect(second.startedOver).toBe(1);
    await second.stop();
    await here.end('SIGTERM');
  });
});
