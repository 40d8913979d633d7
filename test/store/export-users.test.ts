import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { parseFilter } from '../../src/model/filter.js';
import { attributesBytesOf, storedId } from '../../src/model/stored-user.js';
import type { UserFields } from '../../src/model/user.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import {
  openUsersSnapshot,
  type SnapshotPiece,
  snapshotSql,
  type UsersSnapshot,
} from '../../src/store/export-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { decoded } from '../support/stored-users.js';

const never = new AbortController().signal;
const waitOptions = { timeout: 30_000 };

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
beforeEach(() => testDatabase.query('truncate users, changes'));
afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

/** Returns the ids in ascending order. */
async function insert(fields: readonly UserFields[]): Promise<string[]> {
  const users = fields.map((of) => ({ id: uuidv7(), fields: of, request: undefined }));
  await insertUsers(database, users, 'wait');
  return users.map(({ id }) => id);
}

const many = (count: number, changes: Partial<UserFields> = {}) =>
  Array.from({ length: count }, () => someFields(changes));

async function idsOf(snapshot: UsersSnapshot): Promise<string[]> {
  const pieces = await Array.fromAsync(snapshot.pieces());
  return pieces.flatMap(({ users }) => users.map(storedId));
}

const walks = () =>
  testDatabase.query(
    `select state, query from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and (query ~ 'null::bigint' or xact_start is not null)`,
  );

describe('a walk over a snapshot', () => {
  it('returns complete users', async () => {
    const fields = someFields({
      lastName: '',
      profileImageUrl: 'https://example.com/é',
      attributes: { '"': ['\\', 1e30] },
    });
    const [id] = await insert([fields]);
    await using snapshot = await openUsersSnapshot(database, {}, never);
    const [piece] = await Array.fromAsync(snapshot.pieces());
    const times = { createTime: expect.any(Date), updateTime: expect.any(Date) };
    expect(piece?.users.map(decoded)).toEqual([{ id, ...fields, ...times, version: 1 }]);
  });

  it('outlasts the timeouts of the server and the role for idle transactions', async () => {
    const ids = await insert(many(300));
    const url = `${testDatabase.url}?options=${encodeURIComponent('-c idle_in_transaction_session_timeout=50ms')}`;
    const limited = await openDatabase(databaseOptions(url));
    try {
      await using snapshot = await openUsersSnapshot(limited, {}, never);
      await testDatabase.query('select pg_sleep(0.5)');
      expect(await idsOf(snapshot)).toEqual(ids);
    } finally {
      await limited.close();
    }
  });

  it('has one empty piece if there are no users', async () => {
    await using snapshot = await openUsersSnapshot(database, {}, never);
    expect(await Array.fromAsync(snapshot.pieces())).toEqual([{ users: [], isLast: true }]);
  });

  it.each([63, 64, 65, 191, 192, 193])(
    'returns all of %i users in the order of ids, and marks the last piece',
    async (count) => {
      const ids = await insert(many(count));
      await using snapshot = await openUsersSnapshot(database, {}, never);
      const pieces = await Array.fromAsync(snapshot.pieces());
      expect(pieces.flatMap(({ users }) => users.map(storedId))).toEqual(ids);
      expect(pieces.map(({ isLast }) => isLast)).toEqual(pieces.map((_, index) => index === pieces.length - 1));
    },
  );

  it('reads along the index of ids, even if they are in no order in the table', async () => {
    await testDatabase.query(`
      insert into users (id, first_name, email)
      select gen_random_uuid(), 'x', 'plan' || i || '@x' from generate_series(1, 20000) as i`);
    await testDatabase.query('analyze users');
    await using session = await database.openSession(never);
    // As if the table were too large for the cache.
    await session.query('set random_page_cost = 8');
    const planOf = async (text: string) => (await session.query(`explain ${text}`)).join('\n');
    const sql = snapshotSql([]);
    expect(await planOf(sql)).toContain('Index Scan using users_pkey');
    // Without the limit, Postgres sorts all users before the first one.
    expect(await planOf(sql.replace(/ limit .*/, ''))).toContain('Sort');
  });

  it('starts after an id and returns only users that match the filter', async () => {
    const ids = await insert([...many(50), ...many(50, { lastName: "O'Neill" }), ...many(50)]);
    const filter = parseFilter(`last_name == "O'Neill"`);
    await using snapshot = await openUsersSnapshot(database, { filter, after: ids[79] }, never);
    expect(await idsOf(snapshot)).toEqual(ids.slice(80, 100));
  });

  it('contains exactly what its snapshot sees by the change log, despite writes before and meanwhile', async () => {
    const known = await insert(many(600));
    let writing = true;
    const write = async () => {
      while (writing) {
        const pick = known[Math.floor(Math.random() * known.length)] ?? '';
        const dice = Math.random();
        if (dice < 0.4) known.push(...(await insert(many(3))));
        else if (dice < 0.8) {
          await updateUsers(database, [{ id: pick, version: undefined, fields: { firstName: String(dice) } }]);
        } else await deleteUsers(database, [{ id: pick, version: undefined }]);
      }
    };
    const writers = Array.from({ length: 4 }, write);
    try {
      for (let round = 0; round < 8; round++) {
        await using snapshot = await openUsersSnapshot(database, {}, never);
        const walked = new Map<string, number>();
        for await (const { users } of snapshot.pieces()) {
          for (const { id, version } of users.map(decoded)) walked.set(id, version);
          // Guarantees a write between two pieces.
          const [id = ''] = await insert(many(1));
          known.push(id);
        }
        const seen = await testDatabase.query<{ id: string; version: number }>(
          `select user_id as id, count(*)::integer as version from changes
           where pg_visible_in_snapshot(xid, $1::pg_snapshot) group by user_id having not bool_or(type = 4)`,
          [snapshot.position.snapshot],
        );
        expect(walked).toEqual(new Map(seen.map(({ id, version }) => [id, version])));
      }
    } finally {
      writing = false;
      await Promise.all(writers);
    }
  });

  it('names the change log that its snapshot belongs to', async () => {
    const [feed] = await testDatabase.query<{ id: string }>('select id from change_feed');
    await using snapshot = await openUsersSnapshot(database, {}, never);
    expect(snapshot.position.feedId).toBe(feed?.id);
  });

  it('reads fewer users at once if they are large', async () => {
    // jsonb writes these with 60,000 digits.
    const large = { numbers: Array.from({ length: 200 }, () => 1e300) };
    const ids = await insert([...many(300), ...many(300, { attributes: large }), ...many(300)]);
    await using snapshot = await openUsersSnapshot(database, {}, never);
    const pieces: SnapshotPiece[] = await Array.fromAsync(snapshot.pieces());
    expect(pieces.flatMap(({ users }) => users.map(storedId))).toEqual(ids);
    const bytesOf = ({ users }: SnapshotPiece) => users.reduce((sum, user) => sum + attributesBytesOf(user), 0);
    // All except the piece in which they start.
    expect(pieces.map(bytesOf).filter((bytes) => bytes > 600_000).length).toBeLessThanOrEqual(1);
    expect(Math.max(...pieces.map(({ users }) => users.length))).toBeLessThanOrEqual(256);
  });
});

describe('a snapshot that is abandoned', () => {
  it('during a walk leaves no connection', async () => {
    await insert(many(500));
    {
      await using snapshot = await openUsersSnapshot(database, {}, never);
      for await (const _ of snapshot.pieces()) break;
    }
    await vi.waitFor(async () => expect(await walks()).toEqual([]), waitOptions);
  });

  it('while it waits for the database is cancelled in the server', async () => {
    await testDatabase.query('truncate users');
    const locker = await database.openSession(never);
    await locker.query('begin');
    await locker.query('lock table users in access exclusive mode');
    const caller = new AbortController();
    const opened = openUsersSnapshot(database, {}, caller.signal);
    await vi.waitFor(async () => expect((await walks()).length).toBe(2), waitOptions);
    caller.abort(new Error('gone'));
    await expect(opened).rejects.toThrow('gone');
    await vi.waitFor(async () => expect((await walks()).length).toBe(1), waitOptions);
    await locker[Symbol.asyncDispose]();
  });

  it('ends its walk with the signal’s reason, also if no read is pending', async () => {
    await insert(many(500));
    const caller = new AbortController();
    await using snapshot = await openUsersSnapshot(database, {}, caller.signal);
    const pieces = snapshot.pieces();
    await pieces.next();
    caller.abort(new Error('gone'));
    await vi.waitFor(async () => expect(await walks()).toEqual([]), waitOptions);
    await expect(
      (async () => {
        for await (const _ of pieces);
      })(),
    ).rejects.toThrow('gone');
  });
});
