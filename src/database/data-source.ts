/**
 * The data source that TypeORM's command line loads: `npx typeorm migration:show -d dist/src/database/data-source.js`.
 * scripts/migration.mjs calls it. Servers migrate with migrate.ts, which takes a lock.
 */
import pg from 'pg';
import { createDataSource } from './orm.js';
import { createServers } from './servers.js';

const url = process.env.DATABASE_URL;
if (url === undefined || url === '') {
  throw new Error('Set DATABASE_URL, or run npm run migration:show, which finds the embedded Postgres.');
}

const servers = createServers(url, 30_000);
await servers.find();

export const dataSource = createDataSource(new pg.Pool(servers.config()));
