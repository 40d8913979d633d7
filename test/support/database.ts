/** Creates a migrated database for a test file: a clone of the run's template, dropped when it is disposed. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { dropDatabase } from './drop-database.js';

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  /** Queries the database over separate connections. */
  query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<R[]>;
}

export async function createTestDatabase(): Promise<TestDatabase> {
  const template = inject('databasePrefix');
  const name = `${template}_${randomBytes(4).toString('hex')}`;
  await runAsAdmin((admin) => admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  const url = new URL(inject('adminUrl'));
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 4 });
  // Tests break connections on purpose.
  pool.on('error', () => {});
  return {
    url: url.href,
    name,
    async query<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      return (await pool.query<R>(sql, [...values])).rows;
    },
    async [Symbol.asyncDispose]() {
      await pool.end();
      await runAsAdmin((admin) => dropDatabase(admin, name));
    },
  };
}

async function runAsAdmin(work: (admin: pg.Client) => Promise<unknown>): Promise<void> {
  const admin = new pg.Client({ connectionString: inject('adminUrl') });
  await admin.connect();
  try {
    // One at a time: since Postgres 15 clones may run in parallel, but dropping a database meanwhile makes others wait
    // and fail.
    await admin.query('SELECT pg_advisory_lock(7237003)');
    await work(admin);
  } finally {
    await admin.end();
  }
}
