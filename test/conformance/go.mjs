/** Programs in Go, from Go's module proxy or cache. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';

/** Runs a function with a new folder, and removes the folder after that. */
export async function inTemporaryFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), 'roster-conformance-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Installs programs of a module, such as `cmd/referenceserver` or `.`, into a folder. Returns the folder of its source. */
export function installGo(folder, module, version, programs) {
  const go = (...args) =>
    execFileSync('go', args, { cwd: folder, encoding: 'utf8', env: { ...process.env, GOBIN: folder } });
  go('install', ...programs.map((program) => `${posix.join(module, program)}@${version}`));
  return JSON.parse(go('mod', 'download', '-json', `${module}@${version}`)).Dir;
}
