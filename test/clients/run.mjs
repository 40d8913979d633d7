/**
 * Runs the same checks with one of the gRPC libraries of other projects: `node test/clients/run.mjs rust`. Each client is a
 * small program that uses stubs of its language's usual tool, and prints a line for each check that has passed.
 *
 * The server requires credentials, and the clients send an API key (ROSTER_TOKEN). It ends every connection about two seconds
 * after its start, and no call may fail because of that.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createKey } from '../../scripts/create-key.mjs';

const root = resolve(import.meta.dirname, '../..');
const proto = join(root, 'proto');
const programs = join(root, 'node_modules/.bin');
const buildMsMax = 600_000;
const runMsMax = 120_000;

const python = process.env.PYTHON ?? 'python3';
const protos = ['users/v1/user.proto', 'users/v1/user_service.proto'];

/** How to build each client in a copy of its folder, and how to run it. */
const clients = {
  go: {
    build: [
      ['buf', 'generate', proto, '--path', join(proto, 'users')],
      ['go', 'build', '-o', 'client', '.'],
    ],
    run: ['./client'],
  },
  java: { build: [['mvn', '-q', 'package', `-Dproto=${proto}`]], run: ['java', '-jar', 'target/client.jar'] },
  // The packages of this repository.
  node: { build: [], run: [process.execPath, 'main.mjs'], folder: join(import.meta.dirname, 'node') },
  python: {
    build: [[python, '-m', 'grpc_tools.protoc', '-I', proto, '--python_out=.', '--grpc_python_out=.', ...protos]],
    run: [python, 'main.py'],
  },
  rust: { build: [['cargo', 'build', '--quiet', '--locked']], run: ['target/debug/roster-client-check'] },
};

const checks = [
  /^large messages: 250 users$/,
  /^parallel: 500 calls$/,
  /^import: 3000 users$/,
  /^export: 3000 users$/,
  /^resolve: 1000 answers$/,
  /^watch: ada King$/,
  /^cancellation: 250 calls next to 250 others$/,
  /^deadline: passed$/,
  /^connection age: \d+ calls$/,
];

const [name = ''] = process.argv.slice(2);
if (!Object.hasOwn(clients, name)) {
  console.error(`Unknown client "${name}". The clients are: ${Object.keys(clients).join(', ')}.`);
  process.exit(2);
}
execFileSync(process.execPath, ['scripts/setup.mjs'], { cwd: root, stdio: 'inherit' });
const temporary = mkdtempSync(join(tmpdir(), 'roster-clients-'));
// For root, Postgres runs as another account, which must be able to enter the folder.
chmodSync(temporary, 0o711);
let roster;
try {
  const { build, run, folder = join(temporary, name) } = clients[name];
  if (build.length > 0) cpSync(join(import.meta.dirname, name), folder, { recursive: true });
  for (const command of build) await start(command, { cwd: folder, timeout: buildMsMax });
  roster = await startRoster();
  const relay = await startRelay(roster.address);
  const output = await start(run, { cwd: folder, timeout: runMsMax, address: relay.address, token: roster.token });
  const lines = output.trimEnd().split('\n');
  for (const [index, pattern] of checks.entries()) assert.match(lines[index] ?? '', pattern);
  assert.equal(lines.length, checks.length);
  assert.ok(relay.connections() > 2, `The client has opened only ${relay.connections()} connections.`);
  console.log(`${relay.connections()} connections`);
  relay.close();
} finally {
  await roster?.stop();
  rmSync(temporary, { recursive: true, force: true });
}

/** Runs a program, prints its output, and returns it. Throws if the program fails. */
async function start([program, ...args], { cwd, timeout, address = '', token = '' }) {
  const env = {
    ...process.env,
    PATH: [programs, process.env.PATH].join(delimiter),
    ROSTER_ADDRESS: address,
    ROSTER_TOKEN: token,
    ROSTER_PROTO: proto,
  };
  const child = spawn(program, args, { cwd, env, timeout, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    process.stdout.write(text);
    output += text;
  });
  const [code, signal] = await once(child, 'close');
  assert.equal(code, 0, `${program} ended with ${signal ?? code}.`);
  return output;
}

async function startRoster() {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DATA_DIR: join(temporary, 'data'),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    AUTH: 'on',
    CONNECTION_AGE_MS_MAX: '2000',
  };
  const child = spawn(process.execPath, ['dist/src/main.js', 'serve'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const log = [];
  const listening = new Promise((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      if (log.length < 20) log.push(line);
      const { msg, address } = JSON.parse(line);
      if (msg === 'listening') resolve(address);
    });
  });
  const address = await Promise.race([listening, exited.then(() => undefined)]);
  assert.ok(address, `Roster did not start.\n${log.join('\n')}`);
  return {
    address,
    token: createKey(env, 'writer', 'bulk'),
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Counts the connections to a server. */
async function startRelay(address) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const sockets = new Set();
  let count = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    count++;
    const upstream = connect({ host, port: Number(port), noDelay: true });
    sockets.add(socket).add(upstream);
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      from.on('error', () => to.destroy()).on('close', () => sockets.delete(from));
      from.pipe(to);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${server.address().port}`,
    connections: () => count,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
