/** A whole server, with its clients, whose primary is replaced by a standby. */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp } from '../../src/app.js';
import { type Client, createClient, type RosterError, type User } from '../../src/client/index.js';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { WatchPosition } from '../../src/model/watch-token.js';
import { createChangeFeed } from '../../src/operations/change-feed.js';
import { watchUsers } from '../../src/operations/watch-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { readFeedPosition } from '../../src/store/read-changes.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { createRosterServers, type PostgresServer, type PostgresServers } from '../support/postgres-servers.js';

const waitOptions = { timeout: 60_000 };

let servers: PostgresServers;
beforeAll(async () => {
  servers = await createRosterServers();
});
afterAll(() => servers?.[Symbol.asyncDispose]());

interface Scene extends AsyncDisposable {
  readonly primary: PostgresServer;
  readonly standby: PostgresServer;
  readonly client: Client;
  readonly lines: readonly Record<string, unknown>[];
}

async function startPair(): Promise<[primary: PostgresServer, standby: PostgresServer]> {
  const primary = await servers.empty.copy();
  const standby = await primary.copyAsStandby();
  await primary.start();
  await standby.start();
  await standby.catchUp(primary);
  return [primary, standby];
}

const urlOfBoth = (primary: PostgresServer, standby: PostgresServer) =>
  `postgres://roster@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/roster`;

async function openBoth(primary: PostgresServer, standby: PostgresServer): Promise<Database & AsyncDisposable> {
  const database = await openDatabase(databaseOptions(urlOfBoth(primary, standby)));
  return { ...database, [Symbol.asyncDispose]: () => database.close() };
}

/** A server of Roster with both servers of Postgres in its DATABASE_URL. */
async function open({ isSynchronous = false } = {}): Promise<Scene> {
  const [primary, standby] = await startPair();
  if (isSynchronous) {
    await primary.query(`alter system set synchronous_standby_names = '*'`);
    await primary.query('select pg_reload_conf()');
  }
  const lines: Record<string, unknown>[] = [];
  const config = parseServerConfig({
    DATABASE_URL: urlOfBoth(primary, standby),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
  });
  const app = await startApp(config, { logTo: { write: (text) => void lines.push(JSON.parse(text)) } });
  const client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1 });
  return {
    ...{ primary, standby, client, lines },
    async [Symbol.asyncDispose]() {
      client.close();
      await app.close();
    },
  };
}

let emails = 0;
async function create(client: Client, firstName: string): Promise<User> {
  const { user } = await client.createUser({ user: { firstName, email: `user${emails++}@example.com` } });
  if (user === undefined) throw new Error('The response has no user.');
  return user;
}

const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => 'OK',
    (error: RosterError) => error.reason,
  );

async function tokenNow(client: Client): Promise<string> {
  for await (const { resumeToken, caughtUp } of client.watchUsers({})) if (caughtUp) return resumeToken;
  throw new Error('The watch ended unexpectedly.');
}

/** The first names of the changed users after a token, up to and including one. */
async function changedAfter(client: Client, resumeToken: string, last: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { changes } of client.watchUsers({ resumeToken })) {
    for (const { user } of changes) names.push(user?.firstName ?? '');
    if (names.includes(last)) return names;
  }
  throw new Error('The watch ended unexpectedly.');
}

/** A copy of the directory that followUsers keeps up to date. */
function follow(client: Client) {
  const names = new Map<string, string>();
  const progress = { isCaughtUp: false, startsOver: 0, names };
  const ending = new AbortController();
  const following = (async () => {
    const kept = new Set<string>();
    for await (const message of client.followUsers({
      includeExisting: true,
      heartbeatMs: 100,
      signal: ending.signal,
    })) {
      if (message.startedOver) {
        progress.startsOver++;
        progress.isCaughtUp = false;
        kept.clear();
      }
      for (const { user } of message.changes) {
        names.set(user?.id ?? '', user?.firstName ?? '');
        kept.add(user?.id ?? '');
      }
      if (message.caughtUp && !progress.isCaughtUp) {
        for (const id of names.keys()) if (!kept.has(id)) names.delete(id);
        progress.isCaughtUp = true;
      }
    }
  })();
  following.catch(() => {});
  return {
    progress,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await following.catch(() => {});
    },
  };
}

/** Writes until a write succeeds, and returns how many tries that took. Each try follows the last one after 100 ms. */
async function triesUntilWritten(client: Client, name: string): Promise<number> {
  for (let tries = 1; ; tries++) {
    const result = await create(client, name).then(
      () => 'created',
      () => 'failed',
    );
    if (result === 'created') return tries;
    await sleep(100);
  }
}

// The time that issue and docs name is two seconds; each try takes at least 100 ms.
const triesMax = 20;

describe('a promotion of an asynchronous standby that lost writes', () => {
  it('expires later tokens, starts running watches over, and rejects etags of lost versions', async () => {
    await using scene = await open();
    const { primary, standby, client } = scene;
    const ada = await create(client, 'Ada');
    const kept = await tokenNow(client);
    await using copy = follow(client);
    await expect.poll(() => copy.progress.isCaughtUp, waitOptions).toBe(true);
    await standby.catchUp(primary);
    await standby.disconnect();

    await create(client, 'Lost');
    const { user: lostAda } = await client.updateUser({ user: { id: ada.id, firstName: 'Lost Ada' } });
    await expect.poll(() => [...copy.progress.names.values()], waitOptions).toEqual(['Lost Ada', 'Lost']);
    const lost = await tokenNow(client);
    await primary.kill();
    await standby.promote();
    expect(await triesUntilWritten(client, 'New')).toBeLessThanOrEqual(triesMax);

    const { user: newAda } = await client.updateUser({ user: { id: ada.id, firstName: 'New Ada' } });
    const versionIn = (user: User | undefined) => user?.etag.split('.')[0];
    expect(versionIn(newAda)).toBe(versionIn(lostAda));
    const update = (user: User | undefined) =>
      client.updateUser({ user: { id: ada.id, etag: user?.etag ?? '', lastName: 'King' } });
    expect(await reasonOf(client.deleteUser({ id: ada.id, etag: lostAda?.etag ?? '' }))).toBe('ETAG_MISMATCH');
    expect(await reasonOf(update(lostAda))).toBe('ETAG_MISMATCH');
    expect(await reasonOf(update(newAda))).toBe('OK');

    expect(await reasonOf(changedAfter(client, lost, 'New'))).toBe('RESUME_TOKEN_EXPIRED');
    expect((await changedAfter(client, kept, 'New')).toSorted()).toEqual(['New', 'New Ada', 'New Ada']);
    await expect.poll(() => [...copy.progress.names.values()].toSorted(), waitOptions).toEqual(['New', 'New Ada']);
    expect(copy.progress.startsOver).toBe(1);
    const tokensInLog = () => scene.lines.find(({ timeline }) => timeline === 2)?.tokens;
    await expect.poll(tokensInLog, waitOptions).toMatch(/^stay valid up to /);
  });

  it('starts a running watch over even if nothing changes afterwards', async () => {
    await using scene = await open();
    const { primary, standby, client } = scene;
    await create(client, 'Ada');
    await using copy = follow(client);
    await expect.poll(() => copy.progress.isCaughtUp, waitOptions).toBe(true);
    await standby.catchUp(primary);
    await standby.disconnect();
    await create(client, 'Lost');
    await expect.poll(() => copy.progress.names.size, waitOptions).toBe(2);
    await primary.kill();
    await standby.promote();
    await expect.poll(() => [...copy.progress.names.values()], waitOptions).toEqual(['Ada']);
    expect(copy.progress.startsOver).toBe(1);
  });
});

it('a timeline is noted within seconds although nobody watches and no statement fails', async () => {
  await using scene = await open();
  // As if another server had noticed a later timeline.
  await scene.primary.query('insert into timelines (seq, timeline) values (2, 2)');
  const noted = () => scene.lines.filter(({ msg }) => msg === 'the database is on a new timeline');
  await expect.poll(noted, waitOptions).toMatchObject([{ timeline: 1, tokens: 'all expire' }]);
  expect(await scene.primary.query('select max(seq)::integer as seq from timelines')).toEqual([{ seq: 3 }]);
});

describe('a watch that has read lost changes on its own', () => {
  it('ends, although the feed has not read them', async () => {
    const [primary, standby] = await startPair();
    await using database = await openBoth(primary, standby);
    let held: Promise<void> | undefined;
    let feedReads = 0;
    const feedDatabase: Database = {
      ...database,
      async run(statement, values) {
        await held;
        feedReads++;
        return database.run(statement, values).finally(() => feedReads--);
      },
    };
    const feed = createChangeFeed({ database: feedDatabase, onError: () => {} });
    const limiter = createLimiter({ concurrencyMax: 4, queuedMax: 100 });
    const options = { database, feed, sessions: limiter, catchUps: limiter, snapshotTimeoutMs: 60_000 };
    const stopping = new AbortController();
    const watch = (position?: WatchPosition) =>
      watchUsers(options, { position, includeExisting: false, heartbeatMs: 60_000 }, stopping.signal);
    const insert = (id: string) => insertUsers(database, [{ id, fields: someFields(), request: undefined }]);

    const start = await readFeedPosition(database);
    const other = watch();
    await other.next();
    const holding = Promise.withResolvers<void>();
    held = holding.promise;
    await expect.poll(() => feedReads).toBe(0);
    await standby.catchUp(primary);
    await standby.disconnect();
    const [lostId, newId] = [uuidv7(), uuidv7()];
    await insert(lostId);
    const watching = watch(start);
    expect((await watching.next()).value?.changes).toMatchObject([{ userId: lostId }]);
    const ended = watching.next();
    ended.catch(() => {});
    await primary.kill();
    await standby.promote();
    holding.resolve();
    await expect(ended).rejects.toMatchObject({ reason: 'RESUME_TOKEN_EXPIRED' });

    await insert(newId);
    feed.wake();
    expect((await other.next()).value?.changes).toMatchObject([{ userId: newId }]);
    stopping.abort();
    await feed.close();
  });
});

/** Creates users until the signal aborts, and returns the names of those that were acknowledged. */
async function createUntil(client: Client, signal: AbortSignal): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let count = 0; !signal.aborted; count++) {
    const name = `User ${count}`;
    const isCreated = await create(client, name).then(
      () => true,
      () => sleep(20, false),
    );
    if (isCreated) acknowledged.push(name);
  }
  return acknowledged;
}

describe.each([
  ['a promotion of a synchronous standby', { isSynchronous: true }, (primary: PostgresServer) => primary.kill()],
  ['a planned switch to an asynchronous standby', {}, (primary: PostgresServer) => primary.stop()],
])('%s', (_, options, end) => {
  it('keeps tokens valid, and loses neither a write nor a change', async () => {
    await using scene = await open(options);
    const { primary, standby, client } = scene;
    const start = await tokenNow(client);
    await using copy = follow(client);
    await expect.poll(() => copy.progress.isCaughtUp, waitOptions).toBe(true);
    const stopping = new AbortController();
    const creating = createUntil(client, stopping.signal);
    await expect.poll(() => copy.progress.names.size, waitOptions).toBeGreaterThan(20);
    const later = await tokenNow(client);
    const { size } = copy.progress.names;
    await expect.poll(() => copy.progress.names.size, waitOptions).toBeGreaterThan(size + 10);
    await end(primary);
    await standby.promote();
    expect(await triesUntilWritten(client, 'After')).toBeLessThanOrEqual(triesMax);
    stopping.abort();
    const acknowledged = await creating;
    await create(client, 'Last');

    const all = await changedAfter(client, start, 'Last');
    expect(acknowledged.filter((name) => !all.includes(name))).toEqual([]);
    expect((await changedAfter(client, later, 'Last')).length).toBeLessThan(all.length);
    await expect.poll(() => [...copy.progress.names.values()].includes('Last'), waitOptions).toBe(true);
    expect([...copy.progress.names.values()].toSorted()).toEqual(all.toSorted());
    expect(copy.progress.startsOver).toBe(0);
  });
});

it('a standby that is promoted while the primary goes on is logged, and not used', async () => {
  await using scene = await open();
  const before = await create(scene.client, 'Ada');
  await scene.standby.promote();
  const logged = () => scene.lines.filter(({ msg }) => msg === 'several hosts of DATABASE_URL accept writes');
  await expect.poll(logged, waitOptions).toHaveLength(1);
  expect(logged()[0]?.servers).toMatch(
    /^127\.0\.0\.1:\d+\/roster \(timeline 1\), 127\.0\.0\.1:\d+\/roster \(timeline 2\)$/,
  );
  const after = await create(scene.client, 'Grace');
  const found = await scene.primary.query(`select id from users where id in ('${before.id}', '${after.id}')`);
  expect(found).toHaveLength(2);
});
