/**
 * Calls Roster through a proxy with the configuration in deploy/proxies: `node test/clients/proxies.mjs nginx`, or haproxy.
 * Only ports, paths and accounts differ. The proxy reaches Roster without TLS, and then with it.
 *
 * Roster ends every connection of the proxy about two seconds after its start, restarts its workers, and then restarts
 * itself. No call may fail because of that, except that calls must be retried while nothing listens on the port.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, RosterError } from '../../dist/src/client/index.js';
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
    await use(client);
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
