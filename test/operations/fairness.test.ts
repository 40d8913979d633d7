/** Locked rows and slow lists must not delay other calls. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { User } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';

let app: TestApp;
let users: User[];
beforeAll(async () => {
  app = await startTestApp({ LOCK_TIMEOUT_MS: '30000' });
  const people = Array.from({ length: 20 }, (_, index) => ({ firstName: 'Ada', email: `${index}@example.com` }));
  ({ users } = await app.client.batchCreateUsers({ users: people }));
});
afterAll(() => app[Symbol.asyncDispose]());

const idOf = (index: number) => users[index]?.id ?? '';

/** Locks users like a psql session, until the returned function is called. */
async function lock(indexes: readonly number[]): Promise<() => Promise<void>> {
  const holder = new pg.Client({ connectionString: app.database.url });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from users where id = any($1) for update', [indexes.map(idOf)]);
  return async () => {
    await holder.query('commit');
    await holder.end();
  };
}

describe('users that another transaction has locked', () => {
  it('wait, and all other users are written meanwhile', async () => {
    const locked = [0, 1, 2, 3, 4, 5, 6, 7];
    const unlock = await lock(locked);
    const done = new Set<number>();
    const updates = users.map(async ({ id }, index) => {
      await app.client.updateUser({ user: { id, lastName: 'King' } }, { deadlineMs: 60_000 });
      done.add(index);
    });
    const deletion = app.client.deleteUser({ id: idOf(7), allowMissing: true }, { deadlineMs: 60_000, attemptsMax: 1 });
    const free = users.map((_, index) => index).filter((index) => !locked.includes(index));
    await expect.poll(() => [...done].sort((a, b) => a - b), { timeout: 30_000 }).toEqual(free);
    // Other writes and reads continue while those wait.
    await app.client.updateUser({ user: { id: idOf(9), lastName: 'Byron' } });
    expect((await app.client.getUser({ id: idOf(0) })).user?.lastName).toBe('');
    expect(done.size).toBe(free.length);
    await unlock();
    const outcomes = await Promise.allSettled(updates);
    await deletion;
    // User 7 is updated and deleted at the same time, in any order.
    for (const [index, { status }] of outcomes.entries()) if (index !== 7) expect(status).toBe('fulfilled');
    expect((await app.client.getUser({ id: idOf(0) })).user?.lastName).toBe('King');
  });
});

describe('an email that another transaction is about to take', () => {
  it('delays only its own calls, and all others are created and updated meanwhile', async () => {
    const holder = new pg.Client({ connectionString: app.database.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query(
      `insert into users (id, first_name, email) values (gen_random_uuid(), 'Eve', 'new@example.com')`,
    );
    const done = new Set<string>();
    const limits = { deadlineMs: 60_000 };
    const create = async (email: string) => {
      await app.client.createUser({ user: { firstName: 'Ada', email } }, limits);
      done.add(email);
    };
    const update = async (index: number, email: string) => {
      await app.client.updateUser({ user: { id: idOf(index), email } }, limits);
      done.add(email);
    };
    const emails = Array.from({ length: 10 }, (_, index) => `other.${index}@example.com`);
    const moved = Array.from({ length: 5 }, (_, index) => `moved.${index}@example.com`);
    // Started first. These two hold all permits for waiting calls.
    const created = create('New@example.com').then(
      () => 'made',
      ({ reason }) => reason,
    );
    const updated = update(15, 'NEW@example.com').catch((error) => error);
    const others = [...emails.map(create), ...moved.map((email, index) => update(10 + index, email))];
    await Promise.all(others);
    expect([...done].sort()).toEqual([...emails, ...moved].sort());
    await holder.query('rollback');
    await holder.end();
    // The first of the two gets the email.
    const [first, second] = await Promise.all([created, updated]);
    expect([first, second?.reason]).toContain('EMAIL_TAKEN');
    expect(done.has('New@example.com') !== done.has('NEW@example.com')).toBe(true);
  });
});

describe('slow lists', () => {
  it.each([
    ['sort', { orderBy: 'last_name, email' }, 'email_key', 'email'],
    ['search', { query: 'nobody' }, 'fold_text', 'original'],
  ])('that %s all users leave a connection to other lists', async (_, request, slowFunction, parameter) => {
    const [original] = await app.database.query<{ sql: string }>(
      `select pg_get_functiondef('${slowFunction}(text)'::regprocedure) as sql`,
    );
    await app.database.query('create table held_lists (id integer)');
    const holder = new pg.Client({ connectionString: app.database.url });
    await holder.connect();
    await holder.query('begin; lock table held_lists in access exclusive mode');
    // Makes only these lists wait.
    await app.database.query(`
      create or replace function ${slowFunction}(${parameter} text) returns text
      immutable parallel safe language plpgsql
      as $$ begin perform from held_lists; return ${parameter}; end $$`);
    const abort = new AbortController();
    const options = { signal: abort.signal, deadlineMs: 60_000, attemptsMax: 1 };
    const lists = Array.from({ length: 10 }, () => app.client.listUsers(request, options).catch(() => {}));
    const waiting = async () => {
      const rows = await app.database.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%${slowFunction}%' and datname = current_database()`,
      );
      return rows.length;
    };
    await expect.poll(waiting, { timeout: 30_000 }).toBe(3);
    expect((await app.client.listUsers({ orderBy: 'create_time desc' }, { attemptsMax: 1 })).users).not.toEqual([]);
    expect(await waiting()).toBe(3);
    abort.abort();
    await Promise.all(lists);
    await holder.end();
    await app.database.query('drop table held_lists');
    await app.database.query(original?.sql ?? '');
  });

  it('leave connections for fast calls', async () => {
    // Makes only lists slow.
    await app.database.query(`create table held (id integer)`);
    const holder = new pg.Client({ connectionString: app.database.url });
    await holder.connect();
    await holder.query('begin; lock table held in access exclusive mode');
    await app.database.query(`
      create function hold() returns boolean language plpgsql as $$ begin perform from held; return true; end $$`);
    await app.database.query('alter table users rename to kept');
    await app.database.query(`create view users as select * from kept where hold()`);
    const abort = new AbortController();
    const lists = Array.from({ length: 40 }, () =>
      app.client.listUsers({}, { signal: abort.signal, deadlineMs: 60_000, attemptsMax: 1 }).catch(() => {}),
    );
    const waiting = async () => {
      const rows = await app.database.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%create_time%' and datname = current_database()`,
      );
      return rows.length;
    };
    await expect.poll(waiting, { timeout: 30_000 }).toBe(4);
    expect(await app.client.isServing()).toBe(true);
    // A simple view can be written without reading it.
    await app.client.createUser({ user: { firstName: 'A', email: 'a@b' } }, { attemptsMax: 1 });
    expect(await waiting()).toBe(4);
    abort.abort();
    await Promise.all(lists);
    await expect.poll(waiting, { timeout: 30_000 }).toBe(0);
    await holder.end();
  });
});
