/** `roster key` on its own database, as operators and scripts use it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.js';
import { type ApiKeys, createApiKeys } from '../../src/identity/api-keys.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { roster, start, type World } from './command-line.js';

let testDatabase: TestDatabase;
let database: Database;
let keys: ApiKeys;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await openDatabase(databaseOptions(testDatabase.url));
  keys = createApiKeys({ database, onError: () => {}, onUseError: () => {} });
  folder = await mkdtemp(join(tmpdir(), 'roster-key-'));
  env = { DATABASE_URL: testDatabase.url, LOG_FORMAT: 'pretty' };
});
afterAll(async () => {
  await keys.close();
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const key = (args: string, world: World = {}) =>
  roster(['key', ...args.split(' ')], { ...world, env: { ...env, ...world.env } });

describe('roster key create', () => {
  it('prints only the key on the standard output, and the server accepts it', async () => {
    const created = await key('create --name billing --role reader --role bulk --expires 90d');
    expect(created.out).toMatch(/^roster_[a-z0-9]{12}_[\w-]{43}\n$/);
    expect(created.err).toMatch(
      /^Created the key billing with the role bulk, reader\. It expires at 20.*Z\.\nKeep the next line secret\. .*\n$/,
    );
    expect(created.err).not.toContain(created.out.trim().slice(-43));
    expect(await keys.find(created.out.trim())).toMatchObject({ name: 'billing', roles: ['bulk', 'reader'] });
  });

  it('prints JSON', async () => {
    const { code, out, err } = await key('create --name as-json --role admin --output json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toEqual({
      name: 'as-json',
      id: expect.stringMatching(/^[a-z0-9]{12}$/),
      roles: ['admin'],
      createTime: expect.any(String),
      key: expect.stringMatching(/^roster_/),
    });
  });

  it('has no stack in its log if the name is taken', async () => {
    const world = { env: { LOG_FORMAT: 'json' } };
    await key('create --name stackless --role reader', world);
    const { code, out, err } = await key('create --name stackless --role reader', world);
    expect({ code, out }).toEqual({ code: 4, out: '' });
    const msg = expect.stringMatching(/^The key stackless exists\. /);
    expect(JSON.parse(err)).toEqual({ level: 'fatal', time: expect.any(String), exitCode: 4, msg });
  });

  it('accepts the roles of the access file, and no others', async () => {
    const path = join(folder, 'access.yaml');
    await writeFile(path, 'roles:\n  hr: [reader, writer]\n');
    const withFile = { env: { ACCESS_FILE: path } };
    expect(await key('create --name hr --role hr', withFile)).toMatchObject({ code: 0 });
    expect(await key('create --name hr-2 --role hr')).toEqual({
      code: 2,
      out: '',
      err: 'error: The role hr does not exist. The roles are reader, writer, bulk, admin.\n',
    });
    expect(await key('create --name hr-2 --role HR', withFile)).toMatchObject({
      code: 2,
      err: 'error: The role HR does not exist. The roles are reader, writer, bulk, admin, hr.\n',
    });
    await writeFile(path, '{');
    expect(await key('create --name hr-2 --role hr', withFile)).toMatchObject({ code: 2, out: '' });
  });

  it('is recorded in the audit log, and so is a revocation', async () => {
    const path = join(folder, 'audit.log');
    const world = { env: { AUDIT_LOG: path } };
    const token = (await key('create --name audited --role reader', world)).out.trim();
    expect(await key('revoke audited --yes', world)).toMatchObject({ code: 0 });
    const text = await readFile(path, 'utf8');
    const [, id] = token.split('_');
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { event: 'key', method: 'roster key create', key: id, name: 'audited', roles: ['reader'] },
      { event: 'key', method: 'roster key revoke', key: id, name: 'audited' },
    ]);
    expect(text).not.toContain(token.slice(-43));
    const toOutput = await key('create --name audited --role reader', { env: { AUDIT_LOG: 'stdout' } });
    expect(toOutput.out).toMatch(/^roster_\S+\n$/);
    expect(toOutput.err).toContain('"event":"key"');
  });

  it('leaves no key if the audit log cannot be written', async () => {
    const failed = await key('create --name unaudited --role reader', { env: { AUDIT_LOG: '/dev/full' } });
    expect(failed).toMatchObject({ code: 1, out: '' });
    expect(failed.err).toContain('The key was not created, because the audit log cannot be written: ');
    expect((await key('list')).out).toMatch(/^unaudited .* 20\S+ \d\d:\d\d$/m);
  });

  it('says that a key was revoked if the audit log cannot be written', async () => {
    expect(await key('create --name leaked --role reader')).toMatchObject({ code: 0 });
    const revoked = await key('revoke leaked --yes', { env: { AUDIT_LOG: '/dev/full' } });
    expect(revoked).toMatchObject({ code: 1, out: '' });
    expect(revoked.err).toContain('The key was revoked, but the audit log cannot be written: ');
    expect((await key('list')).out).toMatch(/^leaked .* 20\S+ \d\d:\d\d$/m);
  });

  it('refuses invalid names and times, and missing ones', async () => {
    const bad = [
      'create --role reader',
      'create --name x',
      'create --name Billing --role reader',
      `create --name ${'x'.repeat(64)} --role reader`,
      'create --name x --role reader --expires 0d',
      'create --name x --role reader --expires 90',
      'create --name x --role reader --expires 4000d',
      'create --name x --role reader --expires -1d',
      'revoke',
      'revoke UPPER --yes',
    ];
    for (const args of bad) expect(await key(args), args).toMatchObject({ code: 2, out: '' });
  });

  it('refuses a name that a key in use has', async () => {
    expect(await key('create --name twice --role reader')).toMatchObject({ code: 0 });
    expect(await key('create --name twice --role reader')).toMatchObject({ code: 4, out: '' });
    expect(await key('revoke twice --yes')).toMatchObject({ code: 0 });
    expect(await key('create --name twice --role reader')).toMatchObject({ code: 0 });
  });

  it('says that the database needs migrations', async () => {
    const name = `${testDatabase.name}_empty`;
    await testDatabase.query(`create database ${name}`);
    const url = new URL(testDatabase.url);
    url.pathname = `/${name}`;
    try {
      expect(await key('list', { env: { DATABASE_URL: url.href } })).toMatchObject({
        code: 1,
        err: 'error: The database needs migrations. Run "roster migrate up" first.\n',
      });
    } finally {
      await testDatabase.query(`drop database ${name} with (force)`);
    }
  });
});

describe('roster key list and revoke', () => {
  it('show when a key was used, and that it is revoked', async () => {
    const token = (await key('create --name listed --role reader')).out.trim();
    await keys.find(token);
    const row = async () => (await key('list')).out.split('\n').find((line) => line.startsWith('listed'));
    await expect.poll(row, { timeout: 30_000 }).toMatch(/^listed +\w{12} +reader +20\S+ +never +20\S+ \d\d:\d\d *$/);
    expect(await key('revoke listed --yes')).toMatchObject({
      code: 0,
      out: 'Revoked the key listed. Servers refuse it within two seconds.\n',
    });
    expect(await row()).toMatch(/^listed +\w{12} +reader +20\S+ +never +20\S+ \d\d:\d\d +20\S+ \d\d:\d\d$/);
    const lines = (await key('list --json')).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.find(({ name }) => name === 'listed')).toMatchObject({ revokeTime: expect.any(String) });
    expect((await key('list --json')).out).not.toContain(token.slice(-43));
    await expect.poll(() => keys.find(token), { timeout: 30_000 }).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
  });

  it('asks before it revokes', async () => {
    await key('create --name asked --role reader');
    expect(await key('revoke asked')).toMatchObject({ code: 2 });
    for (const [answer, expected] of [
      ['n', { code: 1, err: expect.stringContaining('Nothing was revoked.') }],
      ['y', { code: 0, out: expect.stringContaining('Revoked the key asked.') }],
    ] as const) {
      const started = start(['key', 'revoke', 'asked'], { env, columns: 100 });
      await expect.poll(() => started.output().err, { timeout: 30_000 }).toContain('Revoke this key?');
      started.stdin.write(`${answer}\n`);
      expect(await started.ended).toMatchObject(expected);
    }
    expect(await key('revoke asked --yes')).toMatchObject({ code: 3, out: '' });
  });
});

describe('roster key as a role without rights', () => {
  it('says which right is missing, and does not need more than the table', async () => {
    const role = `${testDatabase.name}_keys`;
    await testDatabase.query(`create role ${role} login password 'any'`);
    const url = new URL(testDatabase.url);
    url.username = role;
    url.password = 'any';
    const asRole = { env: { DATABASE_URL: url.href } };
    try {
      await testDatabase.query(`grant select on api_keys, roster_migrations to ${role}`);
      expect(await key('list', asRole)).toMatchObject({ code: 0 });
      const denied = await key('create --name as-role --role reader', asRole);
      expect(denied).toMatchObject({ code: 1, out: '' });
      expect(denied.err).toContain('lacks a privilege');
      await testDatabase.query(`grant insert, update on api_keys to ${role}`);
      expect(await key('create --name as-role --role reader', asRole)).toMatchObject({ code: 0 });
      expect(await key('revoke as-role --yes', asRole)).toMatchObject({ code: 0 });
    } finally {
      await testDatabase.query(`drop owned by ${role}`);
      await testDatabase.query(`drop role ${role}`);
    }
  });
});
