/** API keys as every server process checks them, against a real table. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { type ApiKeys, createApiKeys } from '../../src/identity/api-keys.js';
import { type ApiKeySecret, apiKeyText, digestOf, newApiKey, parseApiKey } from '../../src/model/api-key.js';
import { insertKey, liveKeysMax, revokeKey } from '../../src/store/api-keys.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
});
afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

const opened: ApiKeys[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const keys of opened.splice(0)) await keys.close();
});

interface Opened extends ApiKeys {
  reads(): number;
  readonly errors: unknown[];
  readonly useErrors: unknown[];
}

interface Opening {
  readonly isDown?: () => boolean;
  readonly via?: Database;
  /** Awaited after each read of the keys, before its answer arrives. */
  readonly delay?: () => Promise<void> | undefined;
}

/** Opens the keys as one process does. While `isDown`, its statements fail before they are sent. */
function open({ isDown = () => false, via = database, delay }: Opening = {}): Opened {
  let reads = 0;
  const errors: unknown[] = [];
  const useErrors: unknown[] = [];
  const run: Database['run'] = async (statement, values) => {
    if (statement.name === 'live-keys') reads++;
    if (isDown()) throw new Error('The database is down.');
    const rows = await via.run(statement, values);
    if (statement.name === 'live-keys') await delay?.();
    return rows;
  };
  const keys = createApiKeys({
    database: { run },
    onError: (error) => errors.push(error),
    onUseError: (error) => useErrors.push(error),
  });
  opened.push(keys);
  return { ...keys, reads: () => reads, errors, useErrors };
}

let count = 0;

async function create(lifetimeSeconds?: number): Promise<ApiKeySecret & { name: string; token: string }> {
  const key = newApiKey();
  const name = `test-${++count}`;
  const row = { id: key.id, name, digest: digestOf(key.secret), roles: ['reader'], lifetimeSeconds };
  expect(await insertKey(database, row)).toMatchObject({ id: key.id, name, roles: ['reader'], revokeTime: null });
  return { ...key, name, token: apiKeyText(key) };
}

const invalid = expect.objectContaining({ reason: 'CREDENTIALS_INVALID', message: 'The API key is not valid.' });

describe('an API key', () => {
  it('has an id and a secret of 256 random bits', () => {
    const key = newApiKey();
    expect(apiKeyText(key)).toMatch(/^roster_[a-z0-9]{12}_[\w-]{43}$/);
    expect(parseApiKey(apiKeyText(key))).toEqual(key);
    expect(new Set(Array.from({ length: 100 }, () => newApiKey().id)).size).toBe(100);
  });

  it('is found with its name and roles, always as the same object', async () => {
    const { token, name } = await create();
    const keys = open();
    const subject = await keys.find(token);
    expect(subject).toEqual({ kind: 'key', name, roles: ['reader'] });
    expect(keys.find(token)).toBe(subject);
    const reads = keys.reads();
    await vi.waitUntil(() => keys.reads() > reads, { timeout: 10_000 });
    expect(await keys.find(token)).toBe(subject);
  });

  it('is stored only as a digest', async () => {
    const { id, secret } = await create();
    const [row] = await testDatabase.query<{ text: string }>(
      `select api_keys::text || encode(digest, 'escape') as text from api_keys where id = $1`,
      [id],
    );
    expect(row?.text).toContain(id);
    expect(row?.text).not.toContain(secret);
  });

  it('is invalid with any other secret, and for all malformed texts', async () => {
    const { id, secret, token } = await create();
    const keys = open();
    expect(await keys.find(token)).toMatchObject({ kind: 'key' });
    const last = secret.at(-1) === 'A' ? 'B' : 'A';
    const others = [`roster_${id}_${secret.slice(0, -1)}${last}`, `roster_${id}_${newApiKey().secret}`];
    const malformed = ['roster_', `roster_${id}_`, `roster_${id}`, `${token} `, `${token}\n`, `${token}A`, ` ${token}`];
    for (const text of [...others, ...malformed, token.toUpperCase(), `roster_${id}_${'A'.repeat(16_000)}`]) {
      expect(keys.find(text), text).toEqual(invalid);
    }
  });

  it('that another process has just created works, also right after a read for an unknown id', async () => {
    const keys = open();
    // The first one may be answered by the first read.
    for (let call = 0; call < 2; call++) expect(await keys.find(apiKeyText(newApiKey()))).toEqual(invalid);
    const { token } = await create();
    expect(await keys.find(token)).toMatchObject({ kind: 'key' });
  });

  it('that was created during a read works, although the read does not have it', async () => {
    let held: PromiseWithResolvers<void> | undefined;
    let hasRead = false;
    const keys = open({
      delay: () => {
        hasRead = held !== undefined;
        return held?.promise;
      },
    });
    await keys.find(apiKeyText(newApiKey()));
    held = Promise.withResolvers<void>();
    await vi.waitUntil(() => hasRead, { timeout: 20_000 });
    const { token } = await create();
    const found = keys.find(token);
    held.resolve();
    expect(await found).toMatchObject({ kind: 'key' });
  });

  it('that is revoked stops working in every process, within two seconds', async () => {
    const { token, id } = await create();
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const processes = [open(), open()];
    const subjects = await Promise.all(processes.map(async (keys) => keys.find(token)));
    expect(await revokeKey(database, id)).toBe(true);
    const reads = processes.map((keys) => keys.reads());
    vi.advanceTimersByTime(1_999);
    expect(processes.map((keys) => keys.reads())).toEqual(reads.map((count) => count + 1));
    for (const [index, keys] of processes.entries()) {
      const subject = subjects[index];
      if (subject === undefined || subject instanceof Error) throw subject;
      await vi.waitUntil(() => !keys.isCurrent(subject), { timeout: 20_000 });
      expect(await keys.find(token)).toEqual(invalid);
    }
    expect(await revokeKey(database, id)).toBe(false);
  });

  it('expires, also while no process reads it again', async () => {
    const { token } = await create(1);
    const keys = open();
    const subject = await keys.find(token);
    if (!('reason' in subject)) expect(subject.expiresMs).toBeGreaterThan(Date.now() - 1_000);
    await vi.waitUntil(async () => (await keys.find(token)) instanceof Error, { timeout: 20_000 });
    expect(await keys.find(token)).toMatchObject({ reason: 'CREDENTIALS_EXPIRED' });
  });

  it('becomes another subject if its roles change', async () => {
    const { token, id } = await create();
    const keys = open();
    const subject = await keys.find(token);
    await testDatabase.query(`update api_keys set roles = '{writer}' where id = $1`, [id]);
    await vi.waitUntil(() => keys.find(token) !== subject, { timeout: 20_000 });
    expect(keys.find(token)).toMatchObject({ roles: ['writer'] });
    if (!(subject instanceof Error)) expect(keys.isCurrent(subject)).toBe(false);
  });

  it('is no longer known after its row was deleted', async () => {
    const { token, id } = await create();
    const keys = open();
    expect(await keys.find(token)).toMatchObject({ kind: 'key' });
    await testDatabase.query('delete from api_keys where id = $1', [id]);
    await vi.waitUntil(async () => (await keys.find(token)) instanceof Error, { timeout: 20_000 });
  });
});

describe('unknown ids', () => {
  it('cause at most one read a second, however many there are', async () => {
    const keys = open();
    await keys.find(apiKeyText(newApiKey()));
    const startMs = performance.now();
    const before = keys.reads();
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: 900 }, async () => keys.find(apiKeyText(newApiKey())));
      expect(await Promise.all(calls)).toEqual(calls.map(() => invalid));
    }
    const seconds = (performance.now() - startMs) / 1_000;
    // One each second for unknown ids, and one each 1.5 seconds for all keys.
    expect(keys.reads() - before).toBeLessThanOrEqual(Math.ceil(seconds) + Math.ceil(seconds / 1.5));
  });

  it('wait for the first read', async () => {
    const { token } = await create();
    const found = open().find(token);
    expect(found).toBeInstanceOf(Promise);
    expect(await found).toMatchObject({ kind: 'key' });
  });

  it('wait in a limited number of calls, of which each gets its answer', async () => {
    const keys = open();
    await keys.find(apiKeyText(newApiKey()));
    const waiting = Array.from({ length: 1_000 }, () => keys.find(apiKeyText(newApiKey())));
    expect(keys.find(apiKeyText(newApiKey()))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => invalid));
    expect(await keys.find(apiKeyText(newApiKey()))).toEqual(invalid);
  });

  it('do not delay the end of a process', async () => {
    const keys = open();
    await keys.find(apiKeyText(newApiKey()));
    const found = keys.find(apiKeyText(newApiKey()));
    expect(found).toBeInstanceOf(Promise);
    const reads = keys.reads();
    await keys.close();
    expect(await found).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    expect(keys.reads()).toBe(reads);
  });
});

describe('without the database', () => {
  it('known keys go on working, and unknown ones are UNAVAILABLE', async () => {
    const { token } = await create();
    let isDown = false;
    const keys = open({ isDown: () => isDown });
    const subject = await keys.find(token);
    isDown = true;
    await vi.waitUntil(() => keys.errors.length > 0, { timeout: 20_000 });
    const reads = keys.reads();
    await vi.waitUntil(() => keys.reads() > reads, { timeout: 20_000 });
    expect(keys.errors).toHaveLength(1);
    expect(keys.find(token)).toBe(subject);
    expect(keys.find(apiKeyText(newApiKey()))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
    isDown = false;
    const created = await create();
    await vi.waitUntil(async () => !((await keys.find(created.token)) instanceof Error), { timeout: 20_000 });
  });
});

describe('the last use', () => {
  const lastUse = async (id: string) =>
    (await testDatabase.query<{ at: Date | null }>('select last_use_time as at from api_keys where id = $1', [id]))[0]
      ?.at;

  it('is written in the background, once a minute for all processes', async () => {
    const { token, id } = await create();
    const unused = await create();
    const keys = open();
    await keys.find(token);
    await vi.waitUntil(async () => (await lastUse(id)) !== null, { timeout: 20_000 });
    const first = await lastUse(id);
    const other = open();
    await other.find(token);
    await keys.find(token);
    await other.close();
    await keys.close();
    expect(await lastUse(id)).toEqual(first);
    expect(await lastUse(unused.id)).toBeNull();
    await testDatabase.query(`update api_keys set last_use_time = now() - interval '2 min' where id = $1`, [id]);
    const later = open();
    await later.find(token);
    await later.close();
    expect((await lastUse(id))?.getTime()).toBeGreaterThanOrEqual(first?.getTime() ?? 0);
  });

  it('is reported once if the role may not write it, because the key then looks unused', async () => {
    const [first, second] = [await create(), await create()];
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await testDatabase.query(`create role ${role} login password 'roster'`);
    await testDatabase.query(`grant select on api_keys to ${role}`);
    const url = Object.assign(new URL(testDatabase.url), { username: role, password: 'roster' }).href;
    const limited = await openDatabase(databaseOptions(url));
    try {
      const keys = open({ via: limited });
      expect(await keys.find(first.token)).toMatchObject({ kind: 'key' });
      await vi.waitUntil(() => keys.useErrors.length > 0, { timeout: 20_000 });
      expect(await keys.find(second.token)).toMatchObject({ kind: 'key' });
      await keys.close();
      expect(keys.useErrors).toHaveLength(1);
      expect(keys.errors).toEqual([]);
    } finally {
      await limited.close();
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
  });

  it('is not recorded for a wrong secret', async () => {
    const { id } = await create();
    const keys = open();
    await keys.find(apiKeyText({ id, secret: newApiKey().secret }));
    await keys.close();
    expect(await lastUse(id)).toBeNull();
  });
});

describe('the table', () => {
  it('has each name once among the live keys, and a limited number of them', async () => {
    const { id, name } = await create();
    const another = () => {
      const { id, secret } = newApiKey();
      return { id, name, digest: digestOf(secret), roles: ['reader'], lifetimeSeconds: undefined };
    };
    expect(await insertKey(database, another())).toBeUndefined();
    await revokeKey(database, id);
    expect(await insertKey(database, another())).toMatchObject({ name });
    await testDatabase.query(
      `insert into api_keys (id, name, digest, roles)
      select 'many-' || n, 'many-' || n, '\\x00', '{reader}' from generate_series(1, $1) n`,
      [liveKeysMax],
    );
    expect(await insertKey(database, { ...another(), name: 'one-more' })).toBeUndefined();
    await testDatabase.query(`delete from api_keys where id like 'many-%'`);
    expect(await insertKey(database, { ...another(), name: 'one-more' })).toMatchObject({ name: 'one-more' });
  });
});
