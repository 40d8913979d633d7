/** A migrated database of its own for a test file: a clone of the run's template, dropped when it is disposed of. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  /** For looking behind what is tested; the connections are not those of what is tested. */
  query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<R[]>;
}

export async function createTestDatabase(): Promise<TestDatabase> {
  const template = inject('databasePrefix');
  const name = `${template}_${randomBytes(4).toString('hex')}`;
  await runAsAdmin(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  const url = new URL(inject('adminUrl'));
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 4 });
  // Tests cut connections on purpose.
  pool.on('error', () => {});
  return {
    url: url.href,
    name,
    async query<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      return (await pool.query<R>(sql, [...values])).rows;
    },
    async [Symbol.asyncDispose]() {
      await pool.end();
      // Forced: what the test has left open does not keep the database.
      await runAsAdmin(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

async function runAsAdmin(statement: string): Promise<void> {
  const admin = new pg.Client({ connectionString: inject('adminUrl') });
  await admin.connect();
  try {
    // One at a time: from Postgres 15 on clones may overlap, but one that is dropped meanwhile makes them wait and fail.
    await admin.query('SELECT pg_advisory_lock(7237003)');
    await admin.query(statement);
  } finally {
    await admin.end();
  }
}
