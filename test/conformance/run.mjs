/**
 * Runs the Connect project's conformance suite with its reference clients. Every case must pass.
 *
 * - gateway.yaml: the Connect and gRPC-Web cases, on the built gateway. They run with the suite's reference server behind
 *   it, and with the suite's service on src/grpc-server, in the same process and in another one.
 * - grpc.yaml: the gRPC cases, on the suite's service on the built src/grpc-server. Cases whose names have
 *   "(grpc client impl)" use grpc-go's client. They run on our HTTP/2, on it with two workers, and on that of Node.
 *
 * It needs Go, and installs the suite on each run.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { installGo, inTemporaryFolder } from './go.mjs';

// At least ten times as long as an idle machine needs for one run. It ends a run that hangs.
const timeoutMs = 300_000;

const here = import.meta.dirname;
await inTemporaryFolder((work) => {
  // Not the suite's grpc-go server, which lacks the method for GET.
  const programs = ['cmd/connectconformance', 'cmd/referenceserver'];
  const source = installGo(work, 'connectrpc.com/conformance', 'v1.0.7', programs);
  const descriptors = join(work, 'descriptors.binpb');
  execFileSync('buf', ['build', join(source, 'proto'), '-o', descriptors], { stdio: 'inherit' });

  const run = (title, config, server, ...args) => {
    console.log(`\n${title}:`);
    const { status, signal } = spawnSync(
      join(work, 'connectconformance'),
      [
        ...['--mode', 'server', '--conf', join(here, config), '--verbose', '--trace', '--'],
        ...[process.execPath, join(here, server), descriptors, ...args],
      ],
      { stdio: 'inherit', timeout: timeoutMs },
    );
    if (signal !== null) console.error(`The suite was ended by ${signal}.`);
    if (status !== 0) process.exitCode = status ?? 1;
  };
  const referenceServer = [join(work, 'referenceserver'), '--port', '0'];
  run('The gateway in front of the reference server', 'gateway.yaml', 'server.mjs', ...referenceServer);
  run('The gateway in front of a service in its process', 'gateway.yaml', 'server.mjs');
  const ownServer = [process.execPath, join(here, 'grpc-server.mjs'), descriptors, 'own', '0'];
  run('The gateway in front of a service in another process', 'gateway.yaml', 'server.mjs', ...ownServer);
  run('The gRPC server', 'grpc.yaml', 'grpc-server.mjs', 'own', '0');
  run('The gRPC server with two workers', 'grpc.yaml', 'grpc-server.mjs', 'own', '2');
  run('The gRPC server on the HTTP/2 of Node', 'grpc.yaml', 'grpc-server.mjs', 'node', '0');
});
