/**
 * The server under test of the gRPC cases of the conformance suite: the suite's service on the built src/grpc-server.
 * The suite starts one process for each kind of connection, sends its request to the standard input, and reads the
 * address from the standard output.
 */
import { create } from '@bufbuild/protobuf';
import { createServer } from '../../dist/src/grpc-server/server.js';
import { readRegistry } from './definition.mjs';
import { readMessage, writeMessage } from './pipe.mjs';
import { addConformanceService } from './service.mjs';

const [descriptorsPath] = process.argv.slice(2);
const registry = readRegistry(descriptorsPath);
const requestSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatRequest');
const responseSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatResponse');

const { useTls, serverCreds, clientTlsCert, messageReceiveLimit } = await readMessage(process.stdin, requestSchema);

const server = createServer({
  ...(messageReceiveLimit > 0 && { requestBytesMax: () => messageReceiveLimit }),
  compressResponses: true,
});
addConformanceService(server, registry);
const tls = useTls
  ? {
      cert: Buffer.from(serverCreds.cert),
      key: Buffer.from(serverCreds.key),
      clientCa: clientTlsCert.length === 0 ? undefined : Buffer.from(clientTlsCert),
    }
  : undefined;
const host = '127.0.0.1';
const port = await server.listen(`${host}:0`, tls);
const pemCert = useTls ? serverCreds.cert : new Uint8Array();
writeMessage(process.stdout, responseSchema, create(responseSchema, { host, port, pemCert }));

process.once('SIGTERM', () => process.exit());
