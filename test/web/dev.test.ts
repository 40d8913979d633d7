/** `npm run dev` in a copy of the clone, whose files the test changes as a developer does. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Client, createClient, RosterError } from '../../src/client/index.js';
import { freePort } from '../../src/embedded-postgres/process.js';
import { browserMissing, startBrowser } from './browser.js';

const repository = path.resolve(import.meta.dirname, '../..');
// Only a bound for a test that hangs.
const patient = { timeout: 120_000, interval: 50 };

vi.setConfig({ testTimeout: 150_000, hookTimeout: 150_000 });

let root: string;
let dev: ChildProcess;
let output = '';
let client: Client;

const at = (name: string) => path.join(root, name);
const change = (file: string, from: string | RegExp, to: string) => {
  const before = fs.readFileSync(at(file), 'utf8');
  const after = before.replace(from, to);
  expect(after).not.toBe(before);
  fs.writeFileSync(at(file), after);
};

/** The message of the server's error for a user that does not exist. */
async function refusal(): Promise<string> {
  try {
    await client.getUser({ id: '01a202f3-3534-751a-83af-cc0fa8e38a96' });
    return 'The user exists.';
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return error.message;
  }
}

const postgresPid = () => fs.readFileSync(at('data/pgdata/postmaster.pid'), 'utf8').split('\n')[0];

/** The server that serves, and the one that waits for the next change. */
function serverPids(): number[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' });
  const lines = stdout.split('\n').filter((line) => line.includes(at('scripts/dev/server.mjs')));
  return lines.map((line) => Number.parseInt(line, 10));
}

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'roster-dev-'));
  // For root, Postgres runs as another account, which must be able to enter the folder.
  fs.chmodSync(root, 0o711);
  const listed = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: repository,
    encoding: 'utf8',
  });
  for (const file of listed.stdout.split('\0')) {
    if (!/^(?:bench|generated|migrations|proto|scripts|src|web)\/|^[\w.-]+$/.test(file)) continue;
    if (fs.existsSync(path.join(repository, file))) fs.cpSync(path.join(repository, file), at(file));
  }
  fs.symlinkSync(path.join(repository, 'node_modules'), at('node_modules'));
  const address = `localhost:${await freePort(0)}`;
  client = createClient({ address });
  const { PATH, HOME } = process.env;
  const addresses = { GRPC_ADDRESS: address, HTTP_ADDRESS: `localhost:${await freePort(0)}` };
  dev = spawn('npm', ['run', 'dev'], {
    cwd: root,
    env: { PATH: `${at('node_modules/.bin')}:${PATH}`, HOME, DATA_DIR: at('data'), NO_COLOR: '1', ...addresses },
    // A process group of its own, which the test interrupts as Ctrl-C does.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [dev.stdout, dev.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  await vi.waitFor(() => expect(output).toMatch(/ROSTER ready in/), patient);
});

afterAll(async () => {
  client?.close();
  if (dev?.exitCode === null) {
    dev.kill('SIGTERM');
    // npm ends at once, and its script within a second after that.
    await vi.waitFor(() => expect(fs.existsSync(at('data/pgdata/postmaster.pid'))).toBe(false), patient);
  }
  fs.rmSync(root, { recursive: true, force: true });
});

describe('npm run dev', () => {
  it('serves changed code after a change in src, with the same Postgres', async () => {
    const pid = postgresPid();
    expect(await refusal()).toBe('The user does not exist.');
    change('src/model/fault.ts', 'The user does not exist.', 'There is no such user.');
    await expect.poll(refusal, patient).toBe('There is no such user.');
    expect(postgresPid()).toBe(pid);
  });

  it('shows an error, continues with the code before it, and serves the next change', async () => {
    const from = output.length;
    change('src/model/fault.ts', "'There is no such user.'", 'nobody');
    await expect
      .poll(() => output.slice(from), patient)
      .toMatch(/src\/model\/fault\.ts.*TS2304[\s\S]*Waiting for a change/);
    expect(await refusal()).toBe('There is no such user.');
    change('src/model/fault.ts', "'USER_NOT_FOUND', nobody", "'USER_NOT_FOUND', 'Nobody has this id.'");
    await expect.poll(refusal, patient).toBe('Nobody has this id.');
  });

  it('says that the server does not start, and starts it after the next change', async () => {
    const from = output.length;
    const broken = "throw new Error('This server is broken.');\n";
    fs.appendFileSync(at('src/app.ts'), broken);
    await expect.poll(() => output.slice(from), patient).toMatch(/This server is broken[\s\S]*The server has exited/);
    change('src/app.ts', broken, '');
    await expect.poll(refusal, patient).toBe('Nobody has this id.');
  });

  it('applies a change even if the process that waits for the next start has ended', async () => {
    const waiting = await vi.waitUntil(() => serverPids().toSorted((a, b) => a - b)[1], patient);
    process.kill(waiting, 'SIGKILL');
    await expect.poll(serverPids, patient).not.toContain(waiting);
    change('src/model/fault.ts', 'Nobody has this id.', 'The user is unknown.');
    await expect.poll(refusal, patient).toBe('The user is unknown.');
    change('src/model/fault.ts', 'The user is unknown.', 'Nobody has this id.');
    await expect.poll(refusal, patient).toBe('Nobody has this id.');
  });

  it('generates code after a change in proto, and shows its errors', async () => {
    const file = 'proto/users/v1/user.proto';
    const from = output.length;
    fs.appendFileSync(at(file), '\n// A test.\nmessage {\n');
    await expect.poll(() => output.slice(from), patient).toMatch(/user\.proto:\d+[\s\S]*The contract has errors/);
    change(file, 'message {\n', 'message Nickname {\n  string text = 1;\n}\n');
    const generated = () => fs.readFileSync(at('generated/users/v1/user.ts'), 'utf8');
    await expect.poll(generated, patient).toContain('export interface Nickname {');
    const compiled = () => fs.readFileSync(at('.roster/dev/generated/users/v1/user.js'), 'utf8');
    await expect.poll(compiled, patient).toContain('Nickname');
    await expect.poll(refusal, patient).toBe('Nobody has this id.');
  });

  it.skipIf(browserMissing !== undefined)('changes the page in the browser without a reload', async () => {
    await using browser = await startBrowser();
    const [, address = ''] = /(http:\/\/localhost:\d+\/) {2}with hot reload/.exec(output) ?? [];
    const { page } = await browser.open(address);
    // The server may be starting again, with the code of the test before.
    const user = { firstName: 'Ada', lastName: 'Lovelace', email: 'ada@example.com' };
    // A create that was interrupted, or an earlier attempt of this test, may have succeeded.
    const create = () => client.createUser({ user }).catch((error) => expect(error.code).toBe('ALREADY_EXISTS'));
    await vi.waitFor(create, patient);
    // From the server, through Vite.
    await page.locator('[data-id]', { hasText: 'Ada Lovelace' }).waitFor(patient);
    const search = page.getByRole('searchbox', { name: 'Search' });
    await search.fill('love');
    let loads = 0;
    page.on('load', () => loads++);
    change('web/header.tsx', /^( +)Users$/m, '$1Persons');
    await page.getByRole('button', { name: 'Persons' }).waitFor(patient);
    change('web/styles/base.css', /^/, 'h1 { letter-spacing: 7px !important; }\n');
    const spacing = () => page.locator('h1').evaluate((heading) => getComputedStyle(heading).letterSpacing);
    await expect.poll(spacing, patient).toBe('7px');
    expect(await search.inputValue()).toBe('love');
    expect(loads).toBe(0);
    change('web/header.tsx', 'Persons', 'Perso<ns');
    onTestFinished(() => change('web/header.tsx', 'Perso<ns', 'Persons'));
    const overlay = page.locator('vite-error-overlay');
    await vi.waitFor(async () => {
      // On a busy machine, Vite may miss one of several changes of a file in quick succession.
      fs.writeFileSync(at('web/header.tsx'), fs.readFileSync(at('web/header.tsx')));
      await overlay.waitFor({ timeout: 5_000, state: 'attached' });
    }, patient);
  });

  it('stops the server, Vite and Postgres on Ctrl-C', async () => {
    process.kill(-(dev.pid ?? 0), 'SIGINT');
    await expect.poll(() => dev.exitCode ?? dev.signalCode, patient).not.toBeNull();
    await expect.poll(() => fs.existsSync(at('data/pgdata/postmaster.pid')), patient).toBe(false);
    const { stdout } = spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(stdout.split('\n').filter((line) => line.includes(root))).toEqual([]);
    expect(await refusal()).toMatch(/ECONNREFUSED|refused|[Cc]annot connect/);
  });
});
