/**
 * The data source that TypeORM's command line loads: `npx typeorm migration:show -d dist/src/database/data-source.js`.
 * scripts/migration.mjs calls it. Servers migrate with migrate.ts, which takes a lock.
 */
import pg from 'pg';
import { createDataSource } from './orm.js';

const url = process.env.DATABASE_URL;
if (url === undefined || url === '') {
  throw new Error('Set DATABASE_URL, or run npm run migration:show, which finds the embedded Postgres.');
}

export const dataSource = createDataSource(new pg.Pool({ connectionString: url }));
