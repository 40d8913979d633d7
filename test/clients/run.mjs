/**
 * Runs the same checks with one of the gRPC libraries of other projects: `node test/clients/run.mjs rust`. Each client is a
 * small program that uses stubs of its language's usual tool, and prints a line for each check that has passed.
 *
 * The server requires credentials, and the clients send an API key (ROSTER_TOKEN). It ends every connection about two seconds
 * after its start, and no call may fail because of that.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { assertPassed } from './checks.mjs';
import { proto, run, startRoster, withFolder } from './roster.mjs';

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

const [name = ''] = process.argv.slice(2);
if (!Object.hasOwn(clients, name)) {
  console.error(`Unknown client "${name}". The clients are: ${Object.keys(clients).join(', ')}.`);
  process.exit(2);
}
await withFolder(async (temporary) => {
  const { build, run: command, folder = join(temporary, name) } = clients[name];
  if (build.length > 0) cpSync(join(import.meta.dirname, name), folder, { recursive: true });
  const settings = { ROSTER_PROTO: proto };
  for (const step of build) await run(step, { cwd: folder, timeout: buildMsMax, settings });
  const roster = await startRoster(temporary, { CONNECTION_AGE_MS_MAX: '2000' });
  try {
    const relay = await startRelay(roster.address);
    const address = { ROSTER_ADDRESS: relay.address, ROSTER_TOKEN: roster.createToken() };
    assertPassed(await run(command, { cwd: folder, timeout: runMsMax, settings: { ...settings, ...address } }));
    assert.ok(relay.connections() > 2, `The client has opened only ${relay.connections()} connections.`);
    console.log(`${relay.connections()} connections`);
    relay.close();
  } finally {
    await roster.stop();
  }
});

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
