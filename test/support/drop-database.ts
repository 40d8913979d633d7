/** Drops a database that may still have sessions. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

/** Postgres lets no other role than a superuser end an autovacuum worker, which ends soon by itself. */
const attemptsMax = 100;

export async function dropDatabase(admin: pg.Client, name: string): Promise<void> {
  for (let attempts = 1; ; attempts++) {
    try {
      // FORCE closes connections that a test has left open.
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      return;
    } catch (error) {
      const isForbidden = error instanceof Error && 'code' in error && error.code === '42501';
      if (!isForbidden || attempts === attemptsMax) throw error;
      await sleep(100);
    }
  }
}
