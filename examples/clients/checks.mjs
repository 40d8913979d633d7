/**
 * The checks for the client of every language: the whole program with a Roster, the same over TLS, a deadline, and a token
 * that is sent unencrypted only to this machine. Each folder's check.mjs calls it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { pathToFileURL } from 'node:url';

const day = [
  /^create: Ada Lovelace [0-9a-f-]{36}$/,
  /^create again: the same user$/,
  /^edit, attempt 1: read notes$/,
  /^edit, attempt 2: read notes, weaving$/,
  /^edited: notes, weaving, engine$/,
  /^import: (?:300 created, 0 updated, 0|0 created, 0 updated, 300) unchanged, 0 rejected$/,
  /^list, page 1: 40 users, Alan Allen to Radia Floyd$/,
  /^list, page 2: 40 users, Zoë Floyd to Radia Liskov$/,
  /^list, page 3: 20 users, Zoë Liskov to Shafi Ångström$/,
  /^watch: begins$/,
  /^watch: TYPE_UPDATED \S+Z Ada King$/,
  /^watch: disconnected, (?:CANCELLED|Canceled|UNAVAILABLE)$/,
  /^watch: TYPE_UPDATED \S+Z Ada (?:Byron|Noel)$/,
  /^watch: TYPE_UPDATED \S+Z Ada Noel$/,
  /^delete: then (?:NOT_FOUND|NotFound) USER_NOT_FOUND$/,
  /^bad create: (?:INVALID_ARGUMENT|InvalidArgument) INVALID_FIELD$/,
  /^ {2}user\.first_name: must have 1 to 256 characters, at least one of them visible$/,
  /^ {2}user\.email: must be one email address, like ada@example\.com$/,
];

/** `command` is a program with its arguments. The checks append the client's options. */
export async function checkClient(command, cwd) {
  const { ROSTER_ADDRESS: address, ROSTER_REPO: repository, ROSTER_TOKEN } = process.env;
  // A server that requires no credentials ignores the token.
  const token = { ROSTER_TOKEN: ROSTER_TOKEN ?? 'any' };
  const run = (options, env, signal) => start([...command, ...options], { cwd, env, signal });
  // Returns the token of the first call, or "".
  const tokenOf = async (server, options, env) => {
    const stop = new AbortController();
    const running = run(['--address', server.address, '--deadline-ms', '60000', ...options], env, stop.signal);
    const ended = running.then(({ output }) => assert.fail(output));
    try {
      return await Promise.race([server.called, ended]);
    } finally {
      stop.abort();
      await ended.catch(() => {});
    }
  };

  const plain = await run(['--address', address], token);
  assertDay(plain);
  console.log(plain.output.trimEnd());

  const { createAuthority } = await import(pathToFileURL(path.join(repository, 'test/certificates.ts')).href);
  const authority = createAuthority();
  const { cert, key } = authority.issue('localhost');
  const folder = mkdtempSync(path.join(os.tmpdir(), 'roster-client-'));
  const ca = path.join(folder, 'ca.pem');
  writeFileSync(ca, authority.cert);
  try {
    const relay = await listen(createRelay(address, { cert, key, ALPNProtocols: ['h2'] }), 'localhost');
    assertDay(await run(['--address', relay.address, '--ca', ca], token));
    await relay.close();
    console.log('Passed over TLS.');

    const encrypted = await listen(http2.createSecureServer({ cert, key }), 'localhost');
    assert.equal(await tokenOf(encrypted, ['--ca', ca], { ROSTER_TOKEN: 'over-tls' }), 'Bearer over-tls');
    await encrypted.close();
    const nearby = await listen(http2.createServer(), 'localhost');
    assert.equal(await tokenOf(nearby, [], { ROSTER_TOKEN: 'nearby' }), 'Bearer nearby');
    const late = await run(['--address', nearby.address, '--deadline-ms', '500']);
    assert.notEqual(late.code, 0);
    assert.match(late.output, /deadline.?exceeded/i);
    await nearby.close();
    console.log('The token is sent over TLS and to this machine. A call without an answer ends at its deadline.');

    const elsewhere = Object.values(os.networkInterfaces())
      .flat()
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    if (elsewhere === undefined) {
      console.log('Skipped the check of an unencrypted token, because this machine has only loopback addresses.');
      return;
    }
    const other = await listen(http2.createServer(), elsewhere);
    // A call without a token arrives, so the failure with a token has no other cause.
    assert.equal(await tokenOf(other, []), '');
    const refused = await run(['--address', other.address, '--deadline-ms', '2000'], { ROSTER_TOKEN: 'in-the-clear' });
    assert.notEqual(refused.code, 0);
    assert.deepEqual(other.tokens(), ['']);
    await other.close();
    console.log('The token is not sent unencrypted to another address.');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a command and returns its output and exit code. */
export async function start([program, ...args], { cwd, env, signal }) {
  const { ROSTER_TOKEN: _, ...rest } = process.env;
  const child = spawn(program, args, { cwd, env: { ...rest, ...env }, signal, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [code] = await once(child, 'close');
  return { output, code };
}

function assertDay({ output, code }) {
  assert.equal(code, 0, output);
  const lines = output.trimEnd().split('\n');
  for (const [index, pattern] of day.entries()) assert.match(lines[index] ?? '', pattern, output);
  assert.equal(lines.length, day.length, output);
}

/** Adds TLS in front of an unencrypted server. */
function createRelay(address, options) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  return tls.createServer(options, (socket) => {
    const upstream = net.connect({ host, port: Number(port) });
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      from.pipe(to);
      from.on('error', () => to.destroy());
    }
  });
}

/** `tokens` are the distinct tokens of all calls, and `called` is the first one. An HTTP/2 server never answers. */
async function listen(server, host) {
  const sockets = new Set();
  const tokens = new Set();
  const called = new Promise((resolve) => {
    server.on('stream', (stream, { authorization = '' }) => {
      stream.on('error', () => {});
      tokens.add(authorization);
      resolve(authorization);
    });
  });
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  server.on('sessionError', () => {});
  server.listen(0, host);
  await once(server, 'listening');
  return {
    address: `${host}:${server.address().port}`,
    called,
    tokens: () => [...tokens],
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
