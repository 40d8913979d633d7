/** `roster erasure-check` must find an email wherever it is, and must not write it anywhere. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { startCluster } from '../support/cluster.js';
import { roster, start } from './command-line.js';

let app: TestApp;
let env: Record<string, string>;

beforeAll(async () => {
  app = await startTestApp();
  env = { DATABASE_URL: app.database.url, LOG_FORMAT: 'pretty' };
});
afterAll(() => app[Symbol.asyncDispose]());

interface Checked {
  readonly code: number;
  readonly err: string;
  /** The tables with the email, and how many of their rows contain it. */
  readonly found: Readonly<Record<string, number>>;
  readonly statistics: number;
}

async function check(email: string): Promise<Checked> {
  const { code, out, err } = await roster(['erasure-check', email, '--json'], { env });
  const { tables, statistics } = JSON.parse(out);
  const rows = tables.map(({ table, rows }: { table: string; rows: number }) => [table, rows]);
  return { code, err, found: Object.fromEntries(rows.filter(([, count]: [string, number]) => count > 0)), statistics };
}

let count = 0;
const uniqueEmail = (local = 'planted') => `${local}.${++count}.${Date.now()}@example.com`;

describe('roster erasure-check', () => {
  it('finds a user, and nothing after the user was deleted', async () => {
    const email = uniqueEmail();
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email }, requestId: crypto.randomUUID() });
    await app.client.updateUser({ user: { id: user?.id, attributes: { old: email } } });
    expect(await check(email)).toMatchObject({ code: 1, found: { users: 1 } });
    expect(await check(email.toUpperCase())).toMatchObject({ code: 1, found: { users: 1 } });
    expect(await check(`other.${email}`)).toMatchObject({ code: 0, found: {} });
    await app.client.deleteUser({ id: user?.id });
    expect(await check(email)).toEqual({ code: 0, err: '', found: {}, statistics: 0 });
  });

  it('prints every table, and what it cannot see', async () => {
    const { code, out } = await roster(['erasure-check', uniqueEmail()], { env });
    expect(code).toBe(0);
    const tables = await app.database.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
    );
    expect(tables.length).toBeGreaterThan(5);
    for (const { name } of tables) expect(out).toMatch(new RegExp(`^${name} +0 `, 'm'));
    expect(out).toContain('(statistics)');
    expect(out).toContain('- backups');
  });

  it('searches the schema of the users, even if the search path begins with an empty one', async () => {
    const email = uniqueEmail();
    await app.client.createUser({ user: { firstName: 'Ada', email } });
    await app.database.query('create schema "empty first"');
    try {
      const url = new URL(app.database.url);
      url.searchParams.set('options', '-c search_path="empty\\ first",public');
      const { code, out } = await roster(['erasure-check', email], { env: { ...env, DATABASE_URL: url.href } });
      expect(code).toBe(1);
      expect(out).toMatch(/^users +1 /m);
    } finally {
      await app.database.query('drop schema "empty first"');
    }
  });

  it('reads the email from the standard input', async () => {
    const email = uniqueEmail();
    await app.client.createUser({ user: { firstName: 'Ada', email } });
    const started = start(['erasure-check', '-'], { env });
    started.stdin.end(`${email}\n`);
    const { code, out, err } = await started.ended;
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^error: The email is still in users\./) });
    expect(out + err).not.toContain(email);
  });

  it.each([
    ['attributes', 'planted.json@example.com', { note: { list: ['write to PLANTED.JSON@example.com!'] } }],
    ['attributes with quotes', '"a\\"b"@example.com', { note: '"A\\"b"@example.com' }],
    ['attributes with a composed letter', 'jos\u00e9.1@example.com', { note: 'x JOSE\u0301.1@example.com y' }],
    ['attributes with the domain in ASCII', 'idn.1@bücher.example', { note: 'mail idn.1@xn--bcher-kva.example now' }],
    ['attributes with the domain in letters', 'idn.2@xn--bcher-kva.example', { note: 'mail idn.2@BÜCHER.example now' }],
    ['attribute names', 'planted.key@example.com', { 'planted.key@example.com': 1 }],
  ])('finds an email in the %s of another user', async (_, email, attributes) => {
    expect(await check(email)).toMatchObject({ code: 0 });
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email: uniqueEmail('o'), attributes } });
    expect(await check(email)).toMatchObject({ code: 1, found: { users: 1 } });
    await app.client.deleteUser({ id: user?.id });
  });

  it.each([
    ['text[]', `array['x', 'Old: planted.array@example.com']`, 'planted.array@example.com'],
    ['bytea', `convert_to('x Planted.bytes@example.com', 'UTF8') || '\\x00ff'`, 'planted.BYTES@example.com'],
    ['bytea', `convert_to('josé@example.com', 'UTF8')`, 'josé@example.com'],
    ['varchar(80)', `'planted.varchar@example.com'`, 'planted.varchar@example.com'],
    ['xml', `'<a>planted.xml@example.com</a>'`, 'planted.xml@example.com'],
  ])('finds an email in a new table with a column of type %s', async (type, value, email) => {
    await app.database.query(`create table "Later Table" (id serial, "Its Column" ${type}, gone text)`);
    await app.database.query('alter table "Later Table" drop column gone');
    try {
      await app.database.query(`insert into "Later Table" ("Its Column") values (null), (${value})`);
      expect(await check(email)).toMatchObject({ code: 1, found: { 'Later Table': 1 } });
    } finally {
      await app.database.query('drop table "Later Table"');
    }
  });

  it('finds an email that only the statistics of the planner contain', async () => {
    const email = uniqueEmail('statistics');
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email } });
    await app.client.createUser({ user: { firstName: 'Ada', email: uniqueEmail() } });
    await app.database.query('analyze users');
    await app.client.deleteUser({ id: user?.id });
    const checked = await check(email);
    expect(checked).toMatchObject({ code: 1, found: {}, err: expect.stringContaining('ANALYZE') });
    expect(checked.statistics).toBeGreaterThan(0);
    await app.database.query('analyze users');
    expect(await check(email)).toMatchObject({ code: 0, statistics: 0 });
  });

  it('finds an email without an @, which the first contract allows', async () => {
    await app.database.query(
      `insert into users (id, first_name, email) values (gen_random_uuid(), 'A', 'No At Ünique')`,
    );
    expect(await check('no at ÜNIQUE')).toMatchObject({ code: 1, found: { users: 1 } });
  });

  it('refuses to skip a table that the role may not read', async () => {
    const role = `${app.database.name}_check`;
    await app.database.query(`create role ${role} login password 'any'`);
    const url = new URL(app.database.url);
    url.username = role;
    url.password = 'any';
    try {
      await app.database.query(`grant select on roster_migrations, users to ${role}`);
      const denied = await roster(['erasure-check', uniqueEmail()], { env: { ...env, DATABASE_URL: url.href } });
      expect(denied).toMatchObject({ code: 1, out: '', err: expect.stringContaining('lacks a privilege') });
    } finally {
      await app.database.query(`drop owned by ${role}`);
      await app.database.query(`drop role ${role}`);
    }
  });

  it('refuses an invalid email', async () => {
    for (const email of ['', 'x'.repeat(257), 'a\u0000@example.com']) {
      expect(await roster(['erasure-check', email], { env })).toMatchObject({ code: 2, out: '' });
    }
  });

  it('leaves no trace of the email in the log of a server that logs everything', async () => {
    await using cluster = await startCluster();
    const settings = { env: { ...env, DATABASE_URL: cluster.url } };
    expect(await roster(['migrate', 'up'], settings)).toMatchObject({ code: 0 });
    const logged = [`log_statement = 'all'`, 'log_min_duration_statement = 0', `log_error_verbosity = 'verbose'`];
    for (const setting of logged) await cluster.query(`alter database roster set ${setting}`);
    const email = uniqueEmail('never-logged');
    const log = () => readFileSync(join(cluster.postgres.dataDir, 'postgres.log'), 'utf8');
    const client = new pg.Client({ connectionString: cluster.url });
    await client.connect();
    await client.query('select $1::text', ['control']);
    await client.end();
    expect(await roster(['erasure-check', email], settings)).toMatchObject({ code: 0 });
    for (const text of ["$1 = 'control'", 'copy erasure_emails']) {
      await vi.waitUntil(() => log().includes(text), { timeout: 30_000 });
    }
    expect(log()).not.toContain('never-logged');
  });
});
