/**
 * Runs the Connect project's conformance suite: its reference client, the built gateway, and its reference server with
 * gRPC. Every case must pass. config.yaml selects the features.
 *
 * It needs Go, and installs the suite from Go's module proxy or cache on each run.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const suite = 'connectrpc.com/conformance';
const version = 'v1.0.7';
// Ten times as long as an idle machine needs. It ends a run that hangs.
const timeoutMs = 300_000;

const here = import.meta.dirname;
const work = mkdtempSync(join(tmpdir(), 'roster-conformance-'));
try {
  const go = (...args) =>
    execFileSync('go', args, { cwd: work, encoding: 'utf8', env: { ...process.env, GOBIN: work } });
  // Not the suite's grpc-go server, which lacks the method for GET.
  const programs = ['connectconformance', 'referenceserver'];
  go('install', ...programs.map((program) => `${suite}/cmd/${program}@${version}`));
  const { Dir: source } = JSON.parse(go('mod', 'download', '-json', `${suite}@${version}`));
  const descriptors = join(work, 'descriptors.binpb');
  execFileSync('buf', ['build', join(source, 'proto'), '-o', descriptors], { stdio: 'inherit' });

  const { status, signal } = spawnSync(
    join(work, 'connectconformance'),
    [
      ...['--mode', 'server', '--conf', join(here, 'config.yaml'), '--verbose', '--trace', '--'],
      ...[process.execPath, join(here, 'server.mjs'), descriptors, join(work, 'referenceserver')],
    ],
    { stdio: 'inherit', timeout: timeoutMs },
  );
  if (signal !== null) console.error(`The suite was ended by ${signal}.`);
  process.exitCode = status ?? 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
