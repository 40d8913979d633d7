/** Operators must learn what keeps the change log from shrinking, even if Roster's role has no special rights. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { migrateUp } from '../../src/database/migrate.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';
import { type Housekeeping, startHousekeeping } from '../../src/operations/housekeeping.js';
import type { TrimBlocker } from '../../src/store/trim-blocker.js';
import { databaseOptions } from '../support/open-database.js';

const waitOptions = { timeout: 30_000 };

// A separate server: on a shared one, transactions of other tests would be older.
const dataDir = mkdtempSync(join(tmpdir(), 'roster-blocker-'));
// If the tests run as root, the server runs as another user, who must be able to enter the folder.
chmodSync(dataDir, 0o755);
let postgres: EmbeddedPostgres;
/** Connected as a role that owns only Roster's tables. */
let database: Database;
/** How often housekeeping has looked for a blocker. */
let checks = 0;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres({ dataDir });
  const admin = await connect();
  await admin.query('alter system set max_prepared_transactions = 4');
  await admin.query('alter system set autovacuum = off');
  await admin.query(`create role plain login password 'plain'`);
  await admin.query('create database plain owner plain');
  await admin.end();
  await postgres.stop();
  postgres = await startEmbeddedPostgres({ dataDir });
  await migrateUp(databaseOptions(plainUrl()));
  database = await openDatabase(databaseOptions(plainUrl()));
});
afterAll(async () => {
  await database?.close();
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

function plainUrl(): string {
  const url = new URL(postgres.url);
  Object.assign(url, { username: 'plain', password: 'plain', pathname: '/plain' });
  return url.href;
}

/** Connects as a superuser, whose sessions `plain` does not own. */
async function connect(databaseName = 'postgres'): Promise<pg.Client> {
  const url = new URL(postgres.url);
  url.pathname = `/${databaseName}`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  return client;
}

async function pidOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query('select pg_backend_pid()::text as pid');
  return rows[0].pid;
}

/** A change that housekeeping would trim, logged after everything that is open now. */
async function logChange(age: string): Promise<void> {
  const client = await connect('plain');
  await client.query(
    `insert into changes (user_id, type, change_time) values (gen_random_uuid(), 2, now() - $1::interval)`,
    [age],
  );
  await client.end();
}

// Sweeps are minutes apart. Only the interval is faked, because Postgres' driver needs a real clock.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
afterEach(async () => {
  vi.useRealTimers();
  const client = await connect('plain');
  await client.query('truncate changes');
  await client.end();
});

function start(oldBlockerSeconds?: number): { housekeeping: Housekeeping; blockers: TrimBlocker[] } {
  const blockers: TrimBlocker[] = [];
  const counted: Database = {
    ...database,
    async run(statement, values) {
      const rows = await database.run(statement, values);
      if (statement.name === 'trim-blocker') checks++;
      return rows;
    },
  };
  const housekeeping = startHousekeeping({
    database: counted,
    changes: { keptHours: 1, keptMax: 1_000_000 },
    background: createLimiter({ concurrencyMax: 1, queuedMax: 1 }),
    onError: (error) => expect.unreachable(String(error)),
    onTrimBlocked: (blocker) => blockers.push(blocker),
    oldBlockerSeconds,
  });
  onTestFinished(() => housekeeping.close());
  return { housekeeping, blockers };
}

/** The result of the first check. */
async function found(oldBlockerSeconds?: number): Promise<{ blockers: TrimBlocker[]; ageSeconds: number }> {
  const { housekeeping, blockers } = start(oldBlockerSeconds);
  await housekeeping.close();
  return { blockers, ageSeconds: housekeeping.trimBlockerSeconds };
}

describe('housekeeping', () => {
  it('reports nothing if nothing keeps the change log from shrinking', async () => {
    await logChange('2 hours');
    expect(await found(0)).toEqual({ blockers: [], ageSeconds: 0 });
  });

  it('reports a forgotten prepared transaction in any database', async () => {
    const client = await connect();
    await client.query('create table t (i integer)');
    await client.query(`begin; insert into t values (1); prepare transaction 'forgotten'`);
    const { blockers, ageSeconds } = await found(0);
    expect(blockers).toEqual([{ kind: 'prepared transaction', name: 'forgotten', database: 'postgres', ageSeconds }]);
    // It is not an hour old yet.
    expect((await found()).blockers).toEqual([]);
    await client.query(`rollback prepared 'forgotten'`);
    await client.end();
  });

  it('reports an old transaction of another role and database, with the age of the next change', async () => {
    const client = await connect();
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    await logChange('2 hours');
    const { blockers, ageSeconds } = await found();
    expect(blockers).toEqual([{ kind: 'session', name: await pidOf(client), database: 'postgres', ageSeconds }]);
    expect(ageSeconds).toBeGreaterThanOrEqual(7200);
    await client.query('rollback');
    await client.end();
  });

  it('reports a read-only transaction only in the same database', async () => {
    for (const databaseName of ['postgres', 'plain']) {
      const client = await connect(databaseName);
      await client.query('begin isolation level repeatable read');
      await client.query('select from pg_class');
      await logChange('2 hours');
      const pid = await pidOf(client);
      const names = (await found()).blockers.map(({ name }) => name);
      expect(names).toEqual(databaseName === 'plain' ? [pid] : []);
      await client.query('rollback');
      await client.end();
    }
  });

  it('reports the same blocker once an hour, and a different one at once', async () => {
    const clients = [await connect(), await connect()];
    for (const client of clients) {
      await client.query('begin');
      await client.query('select pg_current_xact_id()');
      await logChange('2 hours');
    }
    const { housekeeping, blockers } = start();
    await expect.poll(() => blockers, waitOptions).toHaveLength(1);
    const sweep = async () => {
      const before = checks;
      vi.advanceTimersToNextTimer();
      await expect.poll(() => checks, waitOptions).toBe(before + 1);
    };
    for (let minutes = 10; minutes < 60; minutes += 10) await sweep();
    expect(blockers).toHaveLength(1);
    await sweep();
    expect(blockers).toHaveLength(2);
    await clients[0]?.query('rollback');
    await sweep();
    expect(blockers).toHaveLength(3);
    expect(blockers[2]?.name).not.toBe(blockers[0]?.name);
    await clients[1]?.query('rollback');
    await sweep();
    expect(housekeeping.trimBlockerSeconds).toBe(0);
    expect(blockers).toHaveLength(3);
    for (const client of clients) await client.end();
  });
});
