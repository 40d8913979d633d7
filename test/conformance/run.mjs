/**
 * The Connect project's conformance suite against the gateway: its reference client, the gateway as it is built, and its
 * reference server, which speaks gRPC here. Every case must pass; see config.yaml for what is asked.
 *
 * Needs Go and its module proxy (or its cache), from where the suite comes each time: nothing of it is kept here.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const suite = 'connectrpc.com/conformance';
const version = 'v1.0.7';
// Enough for a machine that is ten times as busy; what hangs is ended by it.
const timeoutMs = 300_000;

const here = import.meta.dirname;
const work = mkdtempSync(join(tmpdir(), 'roster-conformance-'));
try {
  const go = (...args) =>
    execFileSync('go', args, { cwd: work, encoding: 'utf8', env: { ...process.env, GOBIN: work } });
  // Not the gRPC server of Go, which the suite has as well: that lacks the method for GET.
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
