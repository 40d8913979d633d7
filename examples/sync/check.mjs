/** Follows Roster, changes a user, finds the change in the index, and resumes after a kill. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@roster-directory/client';

const here = import.meta.dirname;
const folder = mkdtempSync(join(tmpdir(), 'roster-sync-'));
const env = { ...process.env, INDEX_FILE: join(folder, 'users.db') };
const search = (...words) => execFileSync(process.execPath, ['search.ts', ...words], { cwd: here, env }).toString();

// Waits without a timeout of its own, because the runner has one.
async function until(isSo) {
  while (!isSo()) await sleep(100);
}

let running;
async function startInSync() {
  running = spawn(process.execPath, ['sync.ts'], { cwd: here, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  running.stdout.on('data', (text) => {
    process.stdout.write(text);
    output += text;
  });
  await until(() => output.includes('In sync') || running.exitCode !== null);
  assert.equal(running.exitCode, null, 'sync.ts has exited.');
  return output;
}

try {
  using client = createClient({
    address: process.env.ROSTER_ADDRESS ?? 'localhost:50051',
    token: process.env.ROSTER_TOKEN,
  });
  // Uses a unique name because others use the same Roster.
  const tag = `sync${Date.now()}`;
  const email = `${tag}@example.com`;
  const { user } = await client.createUser({ user: { firstName: 'Zoë', lastName: 'Ångström', email } });
  assert.match(await startInSync(), /^Reading all users first\./);
  assert.equal(search(tag, 'angs'), `${user.id} Zoë Ångström ${email}\n`);

  await client.updateUser({ user: { id: user.id, lastName: 'King' } });
  await until(() => search(tag, 'king') !== '');
  running.kill('SIGKILL');
  await once(running, 'exit');

  await client.deleteUser({ id: user.id });
  assert.match(await startInSync(), /^Resuming with/);
  await until(() => search(tag) === '');
} finally {
  running?.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
