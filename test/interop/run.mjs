/**
 * Runs grpc-go's interoperability client against gRPC's test service on the built src/grpc-server, without and with TLS.
 * Every case must pass. The client's other cases need credentials of Google Cloud. It has no cases for compression,
 * which `npm run conformance` tests.
 *
 * It needs Go, and installs the client on each run.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createServer } from '../../dist/src/grpc-server/server.js';
import { definitionOf, readRegistry } from '../conformance/definition.mjs';
import { installGo, inTemporaryFolder } from '../conformance/go.mjs';
import { testServices } from './service.mjs';

// A hundred times as long as an idle machine needs.
const caseTimeoutMs = 120_000;

// The client's limits for the time of calls would otherwise fail on a slow machine.
const patient = ['--soak_per_iteration_max_acceptable_latency_ms=60000', '--soak_overall_timeout_seconds=100'];
// Requests and responses of at most 4 MiB.
const largest = ['--soak_request_size=4194204', '--soak_response_size=4194204'];
const reportsLoad = '--service_config_json={"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}';

const cases = [
  ['empty_unary'],
  ['large_unary'],
  ['client_streaming'],
  ['server_streaming'],
  ['ping_pong'],
  ['empty_stream'],
  ['timeout_on_sleeping_server'],
  ['cancel_after_begin'],
  ['cancel_after_first_response'],
  ['status_code_and_message'],
  ['special_status_message'],
  ['custom_metadata'],
  ['unimplemented_method'],
  ['unimplemented_service'],
  ['pick_first_unary'],
  ['orca_per_rpc', reportsLoad],
  ['orca_oob', reportsLoad],
  ['rpc_soak', ...patient, '--soak_num_threads=4', '--soak_iterations=100'],
  ['rpc_soak', ...patient, ...largest, '--soak_iterations=5'],
  ['channel_soak', ...patient, '--soak_iterations=20'],
];

await inTemporaryFolder(async (work) => {
  const source = installGo(work, 'google.golang.org/grpc', 'v1.85.0', ['interop/client']);
  const descriptors = join(work, 'descriptors.binpb');
  execFileSync('buf', ['build', join(import.meta.dirname, 'proto'), '-o', descriptors], { stdio: 'inherit' });
  const registry = readRegistry(descriptors);

  const server = createServer();
  const { test, orca } = testServices(registry);
  server.add(definitionOf(registry.getService('grpc.testing.TestService'), test), test);
  server.add(definitionOf(registry.getService('xds.service.orca.v3.OpenRcaService'), orca), orca);
  const pem = (name) => readFileSync(join(source, 'testdata', name));
  const tls = { cert: pem('server1.pem'), key: pem('server1.key') };
  const ports = { plain: await server.listen('127.0.0.1:0'), tls: await server.listen('127.0.0.1:0', tls) };
  const withTls = [
    ...['--use_tls', '--use_test_ca', `--ca_file=${join(source, 'testdata', 'ca.pem')}`],
    '--server_host_override=foo.test.google.fr',
  ];
  const kinds = [
    ['without TLS', [`--server_port=${ports.plain}`]],
    ['with TLS', [`--server_port=${ports.tls}`, ...withTls]],
  ];

  let failed = 0;
  for (const [kind, connection] of kinds) {
    for (const [name, ...args] of cases) {
      const title = `${name} ${kind}${args.includes(largest[0]) ? ', 4 MiB' : ''}`;
      try {
        await promisify(execFile)(
          join(work, 'client'),
          ['--server_host=127.0.0.1', ...connection, `--test_case=${name}`, ...args],
          { timeout: caseTimeoutMs },
        );
        console.log(`passed: ${title}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED: ${title}\n${error.stderr || error.message}`);
      }
    }
  }
  server.forceShutdown();
  console.log(`${kinds.length * cases.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});
