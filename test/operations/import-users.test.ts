/**
 * An import from its stream: which rows are rejected and reported, and that nothing is written before the proper end.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { Fault } from '../../src/model/fault.js';
import type { ImportOptions, ImportPart, ImportReport } from '../../src/model/import-request.js';
import type { UserInput } from '../../src/model/user.js';
import { createDirectory } from '../../src/operations/directory.js';
import { importUsers } from '../../src/operations/import-users.js';
import { readIdentity } from '../../src/store/identity.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, presentIndexes, someFields } from '../support/open-database.js';

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

const never = new AbortController().signal;
const someDomain = () => `@${randomBytes(6).toString('hex')}.example`;
const defaults: ImportOptions = { onConflict: 'reject', keepGoing: false, validateOnly: false, mergeAttributes: false };

async function* stream(...parts: ImportPart[]): AsyncGenerator<ImportPart> {
  yield* parts;
}

/** A complete stream of these users, in parts of two. */
async function* streamOf(
  users: readonly UserInput[],
  options: Partial<ImportOptions> = {},
): AsyncGenerator<ImportPart> {
  yield { options: { ...defaults, ...options }, users: [] };
  for (let index = 0; index < users.length; index += 2) yield { users: users.slice(index, index + 2) };
  yield { users: [], totalRows: users.length };
}

/** Sends the parts, and then nothing more. */
async function* stalled(...parts: ImportPart[]): AsyncGenerator<ImportPart> {
  yield* parts;
  await new Promise(() => {});
}

function run(
  parts: AsyncIterable<ImportPart>,
  { signal = never, stallTimeoutMs = 30_000, onWritten = () => {} } = {},
): Promise<ImportReport> {
  return importUsers(database, { stallTimeoutMs, onWritten }, parts, signal);
}

async function countIn(domain: string): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>('select count(*) from users where email like $1', [
    `%${domain}`,
  ]);
  return Number(row?.count);
}

async function sessionsOpen(): Promise<number> {
  const [row] = await testDatabase.query<{ count: string }>(
    `select count(*) from pg_class where relname like 'staged_users%'`,
  );
  return Number(row?.count);
}

/** A row with one invalid field. */
const badRows: readonly [field: string, Partial<UserInput>][] = [
  ['first_name', { firstName: '' }],
  ['first_name', { firstName: 'x'.repeat(257) }],
  ['last_name', { lastName: 'tab\t' }],
  ['last_name', { lastName: 'nul\0' }],
  ['email', { email: 'nobody' }],
  ['email', { email: '' }],
  ['profile_image_url', { profileImageUrl: 'ftp://example.com' }],
  ['attributes', { attributes: { text: 'x'.repeat(20_000) } }],
  ['attributes', { attributes: { text: '\ud800' } }],
  ['attributes', { attributes: { number: Number.NaN } }],
];

describe('an import', () => {
  it('gives users ids of version 7 in the order of their rows', async () => {
    const domain = someDomain();
    // Not in the order of the emails.
    const users = Array.from({ length: 200 }, (_, row) => someFields({ email: `${(row * 37) % 200}x${row}${domain}` }));
    await run(streamOf(users));
    const rows = await testDatabase.query<{ id: string; email: string }>(
      'select id, email from users where email like $1 order by id',
      [`%${domain}`],
    );
    expect(rows.map(({ email }) => email)).toEqual(users.map(({ email }) => email));
    for (const { id } of rows)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('reports each invalid row with its first invalid field, in the order of rows and together with taken emails', async () => {
    const domain = someDomain();
    const rows: UserInput[] = [];
    const errors: { row: number; field: string; reason: string }[] = [];
    for (const [field, bad] of badRows) {
      rows.push(someFields({ email: `${rows.length}${domain}` }));
      errors.push({ row: rows.length, field, reason: 'INVALID_FIELD' });
      rows.push({ ...someFields({ email: `bad${domain}` }), ...bad });
      errors.push({ row: rows.length, field: 'email', reason: 'EMAIL_TAKEN' });
      rows.push(someFields({ email: `0${domain}` }));
    }
    const counts = { created: badRows.length, updated: 0, skipped: 0, rejected: 2 * badRows.length };
    for (const options of [{}, { validateOnly: true }, { validateOnly: true, keepGoing: true }]) {
      expect(await run(streamOf(rows, options))).toMatchObject({ ...counts, committed: false, errors });
      expect(await countIn(domain)).toBe(0);
    }
    const report = await run(streamOf(rows, { keepGoing: true }));
    expect(report).toMatchObject({ ...counts, committed: true, errors });
    expect(report.errors.every(({ message }) => message.length > 10)).toBe(true);
    expect(await countIn(domain)).toBe(badRows.length);
  });

  it('writes nothing if one row is invalid, with any on_conflict', async () => {
    const domain = someDomain();
    const rows = ['a', 'A', 'b', 'nobody'].map((name) =>
      someFields({ email: name === 'nobody' ? name : `${name}${domain}` }),
    );
    const report = { committed: false, rejected: 1, errors: [{ row: 3, field: 'email' }] };
    expect(await run(streamOf(rows, { onConflict: 'skip' }))).toMatchObject({ ...report, created: 2, skipped: 1 });
    expect(await run(streamOf(rows, { onConflict: 'update' }))).toMatchObject({ ...report, created: 2, updated: 1 });
    expect(await countIn(domain)).toBe(0);
  });

  it('reports the first 100 rejected rows of any kind', async () => {
    const domain = someDomain();
    const rows = Array.from({ length: 400 }, (_, row) =>
      someFields({ email: row % 2 === 0 ? 'bad' : `taken${domain}` }),
    );
    const report = await run(streamOf(rows, { keepGoing: true }));
    expect(report).toMatchObject({ created: 1, rejected: 399 });
    expect(report.errors.map(({ row }) => row)).toEqual([0, ...Array.from({ length: 99 }, (_, index) => index + 2)]);
  });

  it('without users succeeds', async () => {
    const onWritten = vi.fn();
    const report = await run(stream({ options: defaults, users: [], totalRows: 0 }), { onWritten });
    expect(report).toEqual({ committed: true, created: 0, updated: 0, skipped: 0, rejected: 0, errors: [] });
    expect(onWritten).toHaveBeenCalledOnce();
    await run(stream({ options: { ...defaults, validateOnly: true }, users: [], totalRows: 0 }), { onWritten });
    expect(onWritten).toHaveBeenCalledOnce();
  });

  it('that is incomplete, or whose total is wrong, writes nothing', async () => {
    const domain = someDomain();
    const users = [someFields({ email: `a${domain}` }), someFields({ email: `b${domain}` })];
    const options = { ...defaults, keepGoing: true };
    for (const parts of [
      [],
      [{ options, users }],
      [{ options, users, totalRows: 1 }],
      [{ options, users, totalRows: 3 }],
      [
        { options, users: [] },
        { users, totalRows: 0 },
      ],
    ]) {
      const failure = await run(stream(...parts)).catch((error: Fault) => error);
      expect(failure).toMatchObject({ reason: 'IMPORT_INCOMPLETE', violations: [{ field: 'total_rows' }] });
    }
    async function* failing(): AsyncGenerator<ImportPart> {
      yield { options, users };
      throw new Error('the stream broke');
    }
    await expect(run(failing())).rejects.toThrow('the stream broke');
    expect(await countIn(domain)).toBe(0);
  });

  it('ends when it is cancelled, and leaves nothing behind', async () => {
    const domain = someDomain();
    const users = [someFields({ email: `a${domain}` })];
    const controller = new AbortController();
    const importing = run(stalled({ options: defaults, users }), { signal: controller.signal });
    importing.catch(() => {});
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(1);
    controller.abort(new Error('gone'));
    await expect(importing).rejects.toThrow('gone');
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(0);
    expect(await countIn(domain)).toBe(0);
  });

  it('ends during its merge when it is cancelled', async () => {
    const domain = someDomain();
    const [taken, free] = [someFields({ email: `a${domain}` }), someFields({ email: `0${domain}` })];
    await using holder = await database.openSession(never);
    await holder.query('begin');
    await holder.query('insert into users (id, first_name, email) values (gen_random_uuid(), $1, $2)', [
      'Eve',
      taken.email,
    ]);
    const controller = new AbortController();
    const importing = run(streamOf([free, taken]), { signal: controller.signal });
    importing.catch(() => {});
    await expect
      .poll(
        async () => {
          const [row] = await testDatabase.query<{ count: string }>(
            `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          );
          return Number(row?.count);
        },
        { timeout: 30_000 },
      )
      .toBe(1);
    controller.abort(new Error('gone'));
    await expect(importing).rejects.toThrow('gone');
    await holder.query('commit');
    expect(await countIn(domain)).toBe(1);
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(0);
  });

  it('fails if the client sends nothing for too long', async () => {
    const parts = stalled({ options: defaults, users: [someFields()] });
    await expect(run(parts, { stallTimeoutMs: 50 })).rejects.toMatchObject({ reason: 'DEADLINE_PASSED' });
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(0);
  });

  it('fails at once if the database connection is lost, even if the client is silent', async () => {
    const domain = someDomain();
    const importing = run(stalled({ options: defaults, users: [someFields({ email: `a${domain}` })] }));
    importing.catch(() => {});
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(1);
    await testDatabase.query(`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query like '%staged_users%' and pid <> pg_backend_pid()`);
    await expect(importing).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(await countIn(domain)).toBe(0);
  });

  it('does not read its stream while it waits for its permit', async () => {
    const directory = createDirectory({
      database,
      identity: await readIdentity(database),
      indexes: presentIndexes,
      batchRowsMax: 100,
      queueRowsMax: 100,
      streams: { connectionsMax: 1, stallTimeoutMs: 30_000, snapshotTimeoutMs: 30_000 },
      onError: () => {},
    });
    const controller = new AbortController();
    const first = directory.importUsers(stalled({ options: defaults, users: [] }), controller.signal);
    first.catch(() => {});
    await expect.poll(sessionsOpen, { timeout: 30_000 }).toBe(1);
    let isRead = false;
    async function* watched(): AsyncGenerator<ImportPart> {
      isRead = true;
      yield { options: defaults, users: [someFields()], totalRows: 1 };
    }
    const second = directory.importUsers(watched(), never);
    await directory.batchGetUsers([], never);
    expect(isRead).toBe(false);
    controller.abort();
    expect(await second).toMatchObject({ committed: true, created: 1 });
    await directory.close();
  });
});
