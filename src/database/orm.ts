/**
 * Creates TypeORM's data source, with the entities and the migrations, on an existing pool.
 *
 * TypeORM creates its pool with `new driver.Pool(options)`, and `driver` is an option. The driver here returns the
 * existing pool, so that TypeORM and the hand-written statements share its connections.
 */
import 'reflect-metadata';
import type pg from 'pg';
import { DataSource } from 'typeorm';
import { ApiKeyRow } from './entities/api-key-row.js';
import { ChangeFeedRow } from './entities/change-feed-row.js';
import { ChangeRow } from './entities/change-row.js';
import { DirectoryRow } from './entities/directory-row.js';
import { unlistedTypes } from './entities/postgres-types.js';
import { RequestIdRow } from './entities/request-id-row.js';
import { TimelineRow } from './entities/timeline-row.js';
import { UserRow } from './entities/user-row.js';
import { type Migration, migrations, migrationsTableName } from './migrations.js';

/** Creates a data source. Destroying it ends the pool. */
export function createDataSource(pool: pg.Pool, known: readonly Migration[] = migrations): DataSource {
  const dataSource = new DataSource({
    type: 'postgres',
    driver: { Pool: poolClassOf(pool) },
    entities: [UserRow, RequestIdRow, DirectoryRow, ChangeRow, ChangeFeedRow, TimelineRow, ApiKeyRow],
    migrations: [...known],
    migrationsTableName,
    installExtensions: false,
    // Makes TypeORM generate UUIDs with gen_random_uuid(), which no longer needs this extension.
    uuidExtension: 'pgcrypto',
    logging: false,
    // The pool already has an error handler.
    poolErrorHandler: () => {},
  });
  dataSource.driver.supportedDataTypes.push(...unlistedTypes);
  return dataSource;
}

/** A constructor that returns the pool. */
function poolClassOf(pool: pg.Pool): () => pg.Pool {
  return function Pool() {
    return pool;
  };
}
