/**
 * What every client in these folders must do, whatever its language: the day's work against a Roster, the same over TLS,
 * a deadline, and a token that goes nowhere in the clear but to this machine. Each folder's check.mjs calls it.
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
  /^import: (?:300 created, 0 updated, 0|0 created, 0 updated, 300) as they were, 0 rejected$/,
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
  /^ {2}user\.first_name: must have 1 to 256 characters, not only blanks$/,
  /^ {2}user\.email: must be one email address, like ada@example\.com$/,
];

/** `command` with its arguments, to which those of the client's own options are added. */
export async function checkClient(command, cwd) {
  const { ROSTER_ADDRESS: address, ROSTER_REPO: repository } = process.env;
  const run = (options, env = {}) => start([...command, ...options], { cwd, env });

  const plain = await run(['--address', address]);
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
    assertDay(await run(['--address', relay.address, '--ca', ca], { ROSTER_TOKEN: 'over-tls' }));
    await relay.close();
    console.log('The same over TLS.');

    const encrypted = await listen(http2.createSecureServer({ cert, key }), 'localhost');
    await assertSilence(run, encrypted, ['--ca', ca], 'over-tls');
    assert.deepEqual(encrypted.tokens(), ['Bearer over-tls']);
    const nearby = await listen(http2.createServer(), 'localhost');
    await assertSilence(run, nearby, [], 'to-this-machine');
    assert.deepEqual(nearby.tokens(), ['Bearer to-this-machine']);
    console.log('A token goes over TLS, and to this machine; no answer ends with the deadline.');

    const elsewhere = Object.values(os.networkInterfaces())
      .flat()
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    if (elsewhere === undefined) {
      console.log('Not tried: a token in the clear, for this machine has no address but its own.');
      return;
    }
    const other = await listen(http2.createServer(), elsewhere);
    const refused = await run(['--address', other.address, '--deadline-ms', '5000'], { ROSTER_TOKEN: 'in-the-clear' });
    await other.close();
    assert.notEqual(refused.code, 0);
    assert.deepEqual(other.tokens(), []);
    console.log('A token does not go to another address in the clear.');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a command to its end, and says what it printed and how it ended. */
export async function start([program, ...args], { cwd, env = {} }) {
  const { ROSTER_TOKEN: _, ...rest } = process.env;
  const child = spawn(program, args, { cwd, env: { ...rest, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
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

async function assertSilence(run, server, options, token) {
  const { output, code } = await run(['--address', server.address, '--deadline-ms', '1500', ...options], {
    ROSTER_TOKEN: token,
  });
  await server.close();
  assert.notEqual(code, 0);
  assert.match(output, /deadline.?exceeded/i);
}

/** TLS in front of a server that speaks none. */
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

/** `tokens` are those of the calls that came, once each; a server of HTTP/2 never answers them. */
async function listen(server, host) {
  const sockets = new Set();
  const tokens = new Set();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  server.on('sessionError', () => {});
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    tokens.add(headers.authorization ?? '');
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    address: `${host}:${server.address().port}`,
    tokens: () => [...tokens],
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
