/** `roster serve` and `roster migrate` over a database of their own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { roster, start } from './command-line.js';

let database: TestDatabase;
let env: Record<string, string>;
beforeAll(async () => {
  database = await createTestDatabase();
  env = { DATABASE_URL: database.url, LOG_LEVEL: 'silent', LOG_FORMAT: 'pretty', SHUTDOWN_TIMEOUT_MS: '0' };
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function serve(...args: string[]) {
  const started = start(['serve', '--grpc-address', 'localhost:0', ...args], { env });
  const listening = /listens on (localhost:\d+)\. Try:\n {2}npx roster (create .*)\n/;
  await expect.poll(() => started.output().out, { timeout: 30_000 }).toMatch(listening);
  const [, address = '', command = ''] = listening.exec(started.output().out) ?? [];
  return { ...started, address, command };
}

describe('roster serve', () => {
  it.each(['SIGINT', 'SIGTERM'])('says where it listens and what to try, and ends with 0 at %s', async (signal) => {
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

  it('says in one line that its port is taken', async () => {
    const server = await serve();
    const second = await roster(['serve', '--grpc-address', server.address], { env });
    expect(second).toMatchObject({ code: 1, out: '' });
    expect(second.err).toMatch(/^error: .*\n$/);
    expect(second.err).toContain(server.address.split(':')[1]);
    server.signals.emit('SIGINT', 'SIGINT');
    await server.ended;
  });

  it('says in one line that its database is away, and nothing of the password', async () => {
    // A port that nobody may listen on.
    const DATABASE_URL = 'postgres://roster:hidden@127.0.0.1:1/roster';
    const ran = await roster(['serve', '--grpc-address', 'localhost:0'], { env: { ...env, DATABASE_URL } });
    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toMatch(/^error: .*ECONNREFUSED.*\n$/);
    expect(ran.err).not.toContain('hidden');
  });
});

describe('roster migrate', () => {
  it('shows, undoes and applies', async () => {
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

  it('reads settings behind the direction', async () => {
    const { code, err } = await roster(['migrate', 'status', '--database-url', 'nowhere'], { env });
    expect(code).toBe(2);
    expect(err).toContain('--database-url');
  });
});
