/**
 * Builds the image, starts docker-compose.yml and uses it from outside, through the published ports. Kills its containers,
 * takes it down and up, requires credentials, and serves TLS with client certificates.
 *
 * Everything has a name and ports of its own, and is removed at the end, also after Ctrl-C. Exits with 77 and the reason if
 * no container engine can run here.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const stop = new AbortController();

/** Resolves with the standard output. Rejects with both outputs if the command fails, and ends it after Ctrl-C. */
async function run(command, ...args) {
  const { status, stdout, stderr } = await start(command, args);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${status}\n${stdout.slice(-3000)}${stderr.slice(-3000)}`);
  return stdout.trim();
}

/** Does not block, because this process must also close its connections meanwhile. */
function start(command, args, { settings = {}, signal = stop.signal } = {}) {
  return new Promise((resolve, reject) => {
    const options = { cwd: root, env: { ...env, ...settings }, maxBuffer: 1e8, signal };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error?.name === 'AbortError') reject(error);
      else resolve({ status: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

const docker = (...args) => run('docker', ...args);
const composeArgs = (args) => [...composeCommand.slice(1), ...composeFiles.flatMap((file) => ['-f', file]), ...args];
const compose = (...args) => run(composeCommand[0], ...composeArgs(args));
const containerOf = (service) => compose('ps', '-q', service);
const inspect = (id, format) => docker('inspect', '--format', format, id);
const exec = async (service, ...command) => docker('exec', await containerOf(service), ...command);

async function poll(what, condition) {
  const end = Date.now() + waitMsMax;
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${waitMsMax / 1000} s\n${await compose('logs', '--tail', '20')}`);
    }
    await sleep(200, undefined, { signal: stop.signal });
  }
}

/** Does not wait for Docker's next check, and does not accept its last one. */
async function isHealthy(service) {
  return (await start('docker', ['exec', await containerOf(service), 'healthcheck'])).status === 0;
}
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

/** Below the ports that the system gives to connections and to port 0, because the image is built before they are used. */
async function freePorts(count) {
  const ports = new Set();
  while (ports.size < count) {
    const port = randomInt(20_000, 30_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** The size of what Roster adds to the image of Node, and whether the list of packages is complete. */
async function checkImage(image) {
  const sizes = [image, env.NODE_IMAGE ?? 'node:24-slim'].map((name) => inspect(name, '{{.Size}}'));
  const [whole, base] = (await Promise.all(sizes)).map(Number);
  const megabytes = (whole - base) / 1e6;
  assert(megabytes <= megabytesMax, `Roster adds ${megabytes} MB to the image of Node.`);
  const program = `
    const { readFileSync, readdirSync } = require('node:fs');
    const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
    const listed = read('sbom.cdx.json').components.map(({ purl }) => purl);
    const isPackage = (file) => /(?:^|node_modules\\/)(?:@[^/]+\\/)?[^/]+\\/package.json$/.test(file);
    const installed = readdirSync('node_modules', { recursive: true }).filter(isPackage).map((file) => read('node_modules/' + file));
    const purls = installed.filter(({ version }) => version).map(({ name, version }) => 'pkg:npm/' + name.replace('@', '%40') + '@' + version);
    console.log(purls.filter((purl) => !listed.includes(purl)).join());`;
  const unlisted = await docker('run', '--rm', '--entrypoint', 'node', image, '-e', program);
  assert.equal(unlisted, '', 'sbom.cdx.json does not list all packages of the image');
  return `${megabytes.toFixed(1)} MB`;
}

/** Start failures are lines of the log, because the log is JSON in a container. */
async function checkRefusal(image) {
  const refusal = async (...options) => {
    const { status, stdout } = await start('docker', ['run', '--rm', ...options, image]);
    const lines = stdout.trim().split('\n');
    return { status, text: lines.map((line) => JSON.parse(line).msg).join('\n') };
  };
  const withoutTls = await refusal();
  assert.equal(withoutTls.status, 2);
  assert.match(withoutTls.text, /GRPC_ADDRESS is not a loopback address.*set TLS_CERT and TLS_KEY, or INSECURE=true/);
  const withoutDatabase = await refusal('--env', 'INSECURE=true');
  assert.equal(withoutDatabase.status, 1);
  assert.match(withoutDatabase.text, /The embedded Postgres .* is not installed\. Set DATABASE_URL/);
}

async function checkConfinement() {
  const confined = `grep -q '^CapEff:\t0*$' /proc/1/status && grep -q '^NoNewPrivs:\t1$' /proc/1/status && ! touch /new 2>&1`;
  for (const service of ['roster', 'postgres']) await exec(service, 'sh', '-c', confined);
  assert.equal(await exec('roster', 'id', '-un'), 'node');
  const superuser = `select rolsuper from pg_roles where rolname = 'roster'`;
  assert.equal(await exec('postgres', 'psql', '-U', 'postgres', '-Atc', superuser), 'f');
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
  assert.match(await run(join(root, 'node_modules/.bin/buf'), ...buf), /"firstName": *"Ada"/);
  assert.match(await exec('roster', 'roster', 'list', '--query', 'ada'), /ada@example\.com/);
  assert.match(await exec('roster', 'roster', 'migrate', 'status'), / 0 pending/);
}

/** Every file of the program can be loaded, so nothing that it needs was left out. */
async function checkModules() {
  const program = `
    const { readdirSync } = require('node:fs');
    const files = readdirSync('dist/src', { recursive: true }).filter((file) => file.endsWith('.js') && !/^(main|workers\\/worker)\\.js$/.test(file));
    (async () => { for (const file of files) await import('/roster/dist/src/' + file); console.log(files.length); process.exit(); })();`;
  assert(Number(await exec('roster', 'node', '-e', program)) > 100);
}

async function checkContract() {
  const url = `postgres://roster:${encodeURIComponent(password)}@localhost:${postgresPort}/roster`;
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--project', 'roster', 'test/contract'];
  const settings = { DATABASE_URL: url };
  const { status, stdout, stderr } = await start(join(root, 'node_modules/.bin/node'), args, { settings });
  assert.equal(status, 0, `${stdout.slice(-3000)}${stderr.slice(-3000)}`);
}

/** Kills a container's first process from outside, because Docker does not restart what `docker kill` has ended. */
async function killAndWait(image, service) {
  const id = await containerOf(service);
  const [pid, restarts] = (await inspect(id, '{{.State.Pid}} {{.RestartCount}}')).split(' ');
  const kill = ['-e', `process.kill(${pid}, 'SIGKILL')`];
  await docker('run', '--rm', '--pid=host', '--user=0', '--entrypoint=node', image, ...kill);
  await poll(`${service} restarts`, async () => (await inspect(id, '{{.RestartCount}}')) !== restarts);
  await poll(`${service} runs`, async () => (await inspect(id, '{{.State.Running}}')) === 'true');
}

/** Docker's own verdict, which follows from several checks. */
async function verdict(service, expected) {
  const id = await containerOf(service);
  const isExpected = async () => (await inspect(id, '{{.State.Health.Status}}')) === expected;
  await poll(`${service} is ${expected}`, isExpected);
}

async function checkStop() {
  const id = await containerOf('roster');
  await docker('stop', '-t', '30', id);
  assert.equal(await inspect(id, '{{.State.ExitCode}}'), '0');
  assert.match(await docker('logs', '--tail', '1', id), /"msg":"stopped"/);
}

/** As roster.env describes it. The container's own check needs no credentials. */
async function checkCredentials() {
  const settings = join(work, 'credentials.env');
  const { ROSTER_ENV_FILE: before } = env;
  const lines = readFileSync(before, 'utf8').match(/^# (?:AUTH|OPEN_ENDPOINTS)=.*$/gm) ?? [];
  assert.equal(lines.length, 2);
  writeFileSync(settings, lines.map((line) => `${line.slice(2)}\n`).join(''));
  env.ROSTER_ENV_FILE = settings;
  await compose('up', '-d');
  await healthy('roster');
  const token = await exec('roster', 'roster', 'key', 'create', '--name', 'check', '--role', 'reader');
  const email = 'ada@example.com';
  await withClient({ address, token }, (client) => client.getUserByEmail({ email }));
  await withClient({ address, token }, (client) =>
    assert.rejects(client.deleteUser({ id: '01a202f3-3534-751a-83af-cc0fa8e38a96' }), { reason: 'ACCESS_DENIED' }),
  );
  await assert.rejects(exists(email), { reason: 'CREDENTIALS_MISSING' });
  assert.equal((await fetch(`${http}/metrics`)).status, 200);
  assert.equal((await fetch(`${http}/sign-in.json`).then((answer) => answer.json())).required, true);
  env.ROSTER_ENV_FILE = before;
}

async function checkTls() {
  const files = writeTlsFiles(work, { tlsPort, gatewayPort });
  env.ROSTER_ENV_FILE = files.envFile;
  composeFiles = ['docker-compose.yml', files.composeFile];
  await compose('up', '-d');
  for (const service of ['roster', 'gateway']) await verdict(service, 'healthy');
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
  await compose('stop', 'roster');
  await poll('the gateway is not healthy without its target', async () => !(await isHealthy('gateway')));
}

async function step(name, check) {
  const start = Date.now();
  const detail = await check();
  console.log(`${name}${detail ? ` (${detail})` : ''}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
}

/** The build installs packages, so a machine without a way out of its containers cannot run it. */
async function requireRegistry() {
  const image = env.NODE_IMAGE ?? 'node:24-slim';
  const args = ['run', '--rm', '--entrypoint', 'npm', image, 'view', 'uuid', 'version'];
  const { status } = await start('docker', args);
  if (status !== 0) throw new Skipped("containers cannot reach npm's registry");
}

async function checkAll() {
  if ((await start('docker', ['compose', 'version'])).status === 0) composeCommand = ['docker', 'compose'];
  await step('the profile with Prometheus and Grafana is valid', () =>
    compose('--profile', 'full', 'config', '--quiet'),
  );
  await step('build', () => compose('build', '--quiet'));
  await step('up', async () => {
    await compose('up', '-d');
    await healthy('roster');
  });
  const image = await inspect(await containerOf('roster'), '{{.Image}}');
  await step('the image is small, and its list of packages is complete', () => checkImage(image));
  await step('without TLS or a database, it says what to set', () => checkRefusal(image));
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
    await compose('down');
    await compose('up', '-d');
    await healthy('roster');
    for (const name of ['ada', 'grace', 'alan']) await exists(`${name}@example.com`);
  });
  await step('SIGTERM ends it with 0', checkStop);
  await step('AUTH=on and an API key', checkCredentials);
  await step('TLS with client certificates, two workers, another port, and a gateway', checkTls);
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stop.abort());
let stopEngine = () => {};
try {
  stopEngine = findEngine();
  Object.assign(env, { DOCKER_HOST: process.env.DOCKER_HOST });
  await requireRegistry();
  await checkAll();
  console.log('The containers work.');
} catch (error) {
  console.error(error instanceof Skipped ? `skipped: ${error.message}` : error);
  process.exitCode = error instanceof Skipped ? 77 : 1;
} finally {
  if (process.exitCode !== 77) {
    const down = ['down', '--volumes', '--rmi', 'local', '--timeout', '5', '--remove-orphans'];
    await start(composeCommand[0], composeArgs(down), { signal: new AbortController().signal });
  }
  stopEngine();
  rmSync(work, { recursive: true, force: true });
}
