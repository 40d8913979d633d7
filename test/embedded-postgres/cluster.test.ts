/**
 * The embedded server with real programs and a real folder: what it survives, how it is shared, and who can reach it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

// Most tests share one cluster, because initdb takes a second.
let scratch: string;
let dataDir: string;
const messages: string[] = [];

beforeAll(() => {
  scratch = fs.mkdtempSync(path.join(tmpdir(), 'roster-embedded-'));
  // If the tests run as root, the programs run as another user, who must be able to enter the folder.
  fs.chmodSync(scratch, 0o755);
  dataDir = path.join(scratch, 'shared folder of "data"');
});

afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

async function start(folder = dataDir): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir: folder, log: (message) => messages.push(message) });
  onTestFinished(() => server.stop());
  return server;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

function postmasterPid(folder = dataDir): number {
  return Number.parseInt(fs.readFileSync(path.join(folder, 'pgdata', 'postmaster.pid'), 'utf8'), 10);
}

async function isAnswering(url: string): Promise<boolean> {
  return query(url, 'SELECT 1').then(
    () => true,
    () => false,
  );
}

/** Simulates the death of a Roster: its sessions vanish, and the server keeps running. */
async function orphan(server: EmbeddedPostgres): Promise<void> {
  await query(
    server.url,
    `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name LIKE 'roster%'`,
  );
}

describe('an embedded Postgres', () => {
  it('keeps its data and its address between starts', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();
    expect(await isAnswering(first.url)).toBe(false);
    expect(fs.existsSync(path.join(dataDir, 'pgdata', 'postmaster.pid'))).toBe(false);

    const second = await start();
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  it('uses another port if its last one is in use', async () => {
    const first = await start();
    await first.stop();
    const port = Number(new URL(first.url).port);
    const squatter = (await import('node:net')).createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    onTestFinished(() => void squatter.close());

    const second = await start();
    expect(new URL(second.url).port).not.toBe(String(port));
    expect(await isAnswering(second.url)).toBe(true);
  });

  it('stores UTF-8, sorts by bytes, and has the collations of ICU', async () => {
    const { url } = await start();
    const [row] = await query(
      url,
      `SELECT current_setting('server_encoding') AS encoding, 'a' < 'B' AS by_bytes, 'a' < 'B' COLLATE "und-x-icu" AS by_icu, current_setting('fsync') AS fsync`,
    );
    expect(row).toEqual({ encoding: 'UTF8', by_bytes: false, by_icu: true, fsync: 'on' });
  });

  it('can be reached only from this machine, and only with the password', async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter((address) => !address.internal && address.family === 'IPv4')
      .map((address) => address.address);
    for (const host of [...others, '::1']) {
      const socket = connectTcp({ host, port });
      const outcome = await Promise.race([
        once(socket, 'connect').then(() => 'connected'),
        once(socket, 'error').then(() => 'refused'),
      ]).catch(() => 'refused');
      socket.destroy();
      expect(`${host} ${outcome}`).toBe(`${host} refused`);
    }
    const wrong = new URL(url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
    expect(fs.statSync(path.join(dataDir, 'password')).mode & 0o777).toBe(0o600);
  });

  it('restarts on the same port with all committed data after its process was killed', async () => {
    const server = await start();
    await query(server.url, 'CREATE TABLE IF NOT EXISTS committed (n int)');
    await query(server.url, 'INSERT INTO committed VALUES (1)');
    const before = postmasterPid();
    process.kill(before, 'SIGKILL');
    await Promise.all([server.ensureRunning(), server.ensureRunning(), server.ensureRunning()]);
    expect(postmasterPid()).not.toBe(before);
    expect(await query(server.url, 'SELECT n FROM committed')).toEqual([{ n: 1 }]);

    const after = postmasterPid();
    await server.ensureRunning();
    expect(postmasterPid()).toBe(after);
  });

  it('can be restarted after a stop', async () => {
    const server = await start();
    await server.stop();
    await server.stop();
    expect(await isAnswering(server.url)).toBe(false);
    await server.ensureRunning();
    expect(await isAnswering(server.url)).toBe(true);
  });

  it('is shared by all users of the folder, and stopped by the last of them', async () => {
    const first = await start();
    const second = await start();
    expect(second.url).toBe(first.url);
    await first.stop();
    first.kill();
    expect(await isAnswering(second.url)).toBe(true);
    await second.stop();
    expect(await isAnswering(second.url)).toBe(false);
  });

  it('stops if all users stop at once', async () => {
    const servers = await Promise.all([start(), start(), start(), start()]);
    await Promise.all(servers.map((server) => server.stop()));
    expect(await isAnswering(servers[0]?.url ?? '')).toBe(false);
    expect(fs.existsSync(path.join(dataDir, 'pgdata', 'postmaster.pid'))).toBe(false);
  });

  it('serves a process that starts while another one stops it', async () => {
    let server = await start();
    for (let round = 0; round < 5; round++) {
      const [next] = await Promise.all([start(), server.stop()]);
      await next.ensureRunning();
      expect(await isAnswering(next.url)).toBe(true);
      server = next;
    }
  });

  it('is taken over if the Roster that started it was killed', async () => {
    const dead = await start();
    const pid = postmasterPid();
    await orphan(dead);
    const heir = await start();
    expect(postmasterPid()).toBe(pid);
    await heir.stop();
    expect(await isAnswering(heir.url)).toBe(false);
  });

  it('stops soon after kill, which returns at once', async () => {
    const server = await start();
    server.kill();
    await expect
      .poll(() => fs.existsSync(path.join(dataDir, 'pgdata', 'postmaster.pid')), { timeout: 50_000 })
      .toBe(false);
  });

  it('starts although a stale postmaster.pid contains the pid of another program', async () => {
    const server = await start();
    const file = path.join(dataDir, 'pgdata', 'postmaster.pid');
    const lines = fs.readFileSync(file, 'utf8').split('\n');
    await server.stop();
    const innocent = spawn('sleep', ['600'], {
      stdio: 'ignore',
      ...(isRoot ? { uid: fs.statSync(path.join(dataDir, 'pgdata')).uid } : {}),
    });
    onTestFinished(() => void innocent.kill());
    await once(innocent, 'spawn');
    fs.writeFileSync(file, [innocent.pid, ...lines.slice(1)].join('\n'));
    const again = await start();
    expect(await isAnswering(again.url)).toBe(true);
    expect(innocent.exitCode).toBeNull();
  });

  it('is created once by concurrent starts in a new folder, even with leftovers of a crash', async () => {
    const folder = path.join(scratch, 'fresh');
    const leftover = path.join(folder, 'new-pgdata-999999999-crash');
    fs.mkdirSync(leftover, { recursive: true });
    fs.writeFileSync(path.join(leftover, 'PG_VERSION'), '18\n');
    fs.writeFileSync(path.join(folder, 'new-password-999999999-crash'), '');
    const servers = await Promise.all([start(folder), start(folder)]);
    expect(new Set(servers.map((server) => server.url)).size).toBe(1);
    expect(fs.readdirSync(folder).sort()).toEqual(['password', 'pgdata', 'port', 'postgres.log']);
  });

  it('explains what to do about a cluster of another version', async () => {
    const folder = path.join(scratch, 'old');
    const pgdata = path.join(folder, 'pgdata');
    fs.mkdirSync(pgdata, { recursive: true });
    fs.writeFileSync(path.join(pgdata, 'PG_VERSION'), '15\n');
    if (isRoot) for (const file of [folder, pgdata]) fs.chownSync(file, nobody, nobody);
    await expect(start(folder)).rejects.toThrow(
      /created by Postgres 15, but this is Postgres 18.*Dump it with pg_dump/s,
    );
  });

  it('says which file it cannot use, and what to do', async () => {
    const folder = path.join(scratch, 'without a log');
    fs.mkdirSync(path.join(folder, 'postgres.log'), { recursive: true });
    await expect(start(folder)).rejects.toThrow(
      /^Cannot use the data folder .* \(EISDIR: .*postgres\.log'\)\. Let this user read and write it, choose another one with DATA_DIR, or set DATABASE_URL\.$/,
    );
  });

  it('says why it does not start, and where its log is', async () => {
    const server = await start();
    await server.stop();
    const conf = path.join(dataDir, 'pgdata', 'postgresql.auto.conf');
    const before = fs.readFileSync(conf, 'utf8');
    onTestFinished(() => fs.writeFileSync(conf, before));
    fs.writeFileSync(conf, "shared_buffers = 'nonsense'\n");
    await expect(start()).rejects.toThrow(
      /did not start: invalid value for parameter "shared_buffers".*postgres\.log has the details\./,
    );
  });
});

describe.skipIf(!isRoot)('as root (skipped: these tests run as an ordinary user)', () => {
  it('runs Postgres as another user', async () => {
    await start();
    expect(fs.statSync(`/proc/${postmasterPid()}`).uid).not.toBe(0);
  });

  it('keeps the data elsewhere if that user cannot enter the folder, and finds it again', async () => {
    const closed = path.join(scratch, 'closed');
    fs.mkdirSync(closed, { mode: 0o700 });
    const folder = path.join(closed, 'data');
    const first = await start(folder);
    onTestFinished(() => fs.rmSync(first.dataDir, { recursive: true, force: true }));
    expect(first.dataDir).toMatch(/^\/var\/lib\/roster\/data-[0-9a-f]{12}$/);
    expect(messages.join('\n')).toContain(first.dataDir);
    expect(fs.existsSync(folder)).toBe(false);
    await query(first.url, 'CREATE TABLE kept ()');
    await first.stop();
    const second = await start(folder);
    expect(await query(second.url, 'SELECT FROM kept')).toEqual([]);
  });
});

describe('in a separate process', () => {
  // Node strips the types itself; only the file names are those of compiled files.
  const hook = `data:text/javascript,${encodeURIComponent(
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve(name, context, next) {
       try { return next(name, context); } catch (error) {
         if (name.endsWith('.js')) return next(name.slice(0, -3) + '.ts', context);
         throw error;
       }
     } });`,
  )}`;
  const source = new URL('../../src/embedded-postgres/cluster.ts', import.meta.url).href;

  /** A minimal Roster: starts, prints its URL, and runs until it is stopped. */
  async function launch(folder: string, uid?: number): Promise<{ child: ChildProcess; url: string }> {
    const program = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(source)});
      const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(folder)} });
      const hold = setInterval(() => {}, 1000);
      process.on('SIGINT', () => {});
      process.on('SIGTERM', () => server.stop().then(() => clearInterval(hold)));
      process.stdout.write(server.url + '\\n');`;
    const child = spawn(process.execPath, ['--import', hook, '--input-type=module', '-e', program], {
      // A separate process group, like a terminal's job.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    const line = await Promise.race([
      once(child.stdout ?? child, 'data').then(([chunk]) => String(chunk)),
      once(child, 'exit').then(() => Promise.reject(new Error(said))),
    ]);
    return { child, url: line.trim() };
  }

  it('survives a Ctrl-C while its Roster is busy, and the kill of its Roster', async () => {
    const { child, url } = await launch(dataDir);
    const pid = postmasterPid();
    process.kill(-(child.pid ?? Number.NaN), 'SIGINT');
    expect(await isAnswering(url)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await isAnswering(url)).toBe(true);
    const heir = await start();
    expect(postmasterPid()).toBe(pid);
    await heir.stop();
    expect(await isAnswering(url)).toBe(false);
  });

  it.skipIf(!isRoot || !canEnter())(
    'works for an ordinary user (skipped: needs root and a clone that others may enter)',
    async () => {
      const folder = path.join(scratch, 'of nobody');
      fs.mkdirSync(folder);
      fs.chownSync(folder, nobody, nobody);
      const { child, url } = await launch(folder, nobody);
      expect(await isAnswering(url)).toBe(true);
      child.kill('SIGTERM');
      await once(child, 'exit');
      expect(await isAnswering(url)).toBe(false);

      // Afterwards root can use it, and then the user again: Postgres always runs as the owner.
      const server = await start(folder);
      await server.stop();
      const again = await launch(folder, nobody);
      again.child.kill('SIGTERM');
      await once(again.child, 'exit');

      if (!fs.existsSync(dataDir)) return;
      await expect(launch(dataDir, nobody)).rejects.toThrow('belongs to another user');
    },
  );

  function canEnter(): boolean {
    for (let folder = import.meta.dirname; folder !== path.dirname(folder); folder = path.dirname(folder)) {
      if ((fs.statSync(folder).mode & 0o001) === 0) return false;
    }
    return true;
  }
});
