/** The Faults for real errors of a real Postgres. The pool must survive all of them. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, type DatabaseOptions, openDatabase } from '../../src/database/database.js';
import { faultOf, isConnectionLost, isRetryable, lostRace } from '../../src/database/errors.js';
import { Fault } from '../../src/model/fault.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

/** Far above what the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

let testDatabase: TestDatabase;
const opened: Database[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // Raises `state` on the first `times` calls after the sequence was created, and then returns.
  await testDatabase.query(`
    create function raise_times(state text, times integer) returns text language plpgsql as $$
    begin
      if nextval('raised') <= times then raise exception 'the secret of %', state using errcode = state; end if;
      return 'answered';
    end $$`);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()));
});

afterAll(async () => {
  await testDatabase?.[Symbol.asyncDispose]();
});

async function open(changes: Partial<DatabaseOptions> = {}): Promise<Database> {
  const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1, ...changes }));
  opened.push(database);
  return database;
}

function run(database: Database, text: string, values: unknown[] = []) {
  return database.run({ name: text.slice(0, 60), text }, values);
}

async function pidOf(database: Database): Promise<number> {
  const [row] = await run(database, 'select pg_backend_pid()');
  return row?.[0] as number;
}

async function faultFrom(promise: Promise<unknown>): Promise<Fault> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Fault) return error;
  throw error ?? new Error('nothing was thrown');
}

async function raise(database: Database, state: string, times: number) {
  await testDatabase.query('drop sequence if exists raised');
  await testDatabase.query('create sequence raised');
  return run(database, 'select raise_times($1, $2)', [state, times]);
}

/** Waits until a running statement contains `text`, and returns its process id. */
function waitUntilRunning(text: string): Promise<number> {
  return vi.waitFor(async () => {
    const [row] = await testDatabase.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = $1 and state = 'active' and strpos(query, $2) > 0 and pid <> pg_backend_pid()`,
      [testDatabase.name, text],
    );
    if (row === undefined) throw new Error(`no running statement contains ${text}`);
    return row.pid;
  }, waitOptions);
}

function terminate(pid: number): Promise<unknown> {
  return testDatabase.query('select pg_terminate_backend($1)', [pid]);
}

const insertUser = 'insert into users (id, first_name, email) values ($1, $2, $3)';
const idOf = (n: number) => `00000000-0000-7000-8000-00000000000${n}`;

describe('an error of Postgres', () => {
  it('about a taken email is EMAIL_TAKEN, does not contain the email, and keeps the connection in the pool', async () => {
    const database = await open();
    const pid = await pidOf(database);
    await run(database, insertUser, [idOf(1), 'Ada', 'secret@example.com']);
    const fault = await faultFrom(run(database, insertUser, [idOf(2), 'Ada', 'SECRET@example.com']));
    expect(fault).toMatchObject({ reason: 'EMAIL_TAKEN', violations: [] });
    expect(JSON.stringify([fault.message, fault.violations])).not.toMatch(/secret/i);
    expect(fault.cause).toMatchObject({ code: '23505' });
    expect(isRetryable(fault)).toBe(true);
    expect(await pidOf(database)).toBe(pid);
  });

  it('that is caused by a row does not count as a taken email', async () => {
    const database = await open();
    await run(database, insertUser, [idOf(3), 'Ada', 'three@example.com']);
    const twice = run(database, insertUser, [idOf(3), 'Ada', 'four@example.com']);
    await expect(twice).rejects.toMatchObject({ code: '23505', constraint: 'users_pkey' });
    await expect(twice).rejects.not.toBeInstanceOf(Fault);
  });

  it.each([
    ['42601', 'selekt 1'],
    ['42P01', 'select from nowhere'],
    ['42703', 'select nothing from users'],
    ['22P02', `select 'x'::uuid`],
    ['22021', `select convert_from('\\xff', 'UTF8')`],
    ['22P05', `select '"\\u0000"'::jsonb #>> '{}'`],
    ['22012', 'select 1/0'],
    ['23502', `insert into users (id, email) values (gen_random_uuid(), 'a')`],
    [
      '54000',
      `insert into users (id, first_name, email) select gen_random_uuid(), 'a', string_agg(md5(i::text), '') from generate_series(1, 1000) as i`,
    ],
  ])(
    'that only a bug in Roster can cause (%s) is not converted, and its statement may run again in halves',
    async (state, text) => {
      const database = await open();
      const pid = await pidOf(database);
      const error = await run(database, text).catch((reason: unknown) => reason);
      expect(error).not.toBeInstanceOf(Fault);
      expect(error).toMatchObject({ code: state });
      expect(isRetryable(error)).toBe(true);
      expect(await pidOf(database)).toBe(pid);
    },
  );

  it.each(['53100', '53200', '53400', '58000', '58030'])(
    'about missing resources (%s) is DATABASE_UNAVAILABLE, and the connection stays usable',
    async (state) => {
      const database = await open();
      const pid = await pidOf(database);
      const fault = await faultFrom(raise(database, state, 1));
      expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', cause: { code: state } });
      expect(fault.message).not.toContain('secret');
      expect(await pidOf(database)).toBe(pid);
    },
  );

  it.each(['08000', '08006', '53300', '57P01', '57P02', '57P03', '57P05', '28000', '28P01', '3D000'])(
    'about the connection (%s) is DATABASE_UNAVAILABLE, and the next statement gets another connection',
    async (state) => {
      const database = await open();
      const pid = await pidOf(database);
      const fault = await faultFrom(raise(database, state, 1));
      expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', cause: { code: state } });
      expect(isRetryable(fault)).toBe(false);
      expect(await pidOf(database)).not.toBe(pid);
    },
  );

  it('about a read-only server is DATABASE_UNAVAILABLE if new connections are read-only too', async () => {
    // Affects only new sessions, so that an open one can reset it.
    await testDatabase.query(`alter database ${testDatabase.name} set default_transaction_read_only = on`);
    const database = await open();
    const pid = await pidOf(database);
    const fault = await faultFrom(run(database, insertUser, [idOf(9), 'Ada', 'nine@example.com']));
    await testDatabase.query(`set default_transaction_read_only = off;
      alter database ${testDatabase.name} reset default_transaction_read_only`);
    expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', cause: { code: '25006' } });
    expect(await pidOf(database)).not.toBe(pid);
  });

  it('about a standby that has no WAL position to compare is DATABASE_UNAVAILABLE, and not a bug', () => {
    const refusal = (routine: string) =>
      Object.assign(new Error('recovery is in progress'), { code: '55000', routine });
    expect(faultOf(refusal('pg_current_wal_flush_lsn'))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(faultOf(refusal('exec_stmt_raise'))).not.toBeInstanceOf(Fault);
  });
});

describe('a statement that lost a race', () => {
  it.each(['40001', '40P01'])('(%s) runs again, and its caller gets no error', async (state) => {
    const database = await open();
    expect(await raise(database, state, 4)).toEqual([['answered']]);
  });

  it.each(['40001', '40P01'])('(%s) every time is finally DATABASE_UNAVAILABLE', async (state) => {
    const database = await open();
    const fault = await faultFrom(raise(database, state, 1000));
    expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', cause: { code: state } });
    const [row] = await testDatabase.query<{ last_value: string }>('select last_value from raised');
    expect(Number(row?.last_value)).toBe(5);
  });

  it('is not a statement that failed for another reason', async () => {
    const database = await open();
    await expect(raise(database, '23514', 1)).rejects.toMatchObject({ code: '23514' });
    expect(lostRace(new Error('40001'))).toBe(false);
    // A null in the users' table is a bug. In the table of request ids it is the signal of rememberRequest.
    const nullIn = (table: string, column: string) => Object.assign(new Error(), { code: '23502', table, column });
    expect(lostRace(nullIn('users', 'user_ids'))).toBe(false);
    expect(lostRace(nullIn('request_ids', 'digest'))).toBe(false);
    expect(lostRace(nullIn('request_ids', 'user_ids'))).toBe(true);
  });
});

describe('a prepared statement that the connection has lost', () => {
  it('because a migration changed a type is prepared again on another connection', async () => {
    const database = await open();
    await testDatabase.query('create table outgrown as select 1 as number');
    const pid = await pidOf(database);
    expect(await run(database, 'select number from outgrown')).toEqual([[1]]);
    await testDatabase.query('alter table outgrown alter number type text');
    expect(await run(database, 'select number from outgrown')).toEqual([['1']]);
    expect(await pidOf(database)).not.toBe(pid);
  });

  it('because a pooler changed the session is prepared again as well', async () => {
    const database = await open();
    expect(await run(database, 'select 1')).toEqual([[1]]);
    await run(database, 'deallocate all');
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });

  it('is prepared again for a list, too', async () => {
    const database = await open();
    const number = () =>
      database.withConnection(new AbortController().signal, (query) => query({ name: 'n', text: 'select 1' }, []));
    expect(await number()).toEqual([[1]]);
    await run(database, 'deallocate all');
    expect(await number()).toEqual([[1]]);
  });

  it('is not any other feature that Postgres does not support', async () => {
    const database = await open();
    const error = await run(database, 'select 1 for update of users').catch((reason: unknown) => reason);
    expect(isConnectionLost(error)).toBe(false);
    await expect(raise(database, '0A000', 1)).rejects.not.toBeInstanceOf(Fault);
  });
});

describe('a statement that takes too long', () => {
  it('is cancelled in the server by statement_timeout, fails with DEADLINE_PASSED, and does not run again in halves', async () => {
    const database = await open({ statementTimeoutMs: 100 });
    const pid = await pidOf(database);
    const fault = await faultFrom(run(database, 'select pg_sleep(600)'));
    expect(fault).toMatchObject({ reason: 'DEADLINE_PASSED', cause: { code: '57014' } });
    expect(isRetryable(fault)).toBe(false);
    expect(await pidOf(database)).toBe(pid);
  });

  it('to get a lock is cancelled by lock_timeout and fails with DATABASE_UNAVAILABLE', async () => {
    const database = await open({ lockTimeoutMs: 50 });
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      await holder.query('begin; lock table directory');
      const fault = await faultFrom(run(database, 'select id from directory'));
      expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', cause: { code: '55P03' } });
    } finally {
      await holder.end();
    }
    expect(await run(database, 'select id from directory')).toHaveLength(1);
  });

  it('to get a connection fails with DATABASE_UNAVAILABLE', async () => {
    const database = await open({ connectTimeoutMs: 200 });
    const busy = run(database, `select 'busy', pg_sleep(600)`).catch(() => {});
    const pid = await waitUntilRunning(`select 'busy'`);
    expect(await faultFrom(run(database, 'select 1'))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    await terminate(pid);
    await busy;
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });
});

describe('a connection that is lost', () => {
  it('during a statement fails with DATABASE_UNAVAILABLE, and the next statement succeeds', async () => {
    const database = await open();
    const answer = faultFrom(run(database, `select 'middle', pg_sleep(600)`));
    await terminate(await waitUntilRunning(`select 'middle'`));
    const fault = await answer;
    expect(fault.reason).toBe('DATABASE_UNAVAILABLE');
    expect(fault.message).not.toMatch(/terminat/);
    // It may have been committed.
    expect(isRetryable(fault)).toBe(false);
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });

  it('that does not open in time fails with DATABASE_UNAVAILABLE', async () => {
    // Like a frozen server: the kernel still accepts connections for it.
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const client = new pg.Client({ host: '127.0.0.1', port, connectionTimeoutMillis: 50 });
    const error = await client.connect().catch((reason: unknown) => reason);
    expect(faultOf(error)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    silent.close();
  });

  it('whose server falls silent after the handshake fails with DATABASE_UNAVAILABLE', async () => {
    const url = new URL(testDatabase.url);
    const { hostname, port } = url;
    let isSilent = false;
    const proxy = createServer((caller) => {
      const server = connect(Number(port), hostname);
      caller.pipe(server);
      server.on('data', (bytes) => {
        // ReadyForQuery: from now on the server receives nothing.
        if (isSilent && bytes.includes('Z\0\0\0\x05I')) caller.unpipe(server);
        caller.write(bytes);
      });
      caller.on('close', () => server.destroy());
      for (const socket of [caller, server]) socket.on('error', () => {});
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const database = await openDatabase(databaseOptions(url.href, { connectTimeoutMs: 1000 }));
    opened.push(database);
    isSilent = true;
    const session = database.openSession(new AbortController().signal);
    expect(await faultFrom(session)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    proxy.close();
  });

  it('while it is idle is replaced without an error', async () => {
    const database = await open();
    await terminate(await pidOf(database));
    await vi.waitUntil(() => database.connections().total === 0, waitOptions);
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });

  it('during a list is not returned to the pool, even if the loss was not reported', async () => {
    const database = await open();
    const pid = await pidOf(database);
    // The driver's error for a server that has fallen silent; the connection itself shows no sign.
    const silent = database.withConnection(new AbortController().signal, async () => {
      throw new Error('Query read timeout');
    });
    await expect(silent).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(await pidOf(database)).not.toBe(pid);
  });

  it("while it is lent out fails its user's work with DATABASE_UNAVAILABLE", async () => {
    const database = await open();
    const lent = database.withConnection(new AbortController().signal, async (run) => {
      const [row] = await run({ name: '', text: 'select pg_backend_pid()' }, []);
      await terminate(Number(row?.[0]));
      return run({ name: '', text: 'select 1' }, []);
    });
    expect(await faultFrom(lent)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(await run(database, 'select 1')).toEqual([[1]]);
  });

  it('many times and at once affects no other', async () => {
    const database = await open({ connectionsMax: 4 });
    const killer = (async () => {
      for (let kills = 0; kills < 30; kills++) {
        await testDatabase.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name = 'roster' order by random() limit 1`,
          [testDatabase.name],
        );
      }
    })();
    let isOver = false;
    const outcomes: unknown[] = [];
    const callers = Array.from({ length: 8 }, async () => {
      while (!isOver) outcomes.push(await run(database, 'select 1').catch((error: unknown) => error));
    });
    await killer;
    isOver = true;
    await Promise.all(callers);
    for (const outcome of outcomes) {
      if (outcome instanceof Fault) expect(outcome.reason).toBe('DATABASE_UNAVAILABLE');
      else expect(outcome).toEqual([[1]]);
    }
    await vi.waitFor(async () => expect(await run(database, 'select 1')).toEqual([[1]]), waitOptions);
  });
});

describe('a database that cannot be opened', () => {
  it.each([
    ['nobody listens', (url: URL) => Object.assign(url, { port: '1' })],
    ['it does not exist', (url: URL) => Object.assign(url, { pathname: '/there_is_none' })],
  ])('because %s is DATABASE_UNAVAILABLE', async (_, change) => {
    const url = change(new URL(testDatabase.url)).href;
    const fault = await faultFrom(openDatabase(databaseOptions(url)));
    expect(fault).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(fault.message).not.toMatch(/127|there_is_none|refused/);
  });
});

describe('faultOf', () => {
  it('does not change a Fault or an error that is not of a database', () => {
    const fault = new Fault('OVERLOADED', 'x');
    expect(faultOf(fault)).toBe(fault);
    for (const bug of [new TypeError('x'), new Error('x'), undefined, null, 'x', { code: '23505' }]) {
      expect(faultOf(bug)).toBe(bug);
      expect(isRetryable(bug)).toBe(false);
    }
  });

  it('distinguishes a bug in Roster from a broken socket', () => {
    const coded = (code: string) => Object.assign(new Error('x'), { code });
    for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH']) {
      expect(isConnectionLost(coded(code))).toBe(true);
    }
    for (const code of ['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE', 'ERR_ASSERTION']) {
      expect(isConnectionLost(coded(code))).toBe(false);
    }
  });
});
