/** Positions in the change log after promotions, recoveries and copies of real servers. */

import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import type { WatchPosition } from '../../src/model/watch-token.js';
import { openUsersSnapshot } from '../../src/store/export-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { readChanges, readFeedPosition } from '../../src/store/read-changes.js';
import { readLatestTimeline } from '../../src/store/timelines.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { createRosterServers, type PostgresServer, type PostgresServers } from '../support/postgres-servers.js';

let servers: PostgresServers;
beforeAll(async () => {
  servers = await createRosterServers();
});
afterAll(() => servers?.[Symbol.asyncDispose]());

/** Opens a database for a short time, because the server is often stopped next. */
async function withDatabase<T>(server: PostgresServer, work: (database: Database) => Promise<T>): Promise<T> {
  const database = await openDatabase(databaseOptions(server.url, { connectionsMax: 1 }));
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** Adds a user, and returns the position after it. */
function addUser(server: PostgresServer): Promise<WatchPosition> {
  return withDatabase(server, async (database) => {
    await insertUsers(database, [{ id: uuidv7(), fields: someFields(), request: undefined }]);
    return readFeedPosition(database);
  });
}

/** The number of changes after a position, or the reason why it is refused. */
function changesAfter(server: PostgresServer, position: WatchPosition): Promise<number | string> {
  return withDatabase(server, (database) =>
    readChanges(database, position, 100).then(
      ({ changes }) => changes.length,
      (error) => String(error.reason ?? error),
    ),
  );
}

const latestOf = (server: PostgresServer) => withDatabase(server, readLatestTimeline);
const expired = 'RESUME_TOKEN_EXPIRED';

async function startPair(): Promise<[primary: PostgresServer, standby: PostgresServer]> {
  const primary = await servers.empty.copy();
  const standby = await primary.copyAsStandby();
  await primary.start();
  await standby.start();
  return [primary, standby];
}

describe('a position', () => {
  it('stays valid after a switch that lost nothing, and misses no change', async () => {
    const [primary, standby] = await startPair();
    const positions = [await addUser(primary), await addUser(primary), await addUser(primary)];
    await standby.catchUp(primary);
    await primary.stop();
    await standby.promote();
    for (const [index, position] of positions.entries()) expect(await changesAfter(standby, position)).toBe(2 - index);
    expect(await latestOf(standby)).toMatchObject({ timeline: 2, forkLsn: expect.stringContaining('/') });
    await addUser(standby);
    for (const [index, position] of positions.entries()) expect(await changesAfter(standby, position)).toBe(3 - index);
  });

  it('is refused after a promotion that lost what it counts as finished, and only then', async () => {
    const [primary, standby] = await startPair();
    const kept = await addUser(primary);
    await standby.catchUp(primary);
    await standby.disconnect();
    const lost = await addUser(primary);
    await primary.kill();
    await standby.promote();
    // Uses more transactions than the primary did, so that their numbers do not give the position away.
    for (let count = 0; count < 5; count++) await addUser(standby);
    expect(await changesAfter(standby, kept)).toBe(5);
    expect(await changesAfter(standby, lost)).toBe(expired);
  });

  it('inside a window is refused if the end of its window was lost', async () => {
    const [primary, standby] = await startPair();
    const start = await addUser(primary);
    await addUser(primary);
    await addUser(primary);
    const inWindow = (from: WatchPosition) =>
      withDatabase(primary, async (database) => (await readChanges(database, from, 1)).position);
    const kept = await inWindow(start);
    expect(kept.window).toBeDefined();
    await standby.catchUp(primary);
    await standby.disconnect();
    await addUser(primary);
    const lost = await inWindow(start);
    // The next page of the kept window does not count the lost transaction as finished.
    const keptLater = await inWindow(kept);
    await primary.kill();
    await standby.promote();
    for (let count = 0; count < 5; count++) await addUser(standby);
    expect(await changesAfter(standby, start)).toBe(7);
    expect(await changesAfter(standby, kept)).toBe(1);
    expect(await changesAfter(standby, keptLater)).toBe(0);
    expect(await changesAfter(standby, lost)).toBe(expired);
  });

  it('stays valid if the lost WAL contains no transactions', async () => {
    const [primary, standby] = await startPair();
    const added = await addUser(primary);
    await standby.catchUp(primary);
    const read = (from: WatchPosition) =>
      withDatabase(primary, async (database) => (await readChanges(database, from, 10)).position);
    const position = await read(added);
    await standby.catchUp(primary);
    await standby.disconnect();
    // WAL without a transaction.
    await primary.query('checkpoint');
    const later = await read(position);
    await primary.kill();
    await standby.promote();
    expect(later).toEqual(position);
    expect(await changesAfter(standby, later)).toBe(0);
  });

  // A backup of a running server does not have the statistics of a shutdown, so the server could have crashed.
  it.each([
    { backup: 'a stopped server', stop: (server: PostgresServer) => server.stop(), keepsEarlier: true },
    { backup: 'a running server', stop: (server: PostgresServer) => server.kill(), keepsEarlier: false },
  ])('is refused after a recovery from a backup of $backup to a point before it', async ({ stop, keepsEarlier }) => {
    const original = await servers.empty.copy();
    await original.start();
    await stop(original);
    const backup = await original.copy();
    await original.start();
    const before = await addUser(original);
    const [target] = await original.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn');
    const lost = await addUser(original);
    await original.stop();
    backup.recoverTo(original, target?.lsn ?? '');
    await backup.start();
    await expect
      .poll(() => backup.query('select pg_is_in_recovery() as is_in'), { timeout: 30_000 })
      .toEqual([{ is_in: false }]);
    for (let count = 0; count < 5; count++) await addUser(backup);
    expect(await changesAfter(backup, lost)).toBe(expired);
    expect(await changesAfter(backup, before)).toBe(keepsEarlier ? 5 : expired);
    const forkLsn = keepsEarlier ? expect.stringContaining('/') : undefined;
    expect(await latestOf(backup)).toMatchObject({ timeline: 2, forkLsn });
  });

  it('is refused by a copy of the data from before it, even on the same timeline', async () => {
    const original = await servers.empty.copy();
    const copy = await original.copy();
    await original.start();
    // Much WAL and one transaction, so that the number of transactions does not give the position away.
    await original.query(
      `insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 10000)`,
    );
    const position = await withDatabase(original, readFeedPosition);
    await original.stop();
    await copy.start();
    for (let count = 0; count < 5; count++) await addUser(copy);
    expect(await changesAfter(copy, position)).toBe(expired);
  });

  it('is refused by another server that has the same number of a timeline', async () => {
    const primary = await servers.empty.copy();
    const [one, two] = [await primary.copyAsStandby(), await primary.copyAsStandby()];
    for (const server of [primary, one, two]) await server.start();
    const before = await addUser(primary);
    for (const server of [one, two]) await server.catchUp(primary);
    await primary.kill();
    for (const server of [one, two]) await server.promote();
    const onOne = await addUser(one);
    for (let count = 0; count < 5; count++) await addUser(two);
    expect((await latestOf(one)).timeline).toBe((await latestOf(two)).timeline);
    expect(await changesAfter(two, before)).toBe(5);
    expect(await changesAfter(two, onOne)).toBe(expired);
    expect(await changesAfter(one, onOne)).toBe(0);
  });

  it('is compared with each of two forks', async () => {
    const [first, second] = await startPair();
    const kept = await addUser(first);
    await second.catchUp(first);
    await second.disconnect();
    const lostFirst = await addUser(first);
    await first.kill();
    await second.promote();
    const keptSecond = await addUser(second);
    await second.stop();
    const third = await second.copyAsStandby();
    await second.start();
    await third.start();
    await third.catchUp(second);
    await third.disconnect();
    const lostSecond = await addUser(second);
    await second.kill();
    await third.promote();
    for (let count = 0; count < 5; count++) await addUser(third);
    expect(await changesAfter(third, kept)).toBe(6);
    expect(await changesAfter(third, lostFirst)).toBe(expired);
    expect(await changesAfter(third, keptSecond)).toBe(5);
    expect(await changesAfter(third, lostSecond)).toBe(expired);
    expect((await latestOf(third)).timeline).toBe(3);
  });

  it('is refused if Roster has missed a timeline, or the restart of a promoted server', async () => {
    const [first, second] = await startPair();
    const position = await addUser(first);
    await first.stop();
    await second.promote();
    await second.stop();
    const third = await second.copyAsStandby();
    await second.start();
    expect(await changesAfter(second, position)).toBe(expired);
    expect(await latestOf(second)).toMatchObject({ timeline: 2, forkLsn: undefined });
    await second.stop();
    await third.start();
    await third.promote();
    expect(await changesAfter(third, position)).toBe(expired);
    expect(await latestOf(third)).toMatchObject({ timeline: 3, forkLsn: undefined });
  });

  it('is refused if the promoted server has crashed before Roster reached it', async () => {
    const [first, second] = await startPair();
    const position = await addUser(first);
    await first.stop();
    await second.promote();
    await second.kill();
    // The recovery from the crash replays the WAL of the new timeline.
    await second.start();
    expect(await changesAfter(second, position)).toBe(expired);
    expect(await latestOf(second)).toMatchObject({ timeline: 2, forkLsn: undefined });
  });

  it('stays valid if a primary is demoted and promoted again, unless it crashes after that', async () => {
    const server = await servers.empty.copy();
    await server.start();
    const position = await addUser(server);
    await addUser(server);
    await server.stop();
    server.demote();
    const crashed = await server.copy();
    for (const each of [server, crashed]) {
      await each.start();
      await each.promote();
    }
    await crashed.kill();
    await crashed.start();
    expect(await changesAfter(server, position)).toBe(1);
    expect(await latestOf(server)).toMatchObject({ timeline: 2, forkLsn: expect.stringContaining('/') });
    expect(await changesAfter(crashed, position)).toBe(expired);
    expect(await latestOf(crashed)).toMatchObject({ timeline: 2, forkLsn: undefined });
  });

  it('is refused if a demoted primary had crashed before it was promoted again', async () => {
    const server = await servers.empty.copy();
    await server.start();
    const position = await addUser(server);
    await server.kill();
    server.demote();
    await server.start();
    await server.promote();
    expect(await changesAfter(server, position)).toBe(expired);
  });

  it('of an earlier server is valid until the first fork', async () => {
    const [primary, standby] = await startPair();
    const { feedId, snapshot } = await addUser(primary);
    await addUser(primary);
    expect(await changesAfter(primary, { feedId, snapshot })).toBe(1);
    await primary.stop();
    await standby.promote();
    expect(await changesAfter(standby, { feedId, snapshot })).toBe(expired);
  });

  it('that continues on a new timeline is a position of it', async () => {
    const [primary, standby] = await startPair();
    const position = await addUser(primary);
    await primary.stop();
    await standby.promote();
    const read = () => withDatabase(standby, async (database) => (await readChanges(database, position, 10)).position);
    expect((await read()).wal?.timelineId).toBe((await latestOf(standby)).id);
  });
});

describe.each(['crash', 'kill'] as const)('after a %s of the server between a snapshot and its commit', (end) => {
  it('no position counts a transaction as finished whose number is used again', async () => {
    const server = await servers.empty.copy();
    await server.start();
    // Otherwise the server writes the records of failed transactions to disk within 0.2 s.
    await server.query('alter system set wal_writer_delay = 10000');
    await server.query('select pg_reload_conf()');
    const database = await openDatabase(databaseOptions(server.url));
    onTestFinished(() => database.close());
    const before = await readFeedPosition(database);
    const change = 'insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 3)';
    for (let count = 0; count < 5; count++) await server.query(`begin; ${change}; rollback`);

    let isHeld = true;
    const holding: Database = {
      ...database,
      async run(statement, values) {
        if (statement.name === 'flush-wal' && isHeld) {
          isHeld = false;
          await server[end]();
          if (end === 'kill') await server.start();
          // More WAL and more transactions than before.
          for (let count = 0; count < 10; count++) await server.query(change);
        }
        for (;;) {
          try {
            return await database.run(statement, values);
          } catch (error) {
            // The pool's connections have broken.
            if (!(error instanceof Fault) || error.cause === undefined) throw error;
          }
        }
      },
    };
    const outcome = await readFeedPosition(holding).catch((error: Fault) => error.reason);
    expect(isHeld).toBe(false);
    expect(outcome).toBe('DATABASE_UNAVAILABLE');
    expect((await readChanges(database, await readFeedPosition(database), 100)).changes).toEqual([]);
    expect((await readChanges(database, before, 100)).changes).toHaveLength(30);
  });
});

it('the snapshot of an export notes a new timeline too', async () => {
  const [primary, standby] = await startPair();
  await primary.stop();
  await standby.promote();
  const position = await withDatabase(standby, async (database) => {
    await using snapshot = await openUsersSnapshot(database, {}, new AbortController().signal);
    return snapshot.position;
  });
  expect(position.wal?.timelineId).toBe((await latestOf(standby)).id);
  expect((await latestOf(standby)).timeline).toBe(2);
  expect(await changesAfter(standby, position)).toBe(0);
});
