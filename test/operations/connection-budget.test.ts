/** The parts of the pool: they add up to it, and calls that hold all other parts do not delay single calls. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { parseServerConfig } from '../../src/config/parse.js';
import { divideConnections } from '../../src/operations/connection-budget.js';
import { startTestApp, type TestApp } from '../support/app.js';

const uses = Object.keys(divideConnections(100)) as (keyof ReturnType<typeof divideConnections>)[];
const smallest = uses.length;
const sizes = Array.from({ length: 101 - smallest }, (_, index) => smallest + index);
const standard = parseServerConfig({}).database.connectionsMax;

describe('the parts of a pool', () => {
  it('add up to the pool, and every use has at least one connection', () => {
    for (const size of [...sizes, 1000]) {
      const parts = Object.values(divideConnections(size));
      expect(parts.reduce((sum, part) => sum + part)).toBe(size);
      expect(Math.min(...parts)).toBeGreaterThanOrEqual(1);
    }
  });

  it('do not shrink if the pool grows', () => {
    for (const size of sizes.slice(1)) {
      const [small, large] = [divideConnections(size - 1), divideConnections(size)];
      for (const use of uses) expect(large[use], `${use} of ${size}`).toBeGreaterThanOrEqual(small[use]);
    }
  });

  it('leave a connection to the other kinds of writes and lookups with the default', () => {
    expect(divideConnections(standard)).toMatchObject({ lookups: 2, writes: 3, lists: 4 });
  });

  it.each([0, 1, smallest - 1, 10.5])('do not exist for a pool of %d', (size) => {
    expect(() => divideConnections(size)).toThrow(RangeError);
  });

  it('have the same minimum as the setting', () => {
    const parse = (size: number) => parseServerConfig({ DATABASE_CONNECTIONS_MAX: String(size) });
    expect(parse(smallest).database.connectionsMax).toBe(smallest);
    expect(() => parse(smallest - 1)).toThrow(`DATABASE_CONNECTIONS_MAX must be a whole number from ${smallest}`);
  });

  it('are in docs/operations.md', () => {
    const text = readFileSync(path.resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8');
    const rows = [...text.matchAll(/^\| `(\w+)` \|.*\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$/gm)];
    const budgets = [smallest, standard, 40, 100].map(divideConnections);
    expect(rows.map(([, use, ...parts]) => [use, ...parts.map(Number)])).toEqual(
      uses.map((use) => [use, ...budgets.map((budget) => budget[use])]),
    );
  });
});

/** Runs the statements in a transaction that stays open until it is disposed. */
async function openTransaction(app: TestApp, ...statements: string[]): Promise<AsyncDisposable> {
  const client = new pg.Client({ connectionString: app.database.url });
  await client.connect();
  for (const statement of ['begin', ...statements]) await client.query(statement);
  return { [Symbol.asyncDispose]: () => client.end() };
}

describe.each([smallest, standard])('with a pool of %d, while calls hold all that they may', (size) => {
  it('single calls and health checks are answered at once', async () => {
    const settings = { DATABASE_CONNECTIONS_MAX: String(size), LOCK_TIMEOUT_MS: '60000', LIST_INDEXES: 'none' };
    await using app = await startTestApp({ ...settings, STATEMENT_TIMEOUT_MS: '60000' });
    const people = Array.from({ length: 20 }, (_, index) => ({ firstName: 'Ada', email: `${index}@example.com` }));
    const { users } = await app.client.batchCreateUsers({ users: people });
    const id = users.at(-1)?.id ?? '';

    // Searches wait for this table, and nothing else does.
    await app.database.query('create table held (id integer)');
    await app.database.query(`
      create or replace function search_key(first_name text, last_name text, email text) returns text
      immutable parallel safe language plpgsql as $$ begin perform from held; return ''; end $$`);
    await using _table = await openTransaction(app, 'lock table held in access exclusive mode');
    await using _rows = await openTransaction(app, `select from users where id <> '${id}' for update`);
    const emails = Array.from({ length: 10 }, (_, index) => `taken.${index}@example.com`);
    await using _emails = await openTransaction(
      app,
      ...emails.map((taken) => `insert into users (id, first_name, email) values (gen_random_uuid(), '', '${taken}')`),
    );

    const abort = new AbortController();
    const options = { signal: abort.signal, deadlineMs: 120_000, attemptsMax: 1 };
    const calls: Promise<unknown>[] = [];
    for (const [index, user] of users.slice(0, 10).entries()) {
      const created = { firstName: 'Eve', email: emails[index] ?? '' };
      calls.push(
        app.client.listUsers({ query: 'ada' }, options),
        app.client.updateUser({ user: { id: user.id, lastName: 'King' } }, options),
        app.client.createUser({ user: created }, options),
        app.client.batchCreateUsers({ users: [{ firstName: 'Bob', email: emails[index] ?? '' }] }, options),
      );
    }
    const settled = Promise.allSettled(calls);
    // Batches of writes and retries wait too, but only for 200 ms each.
    const waiting = async () => {
      const statements = await app.database.query(`
        select from pg_stat_activity where datname = current_database() and application_name = 'roster'
        and wait_event_type = 'Lock' and query not like '%200ms%'`);
      return statements.length;
    };
    const { lists, batchCalls, lockWaits } = divideConnections(size);
    // Searches without an index leave one of the connections for lists.
    const held = Math.max(1, lists - 1) + batchCalls + lockWaits;
    await expect.poll(waiting, { timeout: 60_000 }).toBe(held);

    expect((await app.client.getUser({ id }, { attemptsMax: 1 })).user?.email).toBe('19@example.com');
    expect((await app.client.getUserByEmail({ email: '19@example.com' }, { attemptsMax: 1 })).user?.id).toBe(id);
    await app.client.createUser({ user: { firstName: 'Bob', email: 'bob@example.com' } }, { attemptsMax: 1 });
    await app.client.updateUser({ user: { id, lastName: 'King' } }, { attemptsMax: 1 });
    await app.client.deleteUser({ id }, { attemptsMax: 1 });
    expect(await app.client.isServing()).toBe(true);
    expect(await waiting()).toBe(held);

    abort.abort();
    await settled;
  });
});
