/** Starts a Roster that requires credentials, and other programs, for the checks in this folder. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createKey } from '../../scripts/create-key.mjs';

export const root = resolve(import.meta.dirname, '../..');
export const proto = join(root, 'proto');
const programs = join(root, 'node_modules/.bin');

/** Compiles Roster if needed, and calls `use` with a folder that is deleted afterwards. */
export async function withFolder(use) {
  execFileSync(process.execPath, ['scripts/setup.mjs'], { cwd: root, stdio: 'inherit' });
  const folder = mkdtempSync(join(tmpdir(), 'roster-clients-'));
  // For root, Postgres and nginx run as other accounts, which must be able to enter the folder.
  chmodSync(folder, 0o711);
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program, prints its output, and returns it. Throws if the program fails. */
export async function run([program, ...args], { cwd, timeout, isQuiet = false, settings = {} }) {
  const PATH = [programs, process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH, ...settings };
  const child = spawn(program, args, { cwd, env, timeout, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    if (!isQuiet) process.stdout.write(text);
    output += text;
  });
  const [code, signal] = await once(child, 'close');
  assert.equal(code, 0, `${program} ended with ${signal ?? code}. ${isQuiet ? output : ''}`);
  return output;
}

export async function startRoster(folder, settings = {}) {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    ...(process.env.HTTP2_SERVER && { HTTP2_SERVER: process.env.HTTP2_SERVER }),
    DATA_DIR: join(folder, 'data'),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    AUTH: 'on',
    ...settings,
  };
  const child = spawn(process.execPath, ['dist/src/main.js', 'serve'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const firstLines = [];
  let onLine = () => {};
  /** Resolves with the next log line that has the message. */
  const logged = (message) =>
    new Promise((resolve) => {
      onLine = (line) => {
        if (line.msg === message) resolve(line);
      };
    });
  createInterface(child.stdout).on('line', (line) => {
    if (firstLines.length < 20) firstLines.push(line);
    onLine(JSON.parse(line));
  });
  const listening = await Promise.race([logged('listening'), exited]);
  assert.ok(listening.address, `Roster did not start.\n${firstLines.join('\n')}`);
  return {
    address: listening.address,
    logged,
    createToken: () => createKey(env, 'writer', 'bulk'),
    /** Sends a signal to the server. */
    signal: (name) => child.kill(name),
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
