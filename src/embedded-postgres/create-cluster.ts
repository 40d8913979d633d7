/** Creates the files of a cluster, its password and its database, if they do not exist yet. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import type { PostgresPrograms } from './binaries.js';
import { removeLeftovers, renameUnlessExists } from './leftovers.js';
import { type ClusterLocation, chownTo, EmbeddedPostgresError, programsEnvironment, runAs } from './location.js';
import { failureIn } from './process.js';

export const userName = 'roster';
export const databaseName = 'roster';

// An arbitrary number that other programs are unlikely to use. The lock is in the database `postgres`.
const createLock = 7_237_002;

/** Creates the cluster if needed, atomically even if several processes do so at once, and returns its password. */
export async function ensureCluster(
  place: ClusterLocation,
  programs: PostgresPrograms,
  log: (message: string) => void,
): Promise<string> {
  const { folder, account } = place;
  const pgdata = path.join(folder, 'pgdata');
  removeLeftovers(folder, 'new-pgdata-');
  removeLeftovers(folder, 'new-password-');
  const passwordFile = path.join(folder, 'password');
  if (!fs.existsSync(path.join(pgdata, 'PG_VERSION'))) {
    if (fs.existsSync(pgdata)) {
      throw new EmbeddedPostgresError(`${pgdata} is not a Postgres cluster. Move it away, or choose another DATA_DIR.`);
    }
    createPassword(passwordFile, place);
    log(`Creating a database in ${folder}`);
    const unfinished = fs.mkdtempSync(path.join(folder, `new-pgdata-${process.pid}-`));
    chownTo(unfinished, account);
    const flags = ['--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', `--username=${userName}`];
    try {
      await promisify(execFile)(
        programs.initdb,
        [`--pgdata=${unfinished}`, `--pwfile=${passwordFile}`, ...flags, '--no-instructions'],
        { cwd: folder, env: programsEnvironment, ...runAs(account) },
      );
    } catch (cause) {
      fs.rmSync(unfinished, { recursive: true, force: true });
      const { stderr = '', message } = cause as Error & { stderr?: string };
      throw new EmbeddedPostgresError(
        `Cannot create a database in ${folder}: ${failureIn(stderr) || message} Free some disk space, choose another DATA_DIR, or set DATABASE_URL.`,
      );
    }
    renameUnlessExists(unfinished, pgdata);
  }
  const major = fs.readFileSync(path.join(pgdata, 'PG_VERSION'), 'utf8').trim();
  if (major !== programs.major) {
    throw new EmbeddedPostgresError(
      `The database in ${folder} was created by Postgres ${major}, but this is Postgres ${programs.major}. ` +
        'Dump it with pg_dump while the Roster that created it runs, and restore it into a new DATA_DIR (docs/operations.md), ' +
        `or move ${pgdata} away to start empty.`,
    );
  }
  try {
    return fs.readFileSync(passwordFile, 'utf8').trim();
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Could not read the password file of the database in ${folder} (${(cause as Error).message}). Restore the file, or move ${pgdata} away to start empty.`,
      { cause },
    );
  }
}

/** If several processes create a password at once, all use the first one. */
function createPassword(file: string, place: ClusterLocation): void {
  if (fs.existsSync(file)) return;
  const random = randomBytes(24).toString('base64url');
  const unfinished = path.join(place.folder, `new-password-${process.pid}-${random.slice(0, 6)}`);
  fs.writeFileSync(unfinished, `${random}\n`, { mode: 0o600, flag: 'wx', flush: true });
  chownTo(unfinished, place.account);
  try {
    fs.linkSync(unfinished, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    fs.unlinkSync(unfinished);
  }
}

export async function createDatabase(client: pg.Client): Promise<void> {
  await client.query('SELECT pg_advisory_lock($1)', [createLock]);
  const exists = await client.query('SELECT FROM pg_database WHERE datname = $1', [databaseName]);
  if (exists.rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`);
  await client.query('SELECT pg_advisory_unlock($1)', [createLock]);
}
