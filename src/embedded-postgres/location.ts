/**
 * Chooses the data folder, and the account that runs Postgres and must be able to enter the folder. Unless Roster runs as
 * root, these are the requested folder and Roster's own user.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';

/** Its message says what is wrong with the embedded Postgres and what to do, so it is shown without a stack. */
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

/** For root only: the folder for programs and data that the account cannot reach elsewhere. Only root can write to it. */
export const systemFolder = '/var/lib/roster';

/**
 * The programs' environment. It has no variables that configure Postgres (PGPORT, PGDATA). Messages are in English, because
 * this code reads them. PATH has the folder of the shell.
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
 * Creates the data folder if it is missing. For root, it is a folder in `systemFolder` if the account cannot enter the
 * requested one, as in a clone in /root or below `mktemp -d`. An existing cluster runs as its owner.
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

/** Creates the folder and its parents. */
export function makeFolder(folder: string): void {
  try {
    const first = fs.mkdirSync(folder, { recursive: true });
    if (first === undefined || process.getuid?.() !== 0) return;
    // The account must be able to enter the folders, regardless of root's umask. Secret files have their own modes.
    for (let made = folder; made.length >= first.length; made = path.dirname(made)) fs.chmodSync(made, 0o755);
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Could not create the data folder: ${(cause as Error).message}. Choose another one with DATA_DIR, or set DATABASE_URL.`,
      { cause },
    );
  }
}
