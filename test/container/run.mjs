/**
 * Builds the image, starts docker-compose.yml and uses it from outside, through the published ports. Kills its containers,
 * takes it down and up, and serves TLS with client certificates.
 *
 * Everything has a name and ports of its own, and is removed at the end, also after Ctrl-C. Exits with 77 and the reason if
 * no container engine can run here.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../dist/src/client/index.js';
import { findEngine, Skipped } from './engine.mjs';
import { writeTlsFiles } from './tls-files.mjs';

const root = resolve(import.meta.dirname, '../..');
const megabytesMax = 40;
const waitMsMax = 120_000;
const password = `p@/%#:?& "$x'`;

const work = mkdtempSync(join(tmpdir(), 'roster-container-'));
const [grpcPort, httpPort, postgresPort, tlsPort, gatewayPort] = await freePorts(5);
const address = `localhost:${grpcPort}`;
const http = `http://localhost:${httpPort}`;
const env = {
  ...process.env,
  COMPOSE_PROJECT_NAME: `roster-check-${process.pid}`,
  GRPC_PORT: String(grpcPort),
  HTTP_PORT: String(httpPort),
  POSTGRES_PORT: String(postgresPort),
  POSTGRES_PASSWORD: password,
  ROSTER_ENV_FILE: join(root, 'roster.env'),
};
let composeFiles = ['docker-compose.yml'];
let composeCommand = ['docker-compose'];
let isStopping = false;

/** Returns the standard output. Throws with both outputs if the command fails. */
function run(command, ...args) {
  const { status, signal, stdout, stderr } = spawnSync(command, args, { cwd: root, env, encoding: 'utf8' });
  // Ctrl-C also ends the running command.
  if (isStopping) throw new Error('interrupted');
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${signal ?? status}\n${stdout}${stderr}`);
  return stdout.trim();
}
const docker = (...args) => run('docker', ...args);
const compose = (...args) => {
  const [command, ...first] = composeCommand;
  return run(command, ...first, ...composeFiles.flatMap((file) => ['-f', file]), ...args);
};
const containerOf = (service) => compose('ps', '-q', service);
const inspect = (id, format) => docker('inspect', '--format', format, id);
const roster = (...args) => docker('exec', containerOf('roster'), 'roster', ...args);

async function poll(what, condition) {
  const end = Date.now() + waitMsMax;
  while (!(await condition())) {
    if (isStopping) throw new Error('interrupted');
    assert(Date.now() < end, `${what}: not within ${waitMsMax / 1000} s\n${compose('logs', '--tail', '20')}`);
    await sleep(200);
  }
}

/** Does not wait for Docker's next check, and does not accept its last one. */
const isHealthy = (service) =>
  spawnSync('docker', ['exec', containerOf(service), 'healthcheck'], { env, encoding: 'utf8' }).status === 0;
const healthy = (service) => poll(`${service} is healthy`, () => isHealthy(service));

async function withClient(options, use) {
  const client = createClient(options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
const exists = (email) =>
  withClient({ address }, async (client) => (await client.getUserByEmail({ email })).user?.email);
const create = (firstName) =>
  withClient({ address }, (client) =>
    client.createUser({ user: { firstName, email: `${firstName.toLowerCase()}@example.com` } }),
  );

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
      return server;
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}

function checkImage(image) {
  const base = env.NODE_IMAGE ?? 'node:24-slim';
  const megabytes = (Number(inspect(image, '{{.Size}}')) - Number(inspect(base, '{{.Size}}'))) / 1e6;
  assert(megabytes <= megabytesMax, `Roster adds ${megabytes} MB to the image of Node.`);
  const program = `
    const { readFileSync, readdirSync } = require('node:fs');
    const listed = JSON.parse(readFileSync('sbom.cdx.json', 'utf8')).components.map(({ purl }) => purl);
    const files = readdirSync('node_modules', { recursive: true }).filter((file) => /(^|node_modules\\/)(@[^/]+\\/)?[^/]+\\/package.json$/.test(file));
    const installed = files.map((file) => JSON.parse(readFileSync('node_modules/' + file, 'utf8')));
    console.log(JSON.stringify(installed.filter(({ name, version }) => name !== undefined && version !== undefined && !listed.includes('pkg:npm/' + name.replace('@', '%40') + '@' + version)).map(({ name }) => name)));`;
  const unlisted = docker('run', '--rm', '--entrypoint', 'node', image, '-e', program);
  assert.equal(unlisted, '[]', 'sbom.cdx.json does not list all packages of the image');
  return megabytes.toFixed(1);
}

function checkRefusal(image) {
  const { status, stderr } = spawnSync('docker', ['run', '--rm', image], { env, encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /GRPC_ADDRESS is not a loopback address.*set TLS_CERT and TLS_KEY, or INSECURE=true/);
}

function checkConfinement() {
  const confined = `grep -q '^CapEff:\t0*$' /proc/1/status && grep -q '^NoNewPrivs:\t1$' /proc/1/status && ! touch /new 2>&1`;
  for (const service of ['roster', 'postgres']) docker('exec', containerOf(service), 'sh', '-c', confined);
  assert.equal(docker('exec', containerOf('roster'), 'id', '-un'), 'node');
  const superuser = `select rolsuper from pg_roles where rolname = 'roster'`;
  assert.equal(docker('exec', containerOf('postgres'), 'psql', '-U', 'postgres', '-Atc', superuser), 'f');
}

async function checkCalls() {
  await create('Ada');
  assert.equal(await exists('ada@example.com'), 'ada@example.com');
  const page = await fetch(`${http}/`);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  const script = /src="([^"]+\.js)"/.exec(await page.text())?.[1];
  assert.equal((await fetch(new URL(script ?? 'no script', `${http}/`))).status, 200);
  for (const path of ['/readyz', '/metrics', '/openapi.json'])
    assert.equal((await fetch(http + path)).status, 200, path);
  const answer = await fetch(`${http}/users.v1.UserService/GetUserByEmail`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"email": "ada@example.com"}',
  });
  assert.equal((await answer.json()).user.firstName, 'Ada');
  // Through reflection.
  const url = `http://${address}/users.v1.UserService/GetUserByEmail`;
  const buf = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '-d', '{"email": "ada@example.com"}', url];
  assert.match(run(join(root, 'node_modules/.bin/buf'), ...buf), /"firstName": *"Ada"/);
  assert.match(roster('list', '--query', 'ada'), /ada@example\.com/);
  assert.match(roster('migrate', 'status'), / 0 pending/);
}

/** Every file of the program can be loaded, so nothing that it needs was left out. */
function checkModules() {
  const program = `
    const { readdirSync } = require('node:fs');
    const files = readdirSync('dist/src', { recursive: true }).filter((file) => file.endsWith('.js') && !/^(main|workers\\/worker)\\.js$/.test(file));
    (async () => { for (const file of files) await import('/roster/dist/src/' + file); console.log(files.length); process.exit(); })();`;
  assert(Number(docker('exec', containerOf('roster'), 'node', '-e', program)) > 100);
}

function checkContract() {
  const database = `postgres://roster:${encodeURIComponent(password)}@localhost:${postgresPort}/roster`;
  const node = join(root, 'node_modules/.bin/node');
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', 'test/contract'];
  const { status, stdout, stderr } = spawnSync(node, args, {
    cwd: root,
    env: { ...env, DATABASE_URL: database },
    encoding: 'utf8',
  });
  assert.equal(status, 0, `${stdout.slice(-3000)}${stderr.slice(-3000)}`);
}

/** Kills a container's first process from outside, because Docker does not restart what `docker kill` has ended. */
async function killAndWait(image, service) {
  const id = containerOf(service);
  const [pid, restarts] = inspect(id, '{{.State.Pid}} {{.RestartCount}}').split(' ');
  const kill = ['-e', `process.kill(${pid}, 'SIGKILL')`];
  docker('run', '--rm', '--pid=host', '--user=0', '--entrypoint=node', image, ...kill);
  await poll(`${service} restarts`, () => Number(inspect(id, '{{.RestartCount}}')) > Number(restarts));
  await poll(`${service} runs`, () => inspect(id, '{{.State.Running}}') === 'true');
}

/** Docker's own verdict, which follows from several checks. */
const verdict = (service, expected) =>
  poll(`${service} is ${expected}`, () => inspect(containerOf(service), '{{.State.Health.Status}}') === expected);

function checkStop() {
  const id = containerOf('roster');
  docker('stop', '--time', '30', id);
  assert.equal(inspect(id, '{{.State.ExitCode}}'), '0');
  assert.match(docker('logs', '--tail', '1', id), /"msg":"stopped"/);
}

async function checkTls() {
  const files = writeTlsFiles(work, { tlsPort, gatewayPort });
  env.ROSTER_ENV_FILE = files.envFile;
  composeFiles = ['docker-compose.yml', files.composeFile];
  compose('up', '-d');
  for (const service of ['roster', 'gateway']) await verdict(service, 'healthy');
  assert.equal(roster('--version'), '0.1.0');
  const [ca, cert, key] = [files.ca, files.cert, files.key].map((file) => readFileSync(file));
  const email = 'ada@example.com';
  await withClient({ address: `localhost:${tlsPort}`, tls: { ca, cert, key } }, (client) =>
    client.getUserByEmail({ email }),
  );
  await withClient({ address: `localhost:${tlsPort}`, tls: { ca }, attemptsMax: 1 }, (client) =>
    assert.rejects(client.getUserByEmail({ email }), { code: 'UNAVAILABLE' }),
  );
  const answer = await fetch(`http://localhost:${gatewayPort}/users.v1.UserService/GetUserByEmail`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email }),
  });
  assert.equal((await answer.json()).user.email, email);
  compose('stop', 'roster');
  await poll('the gateway is not healthy without its target', () => !isHealthy('gateway'));
}

async function step(name, check) {
  const start = Date.now();
  const detail = await check();
  console.log(
    `${name}${typeof detail === 'string' ? ` (${detail})` : ''}: ${((Date.now() - start) / 1000).toFixed(1)} s`,
  );
}

async function checkAll() {
  if (spawnSync('docker', ['compose', 'version']).status === 0) composeCommand = ['docker', 'compose'];
  await step(
    'the profile with Prometheus and Grafana is valid',
    () => void compose('--profile', 'full', 'config', '--quiet'),
  );
  await step('build', () => void compose('build', '--quiet'));
  await step('up', async () => {
    compose('up', '-d');
    await healthy('roster');
  });
  const image = inspect(containerOf('roster'), '{{.Image}}');
  await step('the image is small, and its list of packages is complete', () => `${checkImage(image)} MB`);
  await step('without TLS and INSECURE, it says what to set', () => checkRefusal(image));
  await step('no capabilities, a read-only root, and a role that is not a superuser', checkConfinement);
  await step('calls through the published ports', checkCalls);
  await step('nothing that the program needs was left out', checkModules);
  await step('the contract suite with the Postgres of compose', checkContract);
  for (const service of ['roster', 'postgres']) {
    await step(`${service} is killed and comes back`, async () => {
      await killAndWait(image, service);
      await healthy('roster');
      assert.equal(await exists('ada@example.com'), 'ada@example.com');
      await create(service === 'roster' ? 'Grace' : 'Alan');
    });
  }
  await step('down and up keeps the users', async () => {
    compose('down');
    compose('up', '-d');
    await healthy('roster');
    for (const name of ['ada', 'grace', 'alan']) await exists(`${name}@example.com`);
  });
  await step('SIGTERM ends it with 0', checkStop);
  await step('TLS with client certificates, two workers, another port, and a gateway', checkTls);
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    isStopping = true;
  });
}
let stopEngine = () => {};
try {
  stopEngine = findEngine();
  Object.assign(env, { DOCKER_HOST: process.env.DOCKER_HOST });
  await checkAll();
} catch (error) {
  console.error(error instanceof Skipped ? `skipped: ${error.message}` : error);
  process.exitCode = error instanceof Skipped ? 77 : 1;
} finally {
  if (process.exitCode !== 77) {
    isStopping = false;
    const [command, ...first] = composeCommand;
    const files = composeFiles.flatMap((file) => ['-f', file]);
    const down = ['down', '--volumes', '--rmi', 'local', '--timeout', '5', '--remove-orphans'];
    spawnSync(command, [...first, ...files, ...down], { cwd: root, env });
  }
  stopEngine();
  rmSync(work, { recursive: true, force: true });
}
