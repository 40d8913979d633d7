/**
 * Migrates the schema up and down, under a lock, so that replicas that start together wait for each other.
 *
 * Each call is one transaction.
 */
import type pg from 'pg';
import { MigrationExecutor, type QueryRunner } from 'typeorm';
import { prepareConnection } from './connection.js';
import { createDataSource, type DatabaseOptions } from './database.js';
import { faultOf } from './errors.js';
import { migrations, migrationsTableName } from './migrations.js';

export interface MigrationStatus {
  /** In the database, oldest first. */
  applied: string[];
  /** Known to this version but not in the database. */
  pending: string[];
  /** In the database but unknown to this version, so a newer Roster has migrated it. */
  unknown: string[];
}

export interface MigrationResult extends MigrationStatus {
  /** The migrations that this call applied or undid. */
  changed: string[];
}

/** Thrown if the database's schema is newer than this program. */
export class SchemaTooNewError extends Error {
  override readonly name = 'SchemaTooNewError';

  constructor(unknown: readonly string[]) {
    super(
      `The database's schema is newer than this Roster. It has migrations that this version does not know: ${unknown.join(', ')}. ` +
        'Run the newer version, or undo these migrations with it first.',
    );
  }
}

// "roster" in ASCII. Any number works that no other program locks.
const lockKey = 0x726f_7374_6572;

/** Applies all pending migrations. Throws SchemaTooNewError. */
export function migrateUp(options: DatabaseOptions): Promise<MigrationResult> {
  return withLock(options, async (executor, runner) => {
    const before = await readStatus(runner);
    if (before.unknown.length > 0) throw new SchemaTooNewError(before.unknown);
    const changed = before.pending.length === 0 ? [] : await executor.executePendingMigrations();
    return { ...(await readStatus(runner)), changed: changed.map((migration) => migration.name) };
  });
}

/** Undoes the last migration, if any. Throws SchemaTooNewError. */
export function migrateDown(options: DatabaseOptions): Promise<MigrationResult> {
  return withLock(options, async (executor, runner) => {
    const before = await readStatus(runner);
    if (before.unknown.length > 0) throw new SchemaTooNewError(before.unknown);
    const last = before.applied.at(-1);
    if (last !== undefined) await executor.undoLastMigration();
    return { ...(await readStatus(runner)), changed: last === undefined ? [] : [last] };
  });
}

export function migrationStatus(options: DatabaseOptions): Promise<MigrationStatus> {
  return withLock(options, (_executor, runner) => readStatus(runner));
}

async function withLock<T>(
  options: DatabaseOptions,
  work: (executor: MigrationExecutor, runner: QueryRunner) => Promise<T>,
): Promise<T> {
  // A migration, or waiting for another process's migration, may take longer than any statement of a call.
  const dataSource = createDataSource(
    { ...options, url: options.directUrl ?? options.url, connectionsMax: 1, statementTimeoutMs: 0, lockTimeoutMs: 0 },
    { onConnect: (client: pg.Client) => prepareConnection(client, options.connectTimeoutMs) },
  );
  try {
    await dataSource.initialize();
    const runner = dataSource.createQueryRunner();
    try {
      await runner.startTransaction();
      // The driver does not send a zero when the connection opens, and the role may have timeouts.
      const timeouts = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
      await runner.query(`select ${timeouts.map((name) => `set_config('${name}', '0', true)`).join(', ')}`);
      // The transaction holds the lock, not the session, so that a lost connection releases it, and poolers work.
      await runner.query('select pg_advisory_xact_lock($1)', [lockKey]);
      const executor = new MigrationExecutor(dataSource, runner);
      executor.transaction = 'none';
      const result = await work(executor, runner);
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => {});
      throw error;
    } finally {
      await runner.release();
    }
  } catch (error) {
    throw faultOf(error);
  } finally {
    if (dataSource.isInitialized) await dataSource.destroy();
  }
}

async function readStatus(runner: QueryRunner): Promise<MigrationStatus> {
  const [table] = await runner.query('select to_regclass($1) is not null as is_there', [migrationsTableName]);
  const rows: { name: string }[] = table.is_there
    ? await runner.query(`select name from ${migrationsTableName} order by timestamp`)
    : [];
  const applied = rows.map((row) => row.name);
  const known = migrations.map((migration) => migration.name);
  return {
    applied,
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  };
}
