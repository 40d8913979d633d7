/**
 * Takes screenshots of the page for docs/images, from a separate Roster that has a million users. It needs Chromium, and
 * takes minutes. Run it after `npm run build`: `npx node scripts/page-images.mjs`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { chromiumFlags, chromiumPath } from '../dist/bench/chromium.js';
import { createClient } from '../dist/src/client/index.js';

const usersMax = 1_000_000;
/** Long enough for the charts to show curves. */
const metricsMs = 25_000;

const root = path.resolve(import.meta.dirname, '..');
const folder = fs.mkdtempSync(path.join(tmpdir(), 'roster-images-'));
// For root, Postgres runs as another account, which must be able to enter the folder.
fs.chmodSync(folder, 0o711);

const roster = spawn(process.execPath, [path.join(root, 'dist/src/main.js'), 'serve'], {
  env: {
    ...process.env,
    DATA_DIR: path.join(folder, 'data'),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
  },
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  const { address, http } = await listening();
  const client = createClient({ address });
  console.log(`Importing ${usersMax} users …`);
  await client.importAllUsers(users());
  await takeImages(client, `http://${http}/`);
  client.close();
} finally {
  roster.kill();
  if (roster.exitCode === null) await once(roster, 'exit');
  fs.rmSync(folder, { recursive: true, force: true });
}

async function listening() {
  for await (const line of createInterface({ input: roster.stdout })) {
    const entry = JSON.parse(line);
    if (entry.msg !== 'listening') continue;
    roster.stdout.resume();
    return entry;
  }
  throw new Error('Roster has not started.');
}

function* users() {
  const firstNames = 'Ada Linus Donald Bjarne Katherine James Hedy Grace Dennis Frances Guido Dorothy Rob'.split(' ');
  const lastNames =
    'Lovelace Liskov Turing Vaughan Lamarr Torvalds Kernighan Matsumoto Dahl Silva Schmidt Dijkstra Allen'.split(' ');
  const teams = ['ops', 'dev', 'sales', 'legal', 'people'];
  for (let number = 0; number < usersMax; number++) {
    const firstName = firstNames[number % firstNames.length];
    const lastName = lastNames[(number + Math.floor(number / firstNames.length)) % lastNames.length];
    const email = `${firstName}.${lastName}${number}@example.com`.toLowerCase();
    yield { firstName, lastName, email, attributes: { level: number % 10, team: teams[number % teams.length] } };
  }
}

async function takeImages(client, url) {
  const browser = await chromium.launch({
    executablePath: chromiumPath,
    args: chromiumFlags,
  });
  try {
    const list = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await list.goto(url);
    await list.locator('.total', { hasText: `${usersMax.toLocaleString('en')} users` }).waitFor();
    await list.getByText('Live', { exact: true }).waitFor();
    await list.screenshot({ path: path.join(root, 'docs/images/page-light.png') });
    await list.close();

    const metrics = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'dark' });
    await metrics.goto(`${url}#view=metrics`);
    await callForAWhile(client);
    await metrics.screenshot({ path: path.join(root, 'docs/images/page-metrics-dark.png') });
  } finally {
    await browser.close();
  }
}

/** Creates and reads users, several at a time, as some clients would. */
async function callForAWhile(client) {
  const endMs = Date.now() + metricsMs;
  for (let round = 1; Date.now() < endMs; round++) {
    const numbers = Array.from({ length: 1 + (round % 5) }, (_, index) => 10 * round + index);
    await Promise.all([
      ...numbers.map((number) => client.createUser({ user: { firstName: 'New', email: `new${number}@example.com` } })),
      ...numbers.map((number) => client.getUserByEmail({ email: `ada.lovelace${number * 169}@example.com` })),
    ]);
    await sleep(100);
  }
}
