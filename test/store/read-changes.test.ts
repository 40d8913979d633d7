/**
 * Reads the change log and compares the result with a checker that knows all commits and the order of each user's
 * changes. The checker must also reject the two cursors that look correct but are not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { Fault } from '../../src/model/fault.js';
import { snapshotOf, type WatchPosition } from '../../src/model/watch-token.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { readChanges, readFeedPosition } from '../../src/store/read-changes.js';
import { type ChangesKept, renewChangeFeed, trimChanges } from '../../src/store/trim-changes.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  // Like every start, because this database is a clone.
  expect(await renewChangeFeed(database)).toBe(true);
});
afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await testDatabase.query('truncate users, changes, request_ids');
});

let ids = 0;
function someId(): string {
  return `01890a5d-ac96-774b-bcce-${(ids++).toString(16).padStart(12, '0')}`;
}

/** All changes after a position, in pages that split windows. */
async function readAll(from: WatchPosition, rowsMax = 3) {
  const changes = [];
  let position = from;
  while (true) {
    const page = await readChanges(database, position, rowsMax);
    changes.push(...page.changes);
    position = page.position;
    if (position.window === undefined) return { changes, position };
  }
}

describe('every statement that writes users', () => {
  it('logs each change, and nothing else', async () => {
    const start = await readFeedPosition(database);
    const [ada, bob, eve, kim] = [someId(), someId(), someId(), someId()];
    const email = 'ada@example.com';
    const request = { id: someId(), digest: Buffer.from('a') };
    await insertUsers(database, [
      { id: ada, fields: someFields({ email }), request: undefined },
      { id: someId(), fields: someFields({ email }), request: undefined },
    ]);
    await insertUsers(database, [{ id: bob, fields: someFields(), request }], 'skip');
    await insertUsers(database, [{ id: someId(), fields: someFields(), request }], 'skip');
    await insertAllUsers(
      database,
      [eve, kim].map((id, index) => ({ id, fields: someFields({ email: `${index}@example.com` }) })),
      undefined,
    );
    const taken = await insertAllUsers(database, [{ id: someId(), fields: someFields({ email }) }], undefined);
    expect(taken).toEqual({ takenIndexes: [0] });
    const rename = (id: string, version?: number) => ({ id, version, fields: { firstName: 'Changed' } });
    const [updated] = await updateUsers(database, [rename(ada), rename(bob, 7), rename(someId())]);
    await updateUsers(database, [rename(ada)]);
    await deleteUsers(
      database,
      [
        { id: eve, version: undefined },
        { id: kim, version: 7 },
      ],
      'skip',
    );

    const { changes } = await readAll(start);
    expect(changes.map(({ type, userId }) => [type, userId])).toEqual([
      ['created', ada],
      ['created', bob],
      ['created', eve],
      ['created', kim],
      ['updated', ada],
      ['deleted', eve],
    ]);
    // The current user, or none after a deletion.
    expect(changes[0]?.user).toEqual(updated);
    expect(changes[2]?.user).toBeUndefined();
    expect(changes[0]?.changeTime).toEqual(changes[0]?.user?.createTime);
    expect(changes[4]?.changeTime).toEqual(changes[4]?.user?.updateTime);
  });
});

interface Truth {
  seq: string;
  userId: string;
  version: number;
}

/** The fault in the entries that a reader has seen, if any. */
function faultIn(seen: readonly string[], committed: readonly Truth[]): string | undefined {
  if (new Set(seen).size < seen.length) return 'twice';
  const truth = new Map(committed.map((entry) => [entry.seq, entry]));
  if (seen.some((seq) => !truth.has(seq))) return 'unknown';
  if (seen.length < committed.length) return 'missing';
  const versions = new Map<string, number>();
  for (const seq of seen) {
    const { userId, version } = truth.get(seq) as Truth;
    if (version < (versions.get(userId) ?? 0)) return 'out of order';
    versions.set(userId, version);
  }
  return undefined;
}

interface Reader {
  readonly seen: string[];
  look(): Promise<void>;
}

function rightReader(start: WatchPosition): Reader {
  const seen: string[] = [];
  let position = start;
  return {
    seen,
    async look() {
      const page = await readChanges(database, position, 7);
      for (const { position } of page.changes) seen.push(String(position.window?.seq));
      position = page.position;
      if (position.window !== undefined) await this.look();
    },
  };
}

/** `seq > last` misses a transaction that commits later with a lower seq. */
function seqReader(): Reader {
  const seen: string[] = [];
  return {
    seen,
    async look() {
      const rows = await testDatabase.query<{ seq: string }>('select seq from changes where seq > $1 order by seq', [
        seen.at(-1) ?? '0',
      ]);
      seen.push(...rows.map(({ seq }) => seq));
    },
  };
}

/** Everything before the oldest transaction in flight, in order of xid or of seq: complete, but not in order. */
function xidReader(order: 'xid, seq' | 'seq'): Reader {
  const seen: string[] = [];
  let from = '0';
  return {
    seen,
    async look() {
      const rows = await testDatabase.query<{ seq: string; until: string }>(
        `select seq, pg_snapshot_xmin(pg_current_snapshot())::text as until from changes
         where xid >= $1::xid8 and xid < pg_snapshot_xmin(pg_current_snapshot()) order by ${order}`,
        [from],
      );
      seen.push(...rows.map(({ seq }) => seq));
      from = rows[0]?.until ?? from;
    },
  };
}

const chance = (share: number) => Math.random() < share;
const pause = () => sleep(Math.random() * 15);

/** A writer with transactions that acquire their xids early, pause, and are sometimes rolled back. */
async function write(users: readonly string[], transactions: number, committed: Truth[]): Promise<void> {
  const client = new pg.Client({ connectionString: testDatabase.url });
  await client.connect();
  for (let count = 0; count < transactions; count++) {
    const written: Truth[] = [];
    await client.query('begin');
    if (chance(0.5)) await client.query('select pg_current_xact_id()');
    if (chance(0.5)) await pause();
    // In order of ids, like the store's own statements.
    for (const userId of users.filter(() => chance(1.5 / users.length))) {
      const { rows } = await client.query(
        `with updated as (update users set version = version + 1 where id = $1 returning id, version),
           logged as (insert into changes (user_id, type) select id, 3 from updated returning seq)
         select seq, version from updated, logged`,
        [userId],
      );
      written.push({ seq: rows[0].seq, userId, version: rows[0].version });
      if (chance(0.3)) await pause();
    }
    const keep = chance(0.8);
    await client.query(keep ? 'commit' : 'rollback');
    if (keep) committed.push(...written);
  }
  await client.end();
}

describe('readChanges, with writers that pause, roll back and change the same users', () => {
  it('sees each change once, and those of one user in order, unlike cursors by seq or xid', async () => {
    const users = [someId(), someId(), someId(), someId()];
    await insertUsers(
      database,
      users.map((id) => ({ id, fields: someFields(), request: undefined })),
    );
    await testDatabase.query('delete from changes');
    const right = rightReader(await readFeedPosition(database));
    const mutants = { bySeq: seqReader(), byXid: xidReader('xid, seq'), byXidInOrderOfSeq: xidReader('seq') };
    const readers = [right, ...Object.values(mutants)];
    const faults = () => Object.values(mutants).map(({ seen }) => faultIn(seen, committed));

    const committed: Truth[] = [];
    // The faults of the mutants depend on chance; a few rounds are more than enough.
    for (let round = 0; round < 20 && (round === 0 || faults().includes(undefined)); round++) {
      let isDone = false;
      const reading = readers.map(async (reader) => {
        while (!isDone) {
          await reader.look();
          await sleep(Math.random() * 5);
        }
      });
      await Promise.all(Array.from({ length: 12 }, () => write(users, 12, committed)));
      isDone = true;
      await Promise.all(reading);
      await mutants.bySeq.look();
      // Transactions of other tests on this server also delay the readers that wait for the oldest one.
      for (const reader of [right, mutants.byXid, mutants.byXidInOrderOfSeq]) {
        const seen = async () => {
          await reader.look();
          return reader.seen.length;
        };
        await expect.poll(seen, { timeout: 30_000 }).toBeGreaterThanOrEqual(committed.length);
      }
      expect(faultIn(right.seen, committed)).toBeUndefined();
    }
    expect(committed.length).toBeGreaterThan(50);
    expect(faults()).toEqual(['missing', 'out of order', 'out of order']);
  });

  it('reads new changes from the index on xid while a transaction stays open, however much was logged since', async () => {
    const start = await readFeedPosition(database);
    const open = new pg.Client({ connectionString: testDatabase.url });
    await open.connect();
    await open.query('begin');
    await open.query('select pg_current_xact_id()');
    await testDatabase.query(
      `insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 1000)`,
    );
    const first = await readAll(start, 400);
    expect(first.changes).toHaveLength(1000);
    expect(snapshotOf(first.position.snapshot).inProgress).not.toEqual([]);
    expect((await readAll(first.position)).changes).toEqual([]);
    await open.query(`insert into changes (user_id, type) values (gen_random_uuid(), 2)`);
    await open.query('commit');
    await open.end();
    expect((await readAll(first.position)).changes).toHaveLength(1);
  });

  it('looks up the users of a page by their index instead of reading all', async () => {
    const start = await readFeedPosition(database);
    await testDatabase.query(`
      insert into users (id, first_name, email) select gen_random_uuid(), 'x', 'plan' || i || '@x' from generate_series(1, 10000) as i`);
    await testDatabase.query('insert into changes (user_id, type) select id, 2 from users');
    await testDatabase.query('analyze users, changes');
    const plans: string[] = [];
    const explaining: Database = {
      ...database,
      async run({ name, text }, values) {
        // Skips the statement that makes a snapshot durable.
        if (!text.includes('from changes')) return database.run({ name, text }, values);
        const explained = await database.run({ name: name && `explain-${name}`, text: `explain ${text}` }, values);
        plans.push(explained.map(([line]) => line).join('\n'));
        return database.run({ name, text }, values);
      },
    };
    const { position } = await readChanges(explaining, start, 500);
    await readChanges(explaining, position, 500);
    expect(plans).toHaveLength(2);
    for (const plan of plans) expect(plan).not.toContain('Seq Scan on users');
  });
});

describe('a position that the log does not reach back to', () => {
  const expired = (position: WatchPosition) =>
    expect(readChanges(database, position, 10)).rejects.toMatchObject({ reason: 'RESUME_TOKEN_EXPIRED' });
  const log = (count: number, age: string) =>
    testDatabase.query(
      `insert into changes (user_id, type, change_time)
       select gen_random_uuid(), 2, now() - $2::interval from generate_series(1, $1::integer)`,
      [count, age],
    );
  const count = async () => (await testDatabase.query('select from changes')).length;
  const kept = { keptHours: 24, keptMax: 1_000_000 };
  /** Waits for other tests on this server, because their open transactions keep newer entries. */
  async function trimmedTo(left: number, limits: ChangesKept, rowsMax: number): Promise<void> {
    const trim = async () => {
      expect(await trimChanges(database, limits, rowsMax)).toBeLessThanOrEqual(rowsMax);
      return count();
    };
    await expect.poll(trim, { timeout: 30_000 }).toBe(left);
  }

  /** A position after all changes. Waits while another test has an older transaction open. */
  async function positionAfterAll(): Promise<WatchPosition> {
    const [newest] = await testDatabase.query<{ xid: string }>('select xid from changes order by xid desc limit 1');
    return vi.waitUntil(
      async () => {
        const position = await readFeedPosition(database);
        return snapshotOf(position.snapshot).xmin > BigInt(newest?.xid ?? 0) && position;
      },
      { timeout: 30_000 },
    );
  }

  it('expires after changes after it were trimmed by age, and no other does', async () => {
    const old = await readFeedPosition(database);
    await log(3, '25 hours');
    const later = await positionAfterAll();
    await log(2, '23 hours');
    await trimmedTo(2, kept, 2);
    expect(await trimChanges(database, kept, 2)).toBe(0);
    await expired(old);
    expect((await readAll(later)).changes).toHaveLength(2);
  });

  it('expires after the log has grown too long', async () => {
    const old = await readFeedPosition(database);
    await log(10, '1 hour');
    await trimmedTo(4, { ...kept, keptMax: 4 }, 100);
    await expired(old);
  });

  it('does not expire while a transaction is open that may have written before it', async () => {
    const open = new pg.Client({ connectionString: testDatabase.url });
    await open.connect();
    await open.query('begin');
    await open.query('select pg_current_xact_id()');
    const old = await readFeedPosition(database);
    await log(3, '25 hours');
    expect(await trimChanges(database, kept, 100)).toBe(0);
    expect((await readAll(old)).changes).toHaveLength(3);
    await open.query('rollback');
    await open.end();
    await trimmedTo(0, kept, 100);
  });

  it('expires if the database has fewer transactions than the position', async () => {
    const { feedId, snapshot } = await readFeedPosition(database);
    const { xmin, xmax } = snapshotOf(snapshot);
    await expired({ feedId, snapshot: `${xmin + 1000n}:${xmax + 1000n}:` });
  });

  it('expires after a dump and restore, which starts a new feed without old entries', async () => {
    expect(await renewChangeFeed(database)).toBe(false);
    const old = await readFeedPosition(database);
    await log(3, '1 hour');
    // The effect of a restore: the same values in a row that another transaction has written.
    await testDatabase.query('update change_feed set id = id');
    const others = await Promise.all([
      openDatabase(databaseOptions(testDatabase.url)),
      openDatabase(databaseOptions(testDatabase.url)),
    ]);
    const renewed = await Promise.all([database, ...others].map(renewChangeFeed));
    await Promise.all(others.map((other) => other.close()));
    expect(renewed.filter((isNew) => isNew)).toHaveLength(1);
    await expired(old);
    expect(await count()).toBe(0);
    expect(await renewChangeFeed(database)).toBe(false);
  });

  it('survives trimming and vacuuming as the same feed', async () => {
    await log(3, '25 hours');
    await trimmedTo(0, kept, 100);
    const { feedId } = await readFeedPosition(database);
    await testDatabase.query('vacuum (freeze) change_feed');
    await testDatabase.query('vacuum full change_feed');
    expect(await renewChangeFeed(database)).toBe(false);
    expect((await readFeedPosition(database)).feedId).toBe(feedId);
  });

  it('is a Fault of its own kind', async () => {
    const { snapshot } = await readFeedPosition(database);
    await expect(readChanges(database, { feedId: someId(), snapshot }, 1)).rejects.toThrow(Fault);
  });
});
