/** Watchers on a real database whose statements a test can block. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { WatchPosition } from '../../src/model/watch-token.js';
import { type ChangeFeed, createChangeFeed } from '../../src/operations/change-feed.js';
import { type WatchedChange, watchUsers } from '../../src/operations/watch-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { readFeedPosition } from '../../src/store/read-changes.js';
import { renewChangeFeed } from '../../src/store/trim-changes.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const waitOptions = { timeout: 30_000 };
const id = '01890a5d-ac96-774b-bcce-b302099a8057';

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  await renewChangeFeed(database);
});
afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

/** Called around each statement of the next watcher, but not of the shared feed. */
type Around = <T>(run: () => Promise<T>) => Promise<T>;

let feed: ChangeFeed;
let stop: AbortController;
beforeEach(async () => {
  await testDatabase.query('truncate users, changes');
  stop = new AbortController();
  feed = createChangeFeed({ database, onError: () => {} });
});
afterEach(async () => {
  stop.abort();
  await feed.close();
});

function held(around: Around): Database {
  return { ...database, run: (statement, values) => around(() => database.run(statement, values)) };
}

function watch(position?: WatchPosition, around: Around = (run) => run(), heartbeatMs = 60_000) {
  const limiter = createLimiter({ concurrencyMax: 2, queuedMax: 100 });
  const options = { database: held(around), feed, sessions: limiter, catchUps: limiter, snapshotTimeoutMs: 60_000 };
  return watchUsers(options, { position, includeExisting: false, heartbeatMs }, stop.signal);
}

/** Collects the changes of a watcher until the test ends. */
function follow(messages: ReturnType<typeof watch>): WatchedChange[] {
  const changes: WatchedChange[] = [];
  const following = (async () => {
    for await (const message of messages) changes.push(...message.changes);
  })();
  following.catch(() => {});
  return changes;
}

async function update(firstName: string): Promise<void> {
  await updateUsers(database, [{ id, version: undefined, fields: { firstName } }]);
  feed.wake();
}

describe('watchUsers', () => {
  it('never sends an older state of a user than it has already sent, after it read missed changes', async () => {
    await insertUsers(database, [{ id, fields: someFields(), request: undefined }]);
    const start = await readFeedPosition(database);
    await update('Update 1');
    const fromNow = watch();
    // The first message has its start. Only later changes reach it.
    await fromNow.next();
    const others = follow(fromNow);
    const lastUser = () => {
      const user = others.at(-1)?.user;
      return user && decoded(user);
    };
    let updates = 1;
    const updateNow = () => update(`Update ${++updates}`);
    // The feed reads before and after a statement of the watcher, and a change happens between two statements.
    const between: Around = async (run) => {
      if (updates > 12) return run();
      await updateNow();
      await expect.poll(() => lastUser()?.firstName, waitOptions).toBe(`Update ${updates}`);
      await updateNow();
      const rows = await run();
      await updateNow();
      return rows;
    };
    const changes = follow(watch(start, between));
    await expect.poll(() => updates > 3 && changes.length === updates, waitOptions).toBe(true);
    const versions = changes.map(({ user }) => (user === undefined ? 0 : decoded(user).version));
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  });

  it('subscribes to the feed only near its position, because other watchers would wait for it', async () => {
    const start = await readFeedPosition(database);
    await testDatabase.query(
      'insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 2200)',
    );
    const subscribe = vi.spyOn(feed, 'subscribe');
    const changes = follow(watch(start));
    await expect.poll(() => changes.length, waitOptions).toBe(2200);
    await update('Nobody');
    await insertUsers(database, [{ id, fields: someFields(), request: undefined }]);
    await expect.poll(() => changes.length, waitOptions).toBe(2201);
    // At the start of the window, and after its end.
    expect(subscribe).toHaveBeenCalledTimes(2);
  });

  it('first sends the position from which it sees everything, and no heartbeat before that', async () => {
    const found = Promise.withResolvers<void>();
    const messages = watch(undefined, (run) => found.promise.then(run), 1);
    const first = messages.next();
    // Many heartbeat intervals.
    await sleep(50);
    found.resolve();
    const { value } = await first;
    expect(value).toMatchObject({ changes: [], caughtUp: true, resumeToken: expect.stringMatching(/./) });
    await insertUsers(database, [{ id, fields: someFields(), request: undefined }]);
    for await (const { changes } of messages) {
      if (changes.length === 0) continue;
      expect(changes).toMatchObject([{ type: 'created', userId: id }]);
      return;
    }
  });
});

describe('the feed', () => {
  it('rejects new subscribers after it was closed', async () => {
    await feed.close();
    for (let n = 0; n < 2; n++) await expect(feed.subscribe()).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
  });
});
