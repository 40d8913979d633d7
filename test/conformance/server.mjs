/**
 * The server under test of the Connect conformance suite, one process for each kind of connection: the gateway, in front of
 * the suite's own server, which speaks gRPC to it. The suite asks for it on the standard input and hears where it is on the standard output.
 *
 * Takes the built gateway, as it is shipped, and the service's descriptors from the suite: nothing of it is kept here.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { createGateway } from '../../dist/src/gateway/gateway.js';
import { startHttp } from '../../dist/src/gateway/http.js';
import { createByteBudget } from '../../dist/src/operations/byte-budget.js';

const [descriptorsPath, serverPath] = process.argv.slice(2);
const descriptors = readFileSync(descriptorsPath);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
const requestSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatRequest');
const responseSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatResponse');
const protocols = registry.getEnum('connectrpc.conformance.v1.Protocol');
const versions = registry.getEnum('connectrpc.conformance.v1.HTTPVersion');

// A call that stands still in these tests does so for less than a second.
const stallTimeoutMs = 10_000;

/** Messages with their length in front, four bytes of it. */
async function readMessage(stream, schema) {
  let bytes = Buffer.alloc(0);
  while (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32BE()) {
    const [chunk] = await once(stream, 'data');
    bytes = Buffer.concat([bytes, chunk]);
  }
  return fromBinary(schema, bytes.subarray(4, 4 + bytes.readUInt32BE()));
}

function writeMessage(stream, schema, message) {
  const bytes = toBinary(schema, message);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  stream.write(Buffer.concat([length, bytes]));
}

function numberOf(type, name) {
  return type.values.find((value) => value.name === name).number;
}

const asked = await readMessage(process.stdin, requestSchema);

const server = spawn(serverPath, ['--port', '0'], { stdio: ['pipe', 'pipe', 'inherit'] });
process.on('exit', () => server.kill());
writeMessage(server.stdin, requestSchema, {
  ...asked,
  protocol: numberOf(protocols, 'PROTOCOL_GRPC'),
  httpVersion: numberOf(versions, 'HTTP_VERSION_2'),
  useTls: false,
  clientTlsCert: new Uint8Array(),
});
const { host, port } = await readMessage(server.stdout, responseSchema);

const gateway = createGateway({
  budget: createByteBudget(Number.POSITIVE_INFINITY),
  onUnforwarded: () => {},
  descriptors,
  url: `http://${host}:${port}`,
  stallTimeoutMs,
  onError: (error) => console.error(error),
});
const clientCa = asked.clientTlsCert.length === 0 ? undefined : Buffer.from(asked.clientTlsCert);
const http = await startHttp({
  address: { host: '127.0.0.1', port: 0 },
  tls: asked.useTls
    ? { cert: Buffer.from(asked.serverCreds.cert), key: Buffer.from(asked.serverCreds.key), clientCa }
    : undefined,
  corsOrigins: [],
  figures: { contentType: 'text/plain', text: async () => '' },
  isReady: () => true,
  onError: (error) => console.error(error),
});
http.serve({ gateway, files: { find: () => undefined } });
writeMessage(process.stdout, responseSchema, {
  $typeName: responseSchema.typeName,
  host: '127.0.0.1',
  port: http.port,
  pemCert: asked.useTls ? asked.serverCreds.cert : new Uint8Array(),
});

process.once('SIGTERM', () => process.exit());
