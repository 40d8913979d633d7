/** `roster serve` and `roster migrate` on their own database. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    /listens on (localhost:\d+)\. The page is at https?:\/\/localhost:\d+\/\nTry:\n {2}npx roster (create .*)\n/;
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
    expect(second.err).toContain(server.address.split(':')[1]);
    server.signals.emit('SIGINT', 'SIGINT');
    await server.ended;
  });

  it('says in one line that it cannot reach the database, without the password', async () => {
    // Nothing listens on port 1.
    const DATABASE_URL = 'postgres://roster:hidden@127.0.0.1:1/roster';
    const ran = await roster(['serve', '--grpc-address', 'localhost:0'], { env: { ...env, DATABASE_URL } });
    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toMatch(/^error: .*ECONNREFUSED.*\n$/);
    expect(ran.err).not.toContain('hidden');
  });
});

describe('roster migrate', () => {
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
