/** That request ids go after their day, however many there are, and that a failure only costs a turn. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startHousekeeping } from '../../src/operations/housekeeping.js';
import { type Database, openDatabase } from '../../src/store/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

/** A bound for what never happens, far above what the slowest machine needs. */
const patience = { timeout: 30_000 };

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

// Minutes pass between two turns. Only the interval is ours; Postgres' driver keeps its own clock.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

async function remember(count: number, age: string): Promise<void> {
  await testDatabase.query(
    `insert into request_ids (request_id, digest, user_ids, create_time)
     select gen_random_uuid(), '', '{}', now() - cast($2 as interval) from generate_series(1, $1::integer)`,
    [count, age],
  );
}

async function remembered(): Promise<number> {
  return (await testDatabase.query('select from request_ids')).length;
}

const kept = { keptHours: 1, keptMax: 2_000 };

describe('housekeeping', () => {
  it('forgets in one turn all the request ids that are older than a day, and no other', async () => {
    await remember(2500, '25 hours');
    await remember(3, '23 hours');
    const housekeeping = startHousekeeping({
      database,
      changes: kept,
      searchIndex: false,
      onError: (error) => expect.unreachable(String(error)),
    });
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersToNextTimer();
    await expect.poll(remembered, patience).toBe(3);
    await housekeeping.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(await remembered()).toBe(3);
  });

  it('goes on after a turn that failed', async () => {
    const errors: unknown[] = [];
    const housekeeping = startHousekeeping({
      database,
      changes: kept,
      searchIndex: true,
      onError: (error) => errors.push(error),
    });
    await testDatabase.query('alter table request_ids rename to elsewhere');
    vi.advanceTimersToNextTimer();
    await expect.poll(() => errors, patience).toHaveLength(1);
    await testDatabase.query('alter table elsewhere rename to request_ids');
    await testDatabase.query('delete from request_ids');
    await remember(1, '25 hours');
    vi.advanceTimersToNextTimer();
    await expect.poll(remembered, patience).toBe(0);
    await housekeeping.close();
    expect(errors).toHaveLength(1);
  });
});
