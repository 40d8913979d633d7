/**
 * Runs h2spec, with its strict cases, against the built src/http2: without TLS, with TLS, and with two workers. Every case
 * must pass. The number for node:http2 is only printed, because some cases are known to fail there.
 *
 * The servers have a small application that waits for the end of a request. The gRPC layer answers the suite's requests
 * at their header, so that the cases that continue a stream would not test anything there.
 *
 * It needs Go, and installs the suite on each run.
 */
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createAuthority } from '../certificates.ts';
import { installGo, inTemporaryFolder } from '../conformance/go.mjs';

// A thousand times as long as an idle machine needs. It ends a run that hangs.
const timeoutMs = 300_000;
// For one case. A slow machine may need more than the default of two seconds, and a case that passes does not wait for it.
const caseSeconds = 20;
const failingCaseSeconds = 1;
const casesMin = 146;

await inTemporaryFolder(async (work) => {
  // The last version that the module proxy has.
  installGo(work, 'github.com/summerwind/h2spec', 'v2.2.1+incompatible', ['cmd/h2spec']);

  /** Runs the suite against a server. Returns its output and whether every case has passed. */
  const run = async (title, seconds, implementation, workers, tls) => {
    const server = fork(join(import.meta.dirname, 'h2spec-server.mjs'), [implementation, String(workers)]);
    server.send({ tls });
    const [port] = await once(server, 'message');
    const args = ['--strict', '--port', String(port), '--timeout', String(seconds)];
    if (tls !== undefined) args.push('--tls', '--insecure');
    const { stdout, signal } = spawnSync(join(work, 'h2spec'), args, { encoding: 'utf8', timeout: timeoutMs });
    server.disconnect();
    const [summary, passed] = /^\d+ tests, (\d+) passed, .*$/m.exec(stdout) ?? ['no result', 0];
    console.log(`${title}: ${signal ?? summary}`);
    return { stdout, isPassed: Number(passed) >= casesMin && summary.endsWith(', 0 skipped, 0 failed') };
  };
  const tls = createAuthority().issue('localhost');
  for (const [title, ...server] of [
    ['src/http2', 'own', 0],
    ['src/http2 with TLS', 'own', 0, tls],
    ['src/http2 with two workers', 'own', 2],
    ['src/http2 with two workers and TLS', 'own', 2, tls],
  ]) {
    const { stdout, isPassed } = await run(title, caseSeconds, ...server);
    if (isPassed) continue;
    console.error(stdout);
    process.exitCode = 1;
  }
  await run('node:http2', failingCaseSeconds, 'node', 0);
});
