/**
 * Moves the schema up and down, under a lock that makes replicas which start together take turns.
 *
 * All of one call is one transaction: it happens as a whole or not at all.
 */
import type pg from 'pg';
import { MigrationExecutor, type QueryRunner } from 'typeorm';
import { prepareConnection } from './connection.js';
import { createDataSource, type DatabaseOptions } from './database.js';
import { faultOf } from './faults.js';
import { migrations, migrationsTableName } from './migrations.js';

export interface MigrationStatus {
  /** In the database, oldest first. */
  applied: string[];
  /** Known here but not in the database. */
  pending: string[];
  /** In the database but not known here: a newer Roster has been here. */
  unknown: string[];
}

export interface MigrationResult extends MigrationStatus {
  /** What this call has applied or undone. */
  changed: string[];
}

/** Thrown where the database's schema is newer than this program. */
export class SchemaTooNewError extends Error {
  override readonly name = 'SchemaTooNewError';

  constructor(unknown: readonly string[]) {
    super(
      `The database's schema is newer than this Roster: it has ${unknown.join(', ')}, which this version does not know. ` +
        'Run the newer version, or let it undo these migrations first.',
    );
  }
}

// Any number will do that nobody else locks: "roster" in ASCII.
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

/** Undoes the last migration; with none there does nothing. Throws SchemaTooNewError. */
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
  // A migration may take longer than any statement of a call, and so may waiting for somebody else's.
  const dataSource = createDataSource(
    { ...options, url: options.directUrl ?? options.url, connectionsMax: 1, statementTimeoutMs: 0, lockTimeoutMs: 0 },
    { onConnect: (client: pg.Client) => prepareConnection(client, options.connectTimeoutMs) },
  );
  try {
    await dataSource.initialize();
    const runner = dataSource.createQueryRunner();
    try {
      await runner.startTransaction();
      // Zero is not sent when the connection opens, and the role may have timeouts of its own.
      const timeouts = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
      await runner.query(`select ${timeouts.map((name) => `set_config('${name}', '0', true)`).join(', ')}`);
      // Held by the transaction, not by the session: it goes with a lost connection, and works behind a pooler.
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
