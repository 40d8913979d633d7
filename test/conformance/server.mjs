/**
 * The server under test of the Connect and gRPC-Web cases: the built gateway. It is in front of the gRPC server that the
 * command in the further arguments starts, or else of the suite's service in the same process. The suite starts one
 * process for each kind of connection, sends its request to the standard input, and reads the address from the standard
 * output.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createGateway } from '../../dist/src/gateway/gateway.js';
import { startHttp } from '../../dist/src/gateway/http.js';
import { createByteBudget } from '../../dist/src/grpc-server/byte-budget.js';
import { createServer } from '../../dist/src/grpc-server/server.js';
import { readRegistry } from './definition.mjs';
import { readMessage, writeMessage } from './pipe.mjs';
import { addConformanceService } from './service.mjs';

const [descriptorsPath, ...serverCommand] = process.argv.slice(2);
const descriptors = readFileSync(descriptorsPath);
const registry = readRegistry(descriptorsPath);
const requestSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatRequest');
const responseSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatResponse');
const protocols = registry.getEnum('connectrpc.conformance.v1.Protocol');
const versions = registry.getEnum('connectrpc.conformance.v1.HTTPVersion');

// No call in these tests stalls for a second.
const stallTimeoutMs = 10_000;

function numberOf(type, name) {
  return type.values.find((value) => value.name === name).number;
}

const config = await readMessage(process.stdin, requestSchema);

const gateway = createGateway({
  ...(serverCommand.length === 0 ? ownServer() : { url: await startServer(serverCommand) }),
  budget: createByteBudget(Number.POSITIVE_INFINITY),
  onUnforwarded: () => {},
  descriptors,
  stallTimeoutMs,
  onError: (error) => console.error(error),
});
const clientCa = config.clientTlsCert.length === 0 ? undefined : Buffer.from(config.clientTlsCert);
const http = await startHttp({
  address: { host: '127.0.0.1', port: 0 },
  tls: config.useTls
    ? { cert: Buffer.from(config.serverCreds.cert), key: Buffer.from(config.serverCreds.key), clientCa }
    : undefined,
  // Unknown paths then get 404, as the suite expects.
  openEndpoints: ['page'],
  corsOrigins: [],
  metrics: { contentType: 'text/plain', text: async () => '' },
  serving: () => 'all',
  onError: (error) => console.error(error),
});
http.serve({ gateway, files: { find: () => undefined } });
writeMessage(process.stdout, responseSchema, {
  $typeName: responseSchema.typeName,
  host: '127.0.0.1',
  port: http.port,
  pemCert: config.useTls ? config.serverCreds.cert : new Uint8Array(),
});

process.once('SIGTERM', () => process.exit());

/** Starts a gRPC server of the suite. Returns its URL. */
async function startServer([program, ...args]) {
  const server = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  process.on('exit', () => server.kill());
  writeMessage(server.stdin, requestSchema, {
    ...config,
    protocol: numberOf(protocols, 'PROTOCOL_GRPC'),
    httpVersion: numberOf(versions, 'HTTP_VERSION_2'),
    useTls: false,
    clientTlsCert: new Uint8Array(),
  });
  const { host, port } = await readMessage(server.stdout, responseSchema);
  return `http://${host}:${port}`;
}

function ownServer() {
  const { messageReceiveLimit } = config;
  const server = createServer(messageReceiveLimit > 0 ? { requestBytesMax: () => messageReceiveLimit } : {});
  addConformanceService(server, registry);
  return { call: server.call };
}
