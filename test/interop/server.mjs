/**
 * The server under test of the interoperability client, on two ports. The arguments are the path of the descriptors, the
 * folder of grpc-go's test certificates, `own` or `node`, and the number of workers. It sends the ports to its parent.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServer } from '../../dist/src/grpc-server/server.js';
import { definitionOf, readRegistry } from '../conformance/definition.mjs';
import { runServer } from '../conformance/workers.mjs';
import { testServices } from './service.mjs';

const [descriptors, certificates, http2, workers] = process.argv.slice(2);

process.once('disconnect', () => process.exit());
await runServer({ workers: Number(workers), readConfig: () => ({}), serve, report: (ports) => process.send(ports) });

async function serve() {
  const registry = readRegistry(descriptors);
  const server = createServer({ http2 });
  const { test, orca } = testServices(registry);
  server.add(definitionOf(registry.getService('grpc.testing.TestService'), test), test);
  server.add(definitionOf(registry.getService('xds.service.orca.v3.OpenRcaService'), orca), orca);
  const pem = (name) => readFileSync(join(certificates, name));
  const tls = { cert: pem('server1.pem'), key: pem('server1.key') };
  return { plain: await server.listen('127.0.0.1:0'), tls: await server.listen('127.0.0.1:0', tls) };
}
