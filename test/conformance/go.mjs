/** Programs in Go, from Go's module proxy or cache. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';

/** A program that the check needs cannot be installed, for example because its registry cannot be reached. */
export class CannotInstall extends Error {}

/** Runs a function with a new folder, and removes the folder after that. Exits with 77 after CannotInstall. */
export async function inTemporaryFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), 'roster-conformance-'));
  try {
    await work(folder);
  } catch (error) {
    if (!(error instanceof CannotInstall)) throw error;
    console.error(`skipped: ${error.message}`);
    process.exitCode = 77;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Installs programs of a module, such as `cmd/referenceserver` or `.`, into a folder. Returns the folder of its source. */
export function installGo(folder, module, version, programs) {
  const go = (...args) =>
    installWith('go', args, { cwd: folder, encoding: 'utf8', env: { ...process.env, GOBIN: folder } });
  go('install', ...programs.map((program) => `${posix.join(module, program)}@${version}`));
  return JSON.parse(go('mod', 'download', '-json', `${module}@${version}`)).Dir;
}

/** Runs a program that downloads something. Throws CannotInstall with the end of its output. */
export function installWith(program, args, options) {
  try {
    return execFileSync(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { 0: reason } = String(error.stderr || error.message)
      .trim()
      .split('\n')
      .slice(-1);
    throw new CannotInstall(`${program} ${args.join(' ')}: ${reason}`);
  }
}
