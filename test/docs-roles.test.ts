/**
 * Follows docs/operations.md literally: two roles, a backup by the owner, and a restore into a database of other roles.
 * The SQL and the commands come from the page.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createClient } from '../src/client/index.js';
import { freePort } from '../src/embedded-postgres/process.js';
import { expectStartFailure, serve } from './support/served.js';

const root = path.resolve(import.meta.dirname, '..');
const page = readFileSync(path.join(root, 'docs/operations.md'), 'utf8');

/** Debian's programs. pg_dump must not be older than the server, so the server is theirs. */
const versions = '/usr/lib/postgresql';
const [newest] = (existsSync(versions) ? readdirSync(versions) : []).sort((a, b) => Number(b) - Number(a));
const programs = path.join(versions, newest ?? '', 'bin');
const isMissing = newest === undefined || !existsSync(path.join(programs, 'initdb'));

interface Block {
  readonly kind: string;
  readonly text: string;
}

function blocksOf(heading: string): Block[] {
  const [, section = ''] = page.split(`\n## ${heading}\n`);
  const [text = ''] = section.split('\n## ');
  return [...text.matchAll(/^```(sql|console)\n(.*?)^```$/gms)].map(([, kind = '', text = '']) => ({ kind, text }));
}

/** The page's names, or those of the restored database. */
const renamed = (text: string, isRestored: boolean) =>
  isRestored
    ? text.replaceAll(/roster_(?=owner|app)/g, 'restored_').replace('database roster', 'database restored')
    : text;

describe.skipIf(isMissing)('the roles of docs/operations.md (needs Debian’s Postgres)', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-roles-'));
  let stop = async () => {};
  let port = 0;

  beforeAll(async () => {
    const isRoot = process.getuid?.() === 0;
    const [uid, gid] = isRoot ? ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres']))) : [];
    if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
    const account = { uid, gid, cwd: folder };
    execFileSync(path.join(programs, 'initdb'), ['-D', 'data', '-A', 'trust', '-U', 'admin'], account);
    port = await freePort(0);
    const args = ['-D', 'data', '-p', String(port), '-k', folder, '-c', 'listen_addresses=127.0.0.1'];
    const server = spawn(path.join(programs, 'postgres'), args, { ...account, stdio: 'ignore' });
    const exited = once(server, 'exit');
    stop = async () => {
      server.kill('SIGINT');
      await exited;
    };
    const isReady = () =>
      query('admin', 'postgres', 'select 1').then(
        () => true,
        () => false,
      );
    await vi.waitUntil(isReady, { timeout: 30_000, interval: 50 });
  }, 60_000);
  afterAll(async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const urlOf = (role: string, database: string) => `postgres://${role}:any@127.0.0.1:${port}/${database}`;

  async function query(role: string, database: string, sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: urlOf(role, database) });
    await client.connect();
    try {
      // One at a time, as psql does it: `create database` cannot run together with others.
      for (const statement of sql.split(/;\n/)) if (statement.trim() !== '') await client.query(statement);
    } finally {
      await client.end();
    }
  }

  const variables = () => ({
    OWNER_URL: urlOf('roster_owner', 'roster'),
    APP_URL: urlOf('roster_app', 'roster'),
    NEW_OWNER_URL: urlOf('restored_owner', 'restored'),
  });

  function runCommand(line: string): void {
    const command = line.replace('./roster', `${process.execPath} ${root}/dist/src/main.js`);
    const env = { PATH: `${programs}:${process.env.PATH}`, HOME: process.env.HOME, ...variables() };
    const ran = spawnSync('bash', ['-c', command], { cwd: folder, env, encoding: 'utf8' });
    expect(ran.status, `${line}\n${ran.stdout}${ran.stderr}`).toBe(0);
  }

  it('suffice to migrate, to serve, and to restore a backup for other roles', async () => {
    const [create, migrate, grant, start, ...others] = blocksOf('Roles');
    expect([create?.kind, migrate?.kind, grant?.kind, start?.kind, others]).toEqual([
      ...['sql', 'console', 'sql', 'console'],
      [],
    ]);
    const [dump, restore] = blocksOf('Backup and restore');
    const commandOf = (block: Block | undefined) => block?.text.replace(/^\$ /, '').trim() ?? '';

    await query('admin', 'postgres', create?.text ?? '');
    runCommand(commandOf(migrate));
    const { errors } = await expectStartFailure({ DATABASE_URL: variables().APP_URL });
    expect(errors).toMatch(
      /^error: The role "roster_app" may not use all of Roster's tables in the database "roster"\. Run as their owner "roster_owner": GRANT SELECT, INSERT, UPDATE, DELETE ON users, .* TO roster_app; GRANT SELECT ON roster_migrations TO roster_app\.\n$/,
    );
    await query('roster_owner', 'roster', grant?.text ?? '');

    expect(commandOf(start)).toBe('DATABASE_URL="$APP_URL" ./roster serve');
    const old = await serve({ DATABASE_URL: variables().APP_URL });
    using client = createClient({ address: old.address });
    const { resumeToken } = await useEverything(client);
    const { nextPageToken } = await client.listUsers({ pageSize: 1 });
    runCommand(commandOf(dump));
    await old.end('SIGTERM');

    await query('admin', 'postgres', renamed(create?.text ?? '', true));
    runCommand(commandOf(restore));
    await query('restored_owner', 'restored', renamed(grant?.text ?? '', true));
    const restored = await serve({ DATABASE_URL: urlOf('restored_app', 'restored') });
    try {
      using newClient = createClient({ address: restored.address });
      expect((await newClient.listUsers({ pageSize: 1, pageToken: nextPageToken })).users).toHaveLength(1);
      await expect(firstChange(newClient.watchUsers({ resumeToken }))).rejects.toMatchObject({
        reason: 'RESUME_TOKEN_EXPIRED',
      });
      await useEverything(newClient);
      expect(restored.lines).toContainEqual(
        expect.objectContaining({ msg: 'the database was restored from a dump, or cloned: its watchers start over' }),
      );
    } finally {
      await restored.end('SIGTERM');
    }
  });
});

type Client = ReturnType<typeof createClient>;

/** Uses all tables and temporary ones, and returns a token of the change log. */
async function useEverything(client: Client) {
  const email = (name: string) => `${name}.${Date.now()}@example.com`;
  const { user } = await client.createUser({
    user: { firstName: 'Ada', email: email('ada') },
    requestId: crypto.randomUUID(),
  });
  await client.updateUser({ user: { id: user?.id, lastName: 'Lovelace' } });
  const imported = await client.importAllUsers([
    { firstName: 'Grace', email: email('grace') },
    { firstName: 'Alan', email: email('alan') },
  ]);
  expect(imported).toMatchObject({ committed: true, created: 2 });
  let exported = 0;
  for await (const _ of client.exportAllUsers()) exported++;
  expect(exported).toBeGreaterThan(2);
  const change = await firstChange(client.watchUsers({ includeExisting: true }));
  await client.deleteUser({ id: user?.id });
  return change;
}

/** The first message of a watch with a token. */
async function firstChange<T extends { resumeToken: string }>(stream: AsyncIterable<T>): Promise<T> {
  for await (const message of stream) if (message.resumeToken !== '') return message;
  throw new Error('The stream ended.');
}
