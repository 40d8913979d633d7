/**
 * Starts one Postgres for a whole test run, with a migrated template that each test file clones. With DATABASE_URL it uses
 * that Postgres, creates databases with unique names, and drops only those.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { migrateUp } from '../../src/database/migrate.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';
import { dropDatabase } from './drop-database.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL of a role that may create databases, in a database that the tests do not change. */
    adminUrl: string;
    /** The prefix of all database names of this run, and the name of the template. */
    databasePrefix: string;
  }
}

// A test may be paused in a debugger, but not for a day.
const leftoverSeconds = 86_400;

const root = path.resolve(import.meta.dirname, '../..');

// Kept between runs. This saves initdb, and stops the server of a killed run.
const dataDir = path.join(root, '.roster/test');

let embedded: EmbeddedPostgres | undefined;
let adminUrl: string;
let prefix: string;

export async function setup(project: TestProject): Promise<void> {
  compile();
  if (process.env.DATABASE_URL) {
    adminUrl = process.env.DATABASE_URL;
  } else {
    embedded = await startEmbeddedPostgres({ dataDir, log: (message) => console.error(message) });
    adminUrl = embedded.url;
    await withAdmin(forgoDurability);
  }
  const seconds = Math.floor(Date.now() / 1000);
  prefix = `roster_test_${seconds}_${randomBytes(4).toString('hex')}`;
  await dropDatabases((name) => Number(name.split('_')[2]) < seconds - leftoverSeconds);
  // Uses template0 and UTF-8 because initdb uses SQL_ASCII without LANG.
  await withAdmin((admin) => admin.query(`CREATE DATABASE ${prefix} TEMPLATE template0 ENCODING 'UTF8'`));
  const url = new URL(adminUrl);
  url.pathname = `/${prefix}`;
  await migrateUp({
    url: url.href,
    connectionsMax: 1,
    connectTimeoutMs: 30_000,
    connectionAgeMsMax: 3_600_000,
    statementTimeoutMs: 0,
    lockTimeoutMs: 0,
    preparedStatements: true,
  });
  project.provide('adminUrl', adminUrl);
  project.provide('databasePrefix', prefix);
}

/** Compiles dist/, which some tests run. It does not install packages because this process uses them. */
function compile(): void {
  const { status } = spawnSync(process.execPath, ['scripts/setup.mjs', 'prepare'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('The sources do not compile. See the messages above.');
}

/** Nothing here must survive a crash of the machine. Otherwise each test that drops a database waits for the disk. */
async function forgoDurability(admin: pg.Client): Promise<void> {
  for (const name of ['fsync', 'full_page_writes']) await admin.query(`ALTER SYSTEM SET ${name} = off`);
  await admin.query('SELECT pg_reload_conf()');
}

export async function teardown(): Promise<void> {
  try {
    if (prefix !== undefined) await dropDatabases((name) => name.startsWith(prefix));
  } finally {
    await embedded?.stop();
    // For root the data may be outside the clone, where nobody would find it after deleting the clone.
    if (
      embedded !== undefined &&
      embedded.dataDir !== dataDir &&
      !fs.existsSync(`${embedded.dataDir}/pgdata/postmaster.pid`)
    ) {
      fs.rmSync(embedded.dataDir, { recursive: true, force: true });
    }
  }
}

async function dropDatabases(shouldDrop: (name: string) => boolean): Promise<void> {
  await withAdmin(async (admin) => {
    const { rows } = await admin.query<{ datname: string }>(
      `SELECT datname FROM pg_database WHERE datname ~ '^roster_test_[0-9]+_[0-9a-f]+'`,
    );
    for (const { datname } of rows) {
      if (shouldDrop(datname)) await dropDatabase(admin, datname);
    }
  });
}

async function withAdmin<T>(work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}
