/** `roster serve`, `roster migrate` and `roster indexes` on their own database. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from '../certificates.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { roster, start, type World } from './command-line.js';

let database: TestDatabase;
let env: Record<string, string>;
beforeAll(async () => {
  database = await createTestDatabase();
  env = {
    DATABASE_URL: database.url,
    HTTP_ADDRESS: 'localhost:0',
    LOG_LEVEL: 'silent',
    LOG_FORMAT: 'pretty',
    SHUTDOWN_TIMEOUT_MS: '0',
  };
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function serve(settings: Record<string, string> = {}, world: World = {}) {
  const started = start(['serve', '--grpc-address', 'localhost:0'], { ...world, env: { ...env, ...settings } });
  const listening =
    /listens on (localhost:\d+)\. The page is at https?:\/\/localhost:\d+\/\nTry:\n {2}\.\/roster (create .*)\n/;
  await expect.poll(() => started.output().out, { timeout: 30_000 }).toMatch(listening);
  const [, address = '', command = ''] = listening.exec(started.output().out) ?? [];
  return { ...started, address, command };
}

describe('roster serve', () => {
  it.each(['SIGINT', 'SIGTERM'])('prints its address and a command to try, and ends with 0 at %s', async (signal) => {
    const server = await serve();
    const created = await roster([...server.command.split(' '), '--json']);
    if (signal === 'SIGINT') expect(created).toMatchObject({ code: 0, err: '' });
    server.signals.emit(signal, signal);
    expect(await server.ended).toMatchObject({ code: 0, err: '' });
    expect(await roster(['list', '--address', server.address])).toMatchObject({ code: 5 });
  });

  it('prints how to create an API key if calls need credentials', async () => {
    const started = start(['serve', '--grpc-address', 'localhost:0'], { env: { ...env, AUTH: 'on' } });
    const hint = /\nFor an API key:\n {2}\.\/roster key create --name NAME --role admin\n/;
    await expect.poll(() => started.output().out, { timeout: 30_000 }).toMatch(hint);
    started.signals.emit('SIGTERM', 'SIGTERM');
    expect(await started.ended).toMatchObject({ code: 0, err: '' });
  });

  it('ends the process at the second signal', async () => {
    const server = await serve();
    server.signals.emit('SIGTERM', 'SIGTERM');
    server.signals.emit('SIGINT', 'SIGINT');
    expect(server.exits).toEqual([130]);
    await server.ended;
  });

  it('ends if its terminal is closed, and continues at SIGHUP without a terminal', async () => {
    const atTerminal = await serve({}, { columns: 80 });
    const withPipes = await serve();
    for (const server of [atTerminal, withPipes]) server.signals.emit('SIGHUP', 'SIGHUP');
    expect(await atTerminal.ended).toMatchObject({ code: 0, err: '' });
    expect(await roster(['health', '--address', withPipes.address])).toMatchObject({ code: 0 });
    withPipes.signals.emit('SIGTERM', 'SIGTERM');
    expect(await withPipes.ended).toMatchObject({ code: 0, err: '' });
  });

  it('serves TLS if it has a certificate, to clients with a certificate of its authority', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'roster-'));
    try {
      const authority = createAuthority();
      const files = { ca: authority.cert, ...authority.issue('localhost'), other: createAuthority('Another').cert };
      const file = (name: keyof typeof files) => join(folder, `${name}.pem`);
      for (const name of ['ca', 'cert', 'key', 'other'] as const) await writeFile(file(name), files[name]);

      const server = await serve({ TLS_CERT: file('cert'), TLS_KEY: file('key'), TLS_CLIENT_CA: file('ca') });
      expect(server.command).toMatch(/ --tls$/);
      const health = (...flags: string[]) => roster(['health', '--address', server.address, ...flags]);
      const own = ['--cert', file('cert'), '--key', file('key')];
      expect(await health('--ca', file('ca'), ...own)).toEqual({ code: 0, out: 'SERVING\n', err: '' });
      expect(await health('--ca', file('ca'))).toMatchObject({ code: 5, out: '' });
      expect(await health('--ca', file('other'), ...own)).toMatchObject({ code: 5, out: '' });
      expect(await health()).toMatchObject({ code: 5, out: '' });
      server.signals.emit('SIGINT', 'SIGINT');
      expect(await server.ended).toMatchObject({ code: 0, err: '' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says in one line that its port is taken', async () => {
    const server = await serve();
    const second = await roster(['serve', '--grpc-address', server.address], { env });
    expect(second).toMatchObject({ code: 1, out: '' });
    expect(second.err).toMatch(/^error: .*\n$/);
    const [, port] = server.address.split(':');
    expect(second.err).toContain(`:${port}: another process, perhaps another Roster, uses the port.`);
    expect(second.err).toContain('GRPC_ADDRESS (--grpc-address)');
    const both = ['--http-address', server.address, '--grpc-address', 'localhost:0'];
    expect((await roster(['serve', ...both], { env })).err).toContain('HTTP_ADDRESS (--http-address)');
    const workers = ['--grpc-address', server.address, '--workers', '2'];
    expect((await roster(['serve', ...workers], { env })).err).toContain('GRPC_ADDRESS (--grpc-address)');
    server.signals.emit('SIGINT', 'SIGINT');
    await server.ended;
  });

  it.each([
    // RFC 5737 reserves this address for documentation.
    ['192.0.2.1:50051', 'this machine has no such address'],
    ['no-such-host.invalid:50051', 'the host name cannot be resolved'],
  ])('says why it cannot listen on %s', async (address, reason) => {
    const ran = await roster(['serve', '--grpc-address', address, '--insecure'], { env });
    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toMatch(/^error: .*GRPC_ADDRESS.*\n$/);
    expect(ran.err).toContain(`Cannot listen on ${address}: ${reason}`);
  });

  it('writes why it cannot start as a line of its log if the log is JSON', async () => {
    const args = ['serve', '--grpc-address', '192.0.2.1:50051', '--insecure'];
    const { code, out, err } = await roster(args, { env: { ...env, LOG_FORMAT: 'json' } });
    expect({ code, err }).toEqual({ code: 1, err: '' });
    const msg = expect.stringContaining('Cannot listen on 192.0.2.1:50051');
    const error = { type: 'ListenError', code: 'EADDRNOTAVAIL' };
    expect(JSON.parse(out)).toMatchObject({ level: 'fatal', time: expect.any(String), exitCode: 1, msg, error });
  });

  it('waits for a database that refuses connections, and ends if it is interrupted', async () => {
    // Nothing listens on port 1.
    const DATABASE_URL = 'postgres://roster:hidden@127.0.0.1:1/roster';
    const waiting = start(['serve', '--grpc-address', 'localhost:0'], { env: { ...env, DATABASE_URL } });
    await expect(Promise.race([waiting.ended, sleep(1_500, 'waiting')])).resolves.toBe('waiting');
    waiting.signals.emit('SIGINT', 'SIGINT');
    expect(await waiting.ended).toEqual({ code: 130, out: '', err: '' });
  });
});

describe('roster migrate', () => {
  it('says in one line that it cannot reach the database, without the password', async () => {
    const DATABASE_URL = 'postgres://roster:hidden@127.0.0.1:1/roster';
    const ran = await roster(['migrate', 'status'], { env: { ...env, DATABASE_URL } });
    const help = 'Check that it is running, and that the host and port are correct.';
    expect(ran).toEqual({ code: 1, out: '', err: `error: Postgres at 127.0.0.1:1 refuses connections. ${help}\n` });
  });

  it('shows, undoes and applies migrations', async () => {
    await using own = await createTestDatabase();
    const migrate = (direction: string) => roster(['migrate', direction], { env: { ...env, DATABASE_URL: own.url } });
    const before = await migrate('status');
    expect(before).toMatchObject({ code: 0, err: '' });
    expect(before.out).toMatch(/^\d+ applied, 0 pending\n( {2}applied {2}\w+\n)+$/);
    expect((await migrate('down')).out).toMatch(/^1 undone:\n {2}\w+\n\d+ applied, 1 pending\n$/);
    expect((await migrate('up')).out).toMatch(/^1 applied:\n {2}\w+\n\d+ applied, 0 pending\n$/);
    expect((await migrate('up')).out).toMatch(/^0 applied\n\d+ applied, 0 pending\n$/);
    expect(await migrate('status')).toEqual(before);
  });

  it('reads settings after the direction', async () => {
    const { code, err } = await roster(['migrate', 'status', '--database-url', 'nowhere'], { env });
    expect(code).toBe(2);
    expect(err).toContain('--database-url');
  });
});

describe('roster indexes', () => {
  const names = ['users_first_name_id', 'users_last_name_id', 'users_search'];
  const table = (states: readonly string[]) =>
    new RegExp(
      `^NAME +STATE +SIZE +SCANS +SERVES\\n${names.map((name, at) => `${name} +${states[at]} +\\S.*\\n`).join('')}(Postgres has .*\\n)?$`,
    );

  it('shows, builds and drops the indexes for lists', async () => {
    await using own = await createTestDatabase();
    const indexes = (...args: string[]) => roster(['indexes', ...args], { env: { ...env, DATABASE_URL: own.url } });
    const before = await indexes();
    expect(before).toMatchObject({ code: 0, err: '' });
    expect(before.out).toMatch(table(['missing', 'missing', 'missing']));
    expect(await indexes('status')).toEqual(before);

    const built = await indexes('build', 'users_last_name_id');
    expect(built).toMatchObject({ code: 0, err: '' });
    expect(built.out).toMatch(/^built users_last_name_id\n/);
    expect(built.out.replace(/^built .*\n/, '')).toMatch(table(['missing', 'exists +0.0 MiB +0', 'missing']));
    // It still takes space.
    await own.query(`update pg_index set indisvalid = false where indexrelid = 'users_last_name_id'::regclass`);
    expect((await indexes()).out).toMatch(table(['missing', 'unusable +0.0 MiB', 'missing']));
    await own.query(`update pg_index set indisvalid = true where indexrelid = 'users_last_name_id'::regclass`);
    expect((await indexes('build', 'all')).out).toMatch(/^built users_first_name_id\nbuilt users_search\nNAME/);
    expect((await indexes('drop', 'users_search')).out).toMatch(/^dropped users_search\nNAME/);
    expect((await indexes('drop', 'all')).out).toMatch(
      /^dropped users_first_name_id\ndropped users_last_name_id\nNAME/,
    );
    expect(await indexes('drop', 'all')).toEqual(before);
  });

  it('names the known indexes if the name is missing or wrong', async () => {
    for (const args of [['build'], ['drop', 'users_pkey']]) {
      const { code, err } = await roster(['indexes', ...args], { env });
      expect([code, err]).toEqual([2, `error: Name the index to ${args[0]}: ${names.join(', ')} or all.\n`]);
    }
  });

  it('says why it cannot build an index', async () => {
    await using own = await createTestDatabase();
    const role = `roster_test_${randomBytes(6).toString('hex')}`;
    await own.query(`create role ${role} login password 'roster'`);
    try {
      const DATABASE_URL = Object.assign(new URL(own.url), { username: role, password: 'roster' }).href;
      const build = () => roster(['indexes', 'build', 'users_first_name_id'], { env: { ...env, DATABASE_URL } });
      const { code, out, err } = await build();
      expect([code, out]).toEqual([1, '']);
      expect(err).toMatch(/^error: This role does not own the table users\. Run .* as the owner, .*\.\n$/);

      const holder = new pg.Client({ connectionString: own.url });
      await holder.connect();
      await holder.query('begin');
      await holder.query('lock table users in row exclusive mode');
      const other = roster(['indexes', 'build', 'users_first_name_id'], { env: { ...env, DATABASE_URL: own.url } });
      const building = `select from pg_stat_progress_create_index where datname = current_database()`;
      await expect.poll(async () => (await own.query(building)).length, { timeout: 30_000 }).toBe(1);
      expect((await build()).err).toMatch(/^error: Another process is building an index\./);
      await holder.end();
      expect((await other).out).toMatch(/^built users_first_name_id\n/);
    } finally {
      await own.query(`drop role ${role}`);
    }
  });
});
