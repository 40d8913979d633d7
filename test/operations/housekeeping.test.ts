/** Request ids must be deleted after a day, however many there are, and an error must fail only one sweep. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { startHousekeeping } from '../../src/operations/housekeeping.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

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

// Sweeps are minutes apart. Only the interval is faked, because Postgres' driver needs a real clock.
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

const background = createLimiter({ concurrencyMax: 1, queuedMax: 1 });
const kept = { keptHours: 1, keptMax: 2_000 };

describe('housekeeping', () => {
  it('deletes all request ids that are older than a day in one sweep, and no others', async () => {
    await remember(2500, '25 hours');
    await remember(3, '23 hours');
    const housekeeping = startHousekeeping({
      database,
      changes: kept,
      background,
      onError: (error) => expect.unreachable(String(error)),
    });
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersToNextTimer();
    await expect.poll(remembered, waitOptions).toBe(3);
    await housekeeping.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(await remembered()).toBe(3);
  });

  it('continues after a failed sweep', async () => {
    const errors: unknown[] = [];
    const housekeeping = startHousekeeping({
      database,
      changes: kept,
      background,
      onError: (error) => errors.push(error),
    });
    await testDatabase.query('alter table request_ids rename to elsewhere');
    vi.advanceTimersToNextTimer();
    await expect.poll(() => errors, waitOptions).toHaveLength(1);
    await testDatabase.query('alter table elsewhere rename to request_ids');
    await testDatabase.query('delete from request_ids');
    await remember(1, '25 hours');
    vi.advanceTimersToNextTimer();
    await expect.poll(remembered, waitOptions).toBe(0);
    await housekeeping.close();
    expect(errors).toHaveLength(1);
  });
});
