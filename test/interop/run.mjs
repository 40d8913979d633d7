/**
 * Runs grpc-go's interoperability client against gRPC's test service on the built src/grpc-server, without and with TLS:
 * on our HTTP/2, on it with two workers, and on that of Node. Every case must pass. The client's other cases need credentials of Google Cloud. It has no cases for compression,
 * which `npm run conformance` tests.
 *
 * It needs Go, and installs the client on each run.
 */
import { execFile, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installGo, inTemporaryFolder } from '../conformance/go.mjs';

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

/** The kinds of server: which implementation of HTTP/2, and the number of workers. */
const servers = [
  ['on our HTTP/2', 'own', 0],
  ['with two workers', 'own', 2],
  ['on the HTTP/2 of Node', 'node', 0],
];

await inTemporaryFolder(async (work) => {
  const source = installGo(work, 'google.golang.org/grpc', 'v1.85.0', ['interop/client']);
  const certificates = join(source, 'testdata');
  const descriptors = join(work, 'descriptors.binpb');
  execFileSync('buf', ['build', join(import.meta.dirname, 'proto'), '-o', descriptors], { stdio: 'inherit' });
  const withTls = [
    ...['--use_tls', '--use_test_ca', `--ca_file=${join(certificates, 'ca.pem')}`],
    '--server_host_override=foo.test.google.fr',
  ];

  let passed = 0;
  let failed = 0;
  const runCase = async (title, args) => {
    try {
      await promisify(execFile)(join(work, 'client'), args, { timeout: caseTimeoutMs });
      passed += 1;
      console.log(`passed: ${title}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${title}\n${error.stderr || error.message}`);
    }
  };

  /** Runs the cases in turn, because a server has only one load to report. */
  const runCases = async ([kind, http2, workers]) => {
    const server = fork(join(import.meta.dirname, 'server.mjs'), [descriptors, certificates, http2, String(workers)]);
    const [ports] = await once(server, 'message');
    const connections = [
      ['without TLS', [`--server_port=${ports.plain}`]],
      ['with TLS', [`--server_port=${ports.tls}`, ...withTls]],
    ];
    for (const [connection, connectionArgs] of connections) {
      for (const [name, ...args] of cases) {
        const title = `${name} ${connection}, ${kind}${args.includes(largest[0]) ? ', 4 MiB' : ''}`;
        await runCase(title, ['--server_host=127.0.0.1', ...connectionArgs, `--test_case=${name}`, ...args]);
      }
    }
    server.disconnect();
  };
  // Most of the time of a case is waiting.
  await Promise.all(servers.map(runCases));
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});
