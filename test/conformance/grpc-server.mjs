/**
 * The server under test of the gRPC cases of the conformance suite: the suite's service on the built src/grpc-server.
 * `own` or `node`, and the number of workers, follow the path of the descriptors. The suite starts one process for each
 * kind of connection, sends its request to the standard input, and reads the address from the standard output.
 */
import { create } from '@bufbuild/protobuf';
import { createServer } from '../../dist/src/grpc-server/server.js';
import { readRegistry } from './definition.mjs';
import { readMessage, writeMessage } from './pipe.mjs';
import { addConformanceService } from './service.mjs';
import { runServer } from './workers.mjs';

const [descriptorsPath, http2, workers] = process.argv.slice(2);
const registry = readRegistry(descriptorsPath);
const requestSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatRequest');
const responseSchema = registry.getMessage('connectrpc.conformance.v1.ServerCompatResponse');
const host = '127.0.0.1';

process.once('SIGTERM', () => process.exit());
await runServer({
  workers: Number(workers),
  readConfig: () => readMessage(process.stdin, requestSchema),
  serve,
  report: (response) => writeMessage(process.stdout, responseSchema, create(responseSchema, response)),
});

async function serve({ useTls, serverCreds, clientTlsCert, messageReceiveLimit }) {
  const server = createServer({
    ...(messageReceiveLimit > 0 && { requestBytesMax: () => messageReceiveLimit }),
    compressResponses: true,
    http2,
  });
  addConformanceService(server, registry);
  const tls = useTls
    ? {
        cert: Buffer.from(serverCreds.cert),
        key: Buffer.from(serverCreds.key),
        clientCa: clientTlsCert.length === 0 ? undefined : Buffer.from(clientTlsCert),
      }
    : undefined;
  const port = await server.listen(`${host}:0`, tls);
  return { host, port, pemCert: useTls ? serverCreds.cert : new Uint8Array() };
}
