/** A resume token must not lose a change if Postgres crashes right after the token was handed out. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { type Client, createClient, type RosterError } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';
import { readChanges, readFeedPosition } from '../../src/store/read-changes.js';
import { databaseOptions } from '../support/open-database.js';

const waitOptions = { timeout: 30_000 };

// A separate server, because it is killed.
const dataDir = mkdtempSync(join(tmpdir(), 'roster-crash-'));
// If the tests run as root, the server runs as another user, who must be able to enter the folder.
chmodSync(dataDir, 0o755);
let postgres: EmbeddedPostgres;
let app: App;
let client: Client;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres({ dataDir });
  // Otherwise the server writes the last records of failed transactions to disk within 0.2 s, and only an earlier crash
  // would lose them.
  await query('alter system set wal_writer_delay = 10000');
  await query('alter system set autovacuum = off');
  await query('select pg_reload_conf()');
  const settings = { DATABASE_URL: postgres.url, GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
  app = await startApp(parseServerConfig({ ...settings, LOG_LEVEL: 'silent' }));
  client = createClient({ address: `localhost:${app.grpc.port}` });
  await client.createUser({ user: { firstName: 'Ada', email: takenEmail } });
});
afterAll(async () => {
  client?.close();
  await app?.close();
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function query(text: string): Promise<void> {
  const connection = new pg.Client({ connectionString: postgres.url });
  await connection.connect();
  try {
    await connection.query(text);
  } finally {
    await connection.end();
  }
}

const takenEmail = 'ada@example.com';
const failuresCount = 20;
let emails = 0;
const newEmail = () => `user${emails++}@example.com`;

/** Uses transaction numbers, the last of which no commit has made durable. */
async function failToCreate(): Promise<void> {
  const reasons = await Promise.all(
    Array.from({ length: failuresCount }, () =>
      client
        .batchCreateUsers({
          users: [
            { firstName: 'Bob', email: newEmail() },
            { firstName: 'Ada', email: takenEmail },
          ],
        })
        .then(
          () => 'created',
          (error: RosterError) => error.reason,
        ),
    ),
  );
  expect(new Set(reasons)).toEqual(new Set(['EMAIL_TAKEN']));
}

async function crashAndRecover(): Promise<void> {
  const [pid] = readFileSync(join(postgres.dataDir, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
  process.kill(Number(pid), 'SIGKILL');
  await expect.poll(() => client.isServing(), waitOptions).toBe(false);
  await postgres.ensureRunning();
  await expect.poll(() => client.isServing(), waitOptions).toBe(true);
}

/** One after the other, so that each has a separate transaction number. More users than failed creates. */
async function createUsers(): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < failuresCount + 5) {
    const request = { user: { firstName: 'Grace', email: newEmail() } };
    const { user } = await client.createUser(request, { attemptsMax: 20, deadlineMs: 30_000 });
    ids.push(user?.id ?? '');
  }
  return ids;
}

async function firstToken(request: { resumeToken?: string; includeExisting?: boolean }): Promise<string> {
  for await (const { resumeToken, caughtUp } of client.watchUsers(request)) if (caughtUp) return resumeToken;
  throw new Error('The watch ended unexpectedly.');
}

async function exportedToken(): Promise<string> {
  let token = '';
  for await (const { watchToken } of client.exportAllUsers({}).batches()) token = watchToken;
  return token;
}

/** The users with changes after the token, up to and including `last`. */
async function changedAfter(resumeToken: string, last: string): Promise<Set<string>> {
  const seen = new Set<string>();
  for await (const { changes } of client.watchUsers({ resumeToken })) {
    for (const { user } of changes) seen.add(user?.id ?? '');
    if (seen.has(last)) break;
  }
  return seen;
}

/** Each entry prepares the step between the failed creates and the crash, which returns a token. */
const tokens: Record<string, () => Promise<() => Promise<string>>> = {
  'the first message of a watch': async () => () => firstToken({}),
  'the first message of a resumed watch': async () => {
    const before = await firstToken({});
    return () => firstToken({ resumeToken: before });
  },
  'the first message after the existing users': async () => () => firstToken({ includeExisting: true }),
  'the last message of an export': async () => exportedToken,
  'a heartbeat': async () => {
    const messages = client.watchUsers({ heartbeat: { seconds: 0, nanos: 100_000_000 } })[Symbol.asyncIterator]();
    await messages.next();
    return async () => {
      let token = '';
      // Long enough for several polls of the database.
      for (let count = 0; count < 5; count++) token = (await messages.next()).value?.resumeToken ?? '';
      await messages.return?.();
      return token;
    };
  },
};

describe('a crash of Postgres after failed creates', () => {
  it.each(Object.keys(tokens))('does not lose a change for a resume from %s', async (kind) => {
    const take = await tokens[kind]?.();
    await failToCreate();
    const token = (await take?.()) ?? '';
    await crashAndRecover();
    const created = await createUsers();
    const seen = await changedAfter(token, created.at(-1) ?? '');
    expect(created.filter((id) => !seen.has(id))).toEqual([]);
  });

  it('neither ends a running watch nor loses a change for it', async () => {
    const ending = new AbortController();
    onTestFinished(() => ending.abort());
    const seen = new Set<string>();
    let startsOver = 0;
    const begun = Promise.withResolvers<void>();
    const following = (async () => {
      for await (const { changes, startedOver } of client.followUsers({ heartbeatMs: 100, signal: ending.signal })) {
        begun.resolve();
        if (startedOver) startsOver++;
        for (const { user } of changes) seen.add(user?.id ?? '');
      }
    })();
    following.catch(begun.reject);
    await begun.promise;
    const created: string[] = [];
    for (let round = 0; round < 3; round++) {
      const read = await tokens['a heartbeat']?.();
      await failToCreate();
      // Gives the watch time to notice the failed transactions.
      await read?.();
      await crashAndRecover();
      created.push(...(await createUsers()));
    }
    await expect.poll(() => seen.has(created.at(-1) ?? ''), waitOptions).toBe(true);
    expect(created.filter((id) => !seen.has(id))).toEqual([]);
    expect(startsOver).toBe(0);
    ending.abort();
    await following.catch(() => {});
  });
});

describe('a position in the change log', () => {
  let database: Database;
  let flushes = 0;
  let counted: Database;
  beforeAll(async () => {
    database = await openDatabase(databaseOptions(postgres.url));
    counted = {
      ...database,
      run(statement, values) {
        if (statement.name === 'flush-wal') flushes++;
        return database.run(statement, values);
      },
    };
  });
  afterAll(() => database.close());

  const fail = () => query('begin; select pg_current_xact_id(); rollback');
  const log = 'insert into changes (user_id, type) values (gen_random_uuid(), 2)';

  it('is durable when the log ends there', async () => {
    await fail();
    const before = flushes;
    await readFeedPosition(counted);
    expect(flushes).toBe(before + 1);
  });

  it('moves without a write if nothing changes and the newest transactions are durable', async () => {
    const start = await readFeedPosition(counted);
    await fail();
    const before = flushes;
    expect(await readChanges(counted, start, 10)).toEqual({ changes: [], position: start });
    const position = async () => {
      // Any commit also makes everything before it durable.
      await query('create temporary table t (i integer)');
      return (await readChanges(counted, start, 10)).position;
    };
    await expect.poll(position, waitOptions).not.toEqual(start);
    expect(flushes).toBe(before);
  });

  it('moves by a write if nothing changes and it is many transactions old', async () => {
    const start = await readFeedPosition(counted);
    // Each block has a separate transaction number.
    await query(`do $$ begin
      for i in 1..10001 loop
        begin
          perform from change_feed for update;
          raise exception 'undone';
        exception when raise_exception then
        end;
      end loop;
      rollback;
    end $$`);
    await fail();
    const before = flushes;
    expect((await readChanges(counted, start, 10)).position).not.toEqual(start);
    expect(flushes).toBe(before + 1);
  });

  it('is durable if changes precede it, even if their commit did not wait for the disk', async () => {
    const start = await readFeedPosition(counted);
    await query(`begin; set local synchronous_commit = off; ${log}; commit`);
    const before = flushes;
    const { changes, position } = await readChanges(counted, start, 10);
    expect(changes).toHaveLength(1);
    expect(flushes).toBe(before + 1);
    await crashAndRecover();
    expect(await readChanges(counted, start, 10)).toMatchObject({ changes: [{ userId: changes[0]?.userId }] });
    expect((await readChanges(counted, position, 10)).changes).toEqual([]);
  });
});
