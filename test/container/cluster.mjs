/**
 * Builds and starts deploy/cluster/docker-compose.yml, creates users through its three replicas of Roster, and kills the
 * container of the primary. All users must still exist, and the container must return as a standby.
 *
 * Everything has a name and ports of its own, and is removed at the end, also after Ctrl-C. Exits with 77 and the reason if
 * no container engine can run here.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createClient } from '../../dist/src/client/index.js';
import { findEngine, Skipped } from './engine.mjs';

const root = resolve(import.meta.dirname, '../..');
const file = join(root, 'deploy', 'cluster', 'docker-compose.yml');
const waitMsMax = 180_000;
const nodes = ['postgres1', 'postgres2', 'postgres3'];
// Below the ports that the system gives to connections.
const port = randomInt(20_000, 30_000);
const addresses = [port, port + 1, port + 2].map((one) => `localhost:${one}`);
const requestIds = {};
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());

const succeeds = (...args) => spawnSync(args[0], args.slice(1)).status === 0;
const standinImage = 'debian-standin:bookworm';

function settings() {
  return {
    ...process.env,
    COMPOSE_PROJECT_NAME: `roster-cluster-check-${process.pid}`,
    CLUSTER_IMAGE: `roster-cluster-check-${process.pid}`,
    ROSTER_IMAGE: `roster-check-${process.pid}`,
    ...(succeeds('docker', 'image', 'inspect', standinImage) && { DEBIAN_IMAGE: standinImage }),
    // With all characters that files and URLs escape.
    POSTGRES_PASSWORD: `p@/%#:?& "x'`,
    GRPC_PORT_1: String(port),
    GRPC_PORT_2: String(port + 1),
    GRPC_PORT_3: String(port + 2),
    HTTP_PORT: String(port + 3),
  };
}

/** Resolves with the standard output. */
async function run(command, ...args) {
  const options = { env: settings(), maxBuffer: 1e8, signal: stop.signal };
  return (await promisify(execFile)(command, args, options)).stdout.trim();
}

const composeCommand = succeeds('docker', 'compose', 'version') ? ['docker', 'compose'] : ['docker-compose'];
const compose = (...args) => run(composeCommand[0], ...composeCommand.slice(1), '-f', file, ...args);

async function poll(what, attempt) {
  const end = Date.now() + waitMsMax;
  let reason;
  while (Date.now() < end) {
    try {
      const value = await attempt();
      if (value) return value;
    } catch (error) {
      stop.signal.throwIfAborted();
      reason = error;
    }
    await sleep(300, undefined, { signal: stop.signal });
  }
  throw new Error(`${what}: not within ${waitMsMax / 1000} s\n${await compose('logs', '--tail', '20')}`, {
    cause: reason,
  });
}

const patronictl = (...args) => ['patronictl', '-c', '/etc/roster-cluster/patroni.yml', ...args];

/** The members by name, as one of the running nodes sees them. */
async function members() {
  for (const node of nodes) {
    const listed = await compose('exec', '-T', node, ...patronictl('list', '-f', 'json')).catch(() => undefined);
    if (listed) return JSON.parse(listed);
  }
  return [];
}

async function completeCluster() {
  const listed = await members();
  const roles = listed.filter(({ State }) => /running|streaming/.test(State)).map(({ Role }) => Role);
  const isComplete = roles.length === 3 && roles.includes('Leader') && roles.includes('Sync Standby');
  return isComplete && listed;
}

/** May be repeated after a failure. */
async function createUser(client, name) {
  requestIds[name] ??= randomUUID();
  const user = { firstName: name, email: `${name.toLowerCase()}@example.com` };
  return client.createUser({ user, requestId: requestIds[name] }, { deadlineMs: 2_000 });
}

async function checkFailover(client) {
  const leader = (await members()).find(({ Role }) => Role === 'Leader').Member;
  const startMs = Date.now();
  await run('docker', 'kill', await compose('ps', '-q', leader));
  await poll('writes resume', () => createUser(client, 'Bob'));
  const seconds = ((Date.now() - startMs) / 1000).toFixed(1);
  await run('docker', 'start', await compose('ps', '-a', '-q', leader));
  const listed = await poll('the killed node is a standby', completeCluster);
  assert.notEqual(listed.find(({ Member }) => Member === leader).Role, 'Leader');
  return seconds;
}

async function main() {
  const stopEngine = findEngine();
  try {
    await compose('up', '-d', '--build');
    using client = createClient({ address: addresses });
    await poll('three Postgres replicate', completeCluster);
    await poll('a user can be created', () => createUser(client, 'Ada'));
    // Each replica serves the same users.
    for (const address of addresses) {
      using own = createClient({ address });
      await poll(`${address} serves`, () => own.getUserByEmail({ email: 'ada@example.com' }));
    }
    console.log(await compose('exec', '-T', 'postgres1', ...patronictl('list')));
    console.log(`After the primary's container was killed, writes resumed within ${await checkFailover(client)} s.`);
    for (const name of ['ada', 'bob']) await client.getUserByEmail({ email: `${name}@example.com` });
    console.log(await compose('exec', '-T', 'postgres1', ...patronictl('list')));
  } finally {
    const down = ['-f', file, 'down', '--volumes', '--rmi', 'all'];
    spawnSync(composeCommand[0], [...composeCommand.slice(1), ...down], { env: settings(), stdio: 'ignore' });
    stopEngine();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Skipped)) throw error;
  console.log(`skipped: ${error.message}`);
  process.exitCode = 77;
}
