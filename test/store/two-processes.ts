/** Two processes on one database, for the tests of the statements that write users. Importing it opens them. */
import { randomBytes, randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { User, UserFields } from '../../src/model/user.js';
import { insertUsers, type NewUser } from '../../src/store/insert-users.js';
import type { RequestKey } from '../../src/store/request-ids.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';

export let testDatabase: TestDatabase;
export let database: Database;
export let other: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  other = await openDatabase(databaseOptions(testDatabase.url));
});

afterAll(async () => {
  await database?.close();
  await other?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

export const newUser = (changes: Partial<UserFields> = {}, request?: RequestKey): NewUser => ({
  id: uuidv7(),
  fields: someFields(changes),
  request,
});

export async function created(changes: Partial<UserFields> = {}): Promise<User> {
  const [outcome] = await insertUsers(database, [newUser(changes)]);
  return userIn(outcome);
}

export function userIn(outcome: unknown): User {
  if (typeof outcome === 'object' && outcome !== null && 'version' in outcome) return outcome as User;
  throw outcome ?? new Error('nobody');
}

/** An outcome as a word: `made` for a user, otherwise what the store returned, with its ids or indexes. */
export function said(outcome: object | string | undefined): string {
  if (typeof outcome === 'string') return outcome;
  if (outcome instanceof Error) throw outcome;
  if (outcome !== undefined && 'repeatedUserIds' in outcome)
    return `repeated ${(outcome.repeatedUserIds as string[]).join()}`;
  if (outcome !== undefined && 'takenIndexes' in outcome)
    return `EMAIL_TAKEN ${(outcome.takenIndexes as number[]).join()}`;
  return 'made';
}

export const requestKey = (digest = 'a'): RequestKey => ({ id: randomUUID(), digest: Buffer.from(digest) });

export async function count(email: string): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>(
    'select count(*) from users where email_key(email) = email_key($1)',
    [email],
  );
  return Number(row?.count);
}

/**
 * Runs two separate processes and returns how many deadlocks Postgres has resolved, which `run` hides from its callers.
 */
export async function deadlocksIn(work: (one: Database, another: Database) => Promise<void>): Promise<number> {
  const read = async () => {
    const [row] = await testDatabase.query<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    );
    return Number(row?.deadlocks);
  };
  const before = await read();
  const name = `roster-${randomBytes(4).toString('hex')}`;
  const url = new URL(testDatabase.url);
  url.searchParams.set('application_name', name);
  const [one, another] = [await openDatabase(databaseOptions(url.href)), await openDatabase(databaseOptions(url.href))];
  try {
    await work(one, another);
  } finally {
    await Promise.all([one.close(), another.close()]);
  }
  // A connection reports its counts when it ends, at the latest.
  await vi.waitUntil(
    async () =>
      (await testDatabase.query('select from pg_stat_activity where application_name = $1', [name])).length === 0,
    { timeout: 30_000 },
  );
  return (await read()) - before;
}

/** Waits until a statement waits for a lock. */
export function waitForLock(): Promise<true> {
  const text = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return vi.waitUntil(async () => (await testDatabase.query(text)).length > 0, { timeout: 30_000 });
}
