/**
 * Calls Roster through a proxy with the configuration in deploy/proxies: `node test/clients/proxies.mjs nginx`, or haproxy.
 * Only ports, paths and accounts differ. The proxy reaches Roster without TLS, and then with it.
 *
 * Roster ends every connection of the proxy about two seconds after its start, restarts its workers, and then restarts
 * itself. No call may fail because of that, except that calls must be retried while nothing listens on the port.
 *
 * At last Roster crashes with a call in flight that it has received. The proxy must not refuse that call: gRPC libraries
 * repeat refused calls, also updates, because they expect that no server has run them.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { UpdateUserRequest } from '../../dist/generated/users/v1/user_service.js';
import { createClient, RosterError } from '../../dist/src/client/index.js';
import { startEmbeddedPostgres } from '../../dist/src/embedded-postgres/cluster.js';
import { createAuthority } from '../certificates.ts';
import { assertPassed } from './checks.mjs';
import { root, run, startRoster, withFolder } from './roster.mjs';

const runMsMax = 120_000;
const startMsMax = 20_000;
const callMsMax = 60_000;
const callersCount = 20;
const parallelCalls = 1000;
const connections = 5;
const importedUsers = 1000;
const attributes = { note: 'x'.repeat(10_000) };

const proxies = {
  nginx: {
    program: '/usr/sbin/nginx',
    file: 'nginx.conf',
    configure: (text, folder) => `
      ${process.getuid() === 0 ? 'user root;' : ''}
      daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
      events { worker_connections 1024; }
      http { access_log off; client_body_temp_path ${folder}/temporary; ${text} }`,
    args: (file) => ['-c', file, '-e', 'stderr'],
  },
  haproxy: {
    program: '/usr/sbin/haproxy',
    file: 'haproxy.cfg',
    configure: (text) => text,
    args: (file) => ['-q', '-db', '-f', file],
  },
};

const [name = ''] = process.argv.slice(2);
if (!Object.hasOwn(proxies, name)) {
  console.error(`Unknown proxy "${name}". The proxies are: ${Object.keys(proxies).join(', ')}.`);
  process.exit(2);
}
const proxy = proxies[name];
if (spawnSync(proxy.program, ['-v']).status !== 0) {
  console.log(`skipped: cannot run ${proxy.program}`);
  process.exit(77);
}
await withFolder(async (folder) => {
  const files = writeCertificates(folder);
  for (const hasTls of [false, true]) {
    console.log(`== ${hasTls ? 'with' : 'without'} TLS between ${name} and Roster`);
    await checkProxy(join(folder, hasTls ? 'tls' : 'plaintext'), files, hasTls);
    await checkCrash(join(folder, hasTls ? 'crash-tls' : 'crash-plaintext'), files, hasTls);
  }
});

async function checkProxy(folder, files, hasTls) {
  mkdirSync(folder);
  const [serverPort, proxyPort] = await freePorts(2);
  const settings = {
    ...(hasTls && { TLS_CERT: files.cert, TLS_KEY: files.key }),
    GRPC_ADDRESS: `127.0.0.1:${serverPort}`,
    CONNECTION_AGE_MS_MAX: '2000',
    WORKERS: '2',
  };
  let roster = await startRoster(folder, settings);
  let stopProxy;
  try {
    stopProxy = await startProxy(folder, files, { serverPort, proxyPort, hasTls });
    const address = `localhost:${proxyPort}`;
    const token = roster.createToken();
    await runClient({ address, token, ca: files.ca });
    const options = {
      address: Array.from({ length: connections }, () => address),
      tls: { ca: readFileSync(files.ca) },
      token,
      deadlineMs: callMsMax,
    };
    await withClient({ ...options, attemptsMax: 1 }, async (client) => {
      await checkErrors(client);
      await checkImport(client);
      await checkConnections(client);
      const workersRestarted = async () => {
        const restarted = roster.logged('restarted the workers');
        roster.signal('SIGHUP');
        await restarted;
      };
      console.log(`restart of the workers: ${await callDuring(client, workersRestarted())} calls`);
    });
    await withClient({ ...options, attemptsMax: 100 }, async (client) => {
      const restart = async () => {
        await roster.stop();
        roster = await startRoster(folder, settings);
      };
      console.log(`restart: ${await callDuring(client, restart())} calls`);
    });
  } finally {
    await stopProxy?.();
    await roster.stop();
  }
}

/** Kills Roster while an update waits for a lock in Postgres, which runs the statement although Roster is gone. */
async function checkCrash(folder, files, hasTls) {
  mkdirSync(folder);
  await using cleanUp = new AsyncDisposableStack();
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'data') });
  cleanUp.defer(() => postgres.stop());
  const [serverPort, proxyPort] = await freePorts(2);
  const roster = await startRoster(folder, {
    ...(hasTls && { TLS_CERT: files.cert, TLS_KEY: files.key }),
    GRPC_ADDRESS: `127.0.0.1:${serverPort}`,
    DATABASE_URL: postgres.url,
  });
  cleanUp.defer(() => roster.stop());
  cleanUp.defer(await startProxy(folder, files, { serverPort, proxyPort, hasTls }));
  const token = roster.createToken();
  const ca = readFileSync(files.ca);
  const options = { address: `localhost:${proxyPort}`, tls: { ca }, token, deadlineMs: callMsMax };
  const { user } = await withClient(options, (client) =>
    client.createUser({ user: { firstName: 'Before', email: 'crash@proxy.example' } }),
  );

  const database = new pg.Client({ connectionString: postgres.url });
  await database.connect();
  cleanUp.defer(() => database.end());
  await database.query('begin');
  await database.query('select from users where id = $1 for update', [user.id]);
  const session = connectHttp2(`https://${options.address}`, { ca });
  cleanUp.defer(() => session.destroy());
  const call = sendUpdate(session, token, { user: { id: user.id, firstName: 'After' }, updateMask: ['first_name'] });
  await poll('the update waits for the lock', async () => {
    const { rows } = await database.query("select from pg_stat_activity where wait_event_type = 'Lock'");
    return rows.length > 0;
  });
  roster.signal('SIGKILL');
  const outcome = await call;
  await database.query('commit');
  await poll('the update is made', async () => {
    const { rows } = await database.query('select first_name from users where id = $1', [user.id]);
    return rows[0].first_name === 'After';
  });
  assert.ok(
    !outcome.isRefused,
    `${name} refused a call that Roster had received and that Postgres has run: gRPC repeats it.`,
  );
  console.log(`crash during a call: ${outcome.description}`);
}

/** Resolves with the end of the call. It is refused if gRPC libraries may repeat it, whatever it does. */
async function sendUpdate(session, token, request) {
  let isRefused = false;
  const ends = [];
  session.on('error', ({ code }) => ends.push(code));
  const stream = session.request({
    ':method': 'POST',
    ':path': '/users.v1.UserService/UpdateUser',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
  });
  session.on('goaway', (code, lastStream) => {
    if (lastStream < stream.id) isRefused = true;
    ends.push(`GOAWAY ${code}`);
  });
  stream.on('response', (headers) => ends.push(`status ${headers[':status']}, grpc-status ${headers['grpc-status']}`));
  stream.on('error', () => {}).resume();
  const message = UpdateUserRequest.encode(UpdateUserRequest.fromPartial(request)).finish();
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([prefix, message]));
  await new Promise((resolve) => {
    stream.once('close', resolve);
  });
  if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) isRefused = true;
  if (stream.rstCode !== 0) ends.push(`code ${stream.rstCode}`);
  return { isRefused, description: ends.join('; ') || 'the connection ended' };
}

async function poll(what, isDone) {
  const endMs = performance.now() + callMsMax;
  while (!(await isDone())) {
    assert.ok(performance.now() < endMs, `Not in time: ${what}.`);
    await sleep(50);
  }
}

/** Makes the checks of test/clients/run.mjs with grpc-js. */
async function runClient({ address, token, ca }) {
  const command = [process.execPath, join(import.meta.dirname, 'node/main.mjs')];
  const settings = {
    ROSTER_ADDRESS: `https://${address}`,
    ROSTER_TOKEN: token,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: ca,
  };
  assertPassed(await run(command, { timeout: runMsMax, settings }));
}

async function withClient(options, use) {
  const client = createClient(options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

async function checkErrors(client) {
  await assert.rejects(client.getUser({ id: '00000000-0000-7000-8000-000000000000' }), (error) => {
    assert.ok(error instanceof RosterError);
    assert.deepEqual([error.code, error.reason], ['NOT_FOUND', 'USER_NOT_FOUND']);
    return true;
  });
  console.log('error with details: passed');
}

async function checkImport(client) {
  const users = Array.from({ length: importedUsers }, (_, number) => ({
    firstName: 'Import',
    email: `import-${number}@proxy.example`,
    attributes,
  }));
  const { created } = await client.importAllUsers(users);
  assert.equal(created, importedUsers);
  let exported = 0;
  for await (const user of client.exportAllUsers({ filter: 'email.endsWith("@proxy.example")' })) {
    assert.deepEqual(user.attributes, attributes);
    exported++;
  }
  assert.equal(exported, importedUsers);
  console.log(`import and export of 10 MB: ${exported} users`);
}

async function checkConnections(client) {
  await Promise.all(Array.from({ length: parallelCalls }, () => client.getCaller({})));
  console.log(`${connections} connections: ${parallelCalls} calls`);
}

/** Makes calls until the work is done, and returns how many. Rejects if one of them fails. */
async function callDuring(client, work) {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  let calls = 0;
  const callers = Array.from({ length: callersCount }, async () => {
    for (; !isDone; calls++) await client.getCaller({});
  });
  await Promise.all([done, ...callers]);
  return calls;
}

function writeCertificates(folder) {
  const authority = createAuthority();
  const { cert, key } = authority.issue('roster');
  const texts = { ca: authority.cert, cert, key, both: cert + key };
  const files = {};
  for (const [file, text] of Object.entries(texts)) {
    files[file] = join(folder, `${file}.pem`);
    writeFileSync(files[file], text, { mode: 0o600 });
  }
  return files;
}

/** Returns a function that stops the proxy. */
async function startProxy(folder, files, { serverPort, proxyPort, hasTls }) {
  const template = readFileSync(join(root, 'deploy/proxies', proxy.file), 'utf8');
  const text = (hasTls ? withTls(template) : template)
    .replaceAll('443', String(proxyPort))
    .replaceAll('50051', String(serverPort))
    .replaceAll('/etc/roster/server.pem', name === 'haproxy' ? files.both : files.cert)
    .replaceAll('/etc/roster/server.key', files.key)
    .replaceAll('/etc/roster/ca.pem', files.ca);
  const file = join(folder, proxy.file);
  writeFileSync(file, proxy.configure(text, folder));
  const child = spawn(proxy.program, proxy.args(file), { stdio: 'inherit' });
  const exited = once(child, 'exit');
  const endMs = performance.now() + startMsMax;
  while (!(await accepts(proxyPort))) {
    assert.ok(child.exitCode === null && performance.now() < endMs, `${name} does not listen.`);
    await sleep(50);
  }
  return async () => {
    child.kill('SIGTERM');
    await exited;
  };
}

/** Replaces the line above the first comment about TLS with the lines below the comment. */
function withTls(template) {
  const [, before, indent, lines, after] =
    /^([\s\S]*\n).*\n( *)# If Roster has TLS_CERT.*\n((?:\2# .*\n)+)([\s\S]*)$/.exec(template);
  return before + lines.replaceAll(`${indent}# `, indent) + after;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
