import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { serve } from '../support/served.js';

const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

describe('a process that is killed during creates', () => {
  it('has lost no acknowledged user and duplicated none after a restart', async () => {
    const settings = { DATABASE_URL: database.url };
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < 3; round++) {
      const service = await serve(settings);
      const client = createClient({ address: service.address, attemptsMax: 1 });
      const enough = Promise.withResolvers<void>();
      let isRunning = true;
      const writers = Array.from({ length: 32 }, async (_, writer) => {
        for (let count = 0; isRunning; count++) {
          const email = `${round}.${writer}.${count}@example.com`;
          try {
            const { user } = await client.createUser({ user: { firstName: 'Ada', email } });
            acknowledged.set(email, user?.id ?? '');
          } catch {
            // Not acknowledged, so the user may exist or not.
          }
          if (acknowledged.size >= 500 * (round + 1)) enough.resolve();
        }
      });
      await enough.promise;
      expect(await service.end('SIGKILL')).toBeNull();
      isRunning = false;
      await Promise.all(writers);
      client.close();
    }

    const service = await serve(settings);
    using client = createClient({ address: service.address });
    const found = new Map<string, string>();
    let rows = 0;
    for await (const user of client.listAllUsers({ pageSize: 1000 })) {
      rows++;
      found.set(user.email, user.id);
    }
    expect(found.size).toBe(rows);
    for (const [email, id] of acknowledged) expect(found.get(email)).toBe(id);
    expect(await service.end('SIGTERM')).toBe(0);
  });
});

describe('a process that receives a stop signal', () => {
  it('shuts down if only npm receives the signal, because npm forwards it only to a shell', async () => {
    const service = await serve({ DATABASE_URL: database.url }, { isByNpm: true });
    await service.end('SIGTERM');
    await expect.poll(() => service.lines.at(-1)?.msg, waitOptions).toBe('stopped');
  });

  it('has its full shutdown time after Ctrl-C under npm', async () => {
    // Whether or not the shell between the two has exited meanwhile.
    const service = await serve(
      { DATABASE_URL: database.url, SHUTDOWN_DELAY_MS: '3000' },
      { isByNpm: true, isGroup: true },
    );
    process.kill(-(service.process.pid ?? 0), 'SIGINT');
    await expect.poll(() => service.lines.at(-1)?.msg, waitOptions).toBe('stopped');
  });

  it('answers its running calls, and exits with 0', async () => {
    const service = await serve({ DATABASE_URL: database.url });
    using client = createClient({ address: service.address, attemptsMax: 1 });
    await client.listUsers({});
    // Blocks the create below until the row is inserted.
    await database.query('create table hold (id integer)');
    await database.query(`
      create function wait_for_hold() returns trigger language plpgsql as $$
      begin
        while not exists (select from hold) loop perform pg_sleep(0.01); end loop;
        return new;
      end $$`);
    await database.query('create trigger hold before insert on users for each row execute function wait_for_hold()');
    const held = client.createUser({ user: { firstName: 'Ada', email: 'held@example.com' } });
    const waits = async () => {
      const [row] = await database.query<{ count: string }>(
        `select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`,
      );
      return row?.count !== '0';
    };
    while (!(await waits()));

    const ended = service.end('SIGTERM');
    await expect
      .poll(
        () =>
          client.listUsers({}).then(
            () => 'OK',
            (error: { code: string }) => error.code,
          ),
        waitOptions,
      )
      .toBe('UNAVAILABLE');
    await database.query('insert into hold values (1)');
    expect((await held).user?.email).toBe('held@example.com');
    expect(await ended).toBe(0);
  });
});
