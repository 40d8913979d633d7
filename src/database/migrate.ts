/**
 * Migrates the schema up and down, in one transaction for each call.
 *
 * A lock makes replicas that start at the same time wait for each other.
 */
import { MigrationExecutor, type QueryRunner } from 'typeorm';
import { prepareConnection } from './connection.js';
import type { DatabaseOptions } from './database.js';
import { faultOf, isDenied } from './errors.js';
import { type Migration, migrations, migrationsTableName } from './migrations.js';
import { createDataSource } from './orm.js';
import { createPool } from './pool.js';
import { checkMayMigrate, checkMayServe, checkMigrationsTable } from './privileges.js';
import { createServers } from './servers.js';

export interface MigrationStatus {
  /** In the database, oldest first. */
  applied: string[];
  /** Known to this version but not in the database. */
  pending: string[];
  /** In the database but unknown to this version. */
  unknown: string[];
}

export interface MigrationResult extends MigrationStatus {
  /** The migrations that this call applied or undid. */
  changed: string[];
}

/** Thrown if the database has migrations that this program does not have. */
export class UnknownMigrationsError extends Error {
  override readonly name = 'UnknownMigrationsError';

  constructor(unknown: readonly string[], known: readonly Migration[]) {
    const names = unknown.join(', ');
    super(
      unknown.some((name) => numberOf(name) > Math.max(...known.map((migration) => numberOf(migration.name))))
        ? `The database's schema is newer than this Roster. It has migrations that this version does not know: ${names}. ` +
            'Run the newer version, or undo these migrations with it first.'
        : `The database was created by a development version of Roster. It has migrations that no release has: ${names}. ` +
            'Move its users as docs/operations.md describes, or use an empty database.',
    );
  }
}

function numberOf(migration: string): number {
  return Number(/\d+$/.exec(migration)?.[0]);
}

// "roster" in ASCII. It could be any number that no other program locks.
const lockKey = 0x726f_7374_6572;

/**
 * Applies all pending migrations, and checks that the role may use all tables, except that of the API keys without
 * `usesApiKeys`. Throws UnknownMigrationsError and UnusableDatabaseError.
 */
export function migrateUp(
  options: DatabaseOptions,
  known: readonly Migration[] = migrations,
  usesApiKeys = true,
): Promise<MigrationResult> {
  return withLock(options, known, async (executor, runner) => {
    const { applied, pending } = await checkedStatus(runner, known);
    const forbidden = pending.length > 0 ? await checkMayMigrate(runner, applied.length) : undefined;
    const changed =
      pending.length === 0
        ? []
        : await executor.executePendingMigrations().catch((error: unknown) => {
            throw isDenied(error) ? forbidden : error;
          });
    await checkMayServe(runner, usesApiKeys);
    return { ...(await readStatus(runner, known)), changed: changed.map((migration) => migration.name) };
  });
}

/** Undoes the last migration, if any. Throws UnknownMigrationsError. */
export function migrateDown(
  options: DatabaseOptions,
  known: readonly Migration[] = migrations,
): Promise<MigrationResult> {
  return withLock(options, known, async (executor, runner) => {
    const last = (await checkedStatus(runner, known)).applied.at(-1);
    if (last !== undefined) await executor.undoLastMigration();
    return { ...(await readStatus(runner, known)), changed: last === undefined ? [] : [last] };
  });
}

export function migrationStatus(options: DatabaseOptions): Promise<MigrationStatus> {
  return withLock(options, migrations, (_executor, runner) => readStatus(runner, migrations));
}

async function withLock<T>(
  options: DatabaseOptions,
  known: readonly Migration[],
  work: (executor: MigrationExecutor, runner: QueryRunner) => Promise<T>,
): Promise<T> {
  // A migration, or waiting for another process's migration, may take longer than any statement of a call.
  const servers = createServers(options.directUrl ?? options.url, options.connectTimeoutMs);
  const pool = createPool({ ...options, connectionsMax: 1, statementTimeoutMs: 0, lockTimeoutMs: 0 }, servers, {
    onConnect: (client) => prepareConnection(client, servers),
  });
  const dataSource = createDataSource(pool, known);
  try {
    await dataSource.initialize();
    const runner = dataSource.createQueryRunner();
    try {
      await runner.startTransaction();
      // The driver does not send timeouts of zero, so those of the role would apply.
      const timeouts = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
      await runner.query(`select ${timeouts.map((name) => `set_config('${name}', '0', true)`).join(', ')}`);
      // The transaction holds the lock, because a pooler may give the next statement to another session.
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

async function checkedStatus(runner: QueryRunner, known: readonly Migration[]): Promise<MigrationStatus> {
  const status = await readStatus(runner, known);
  if (status.unknown.length > 0) throw new UnknownMigrationsError(status.unknown, known);
  return status;
}

async function readStatus(runner: QueryRunner, known: readonly Migration[]): Promise<MigrationStatus> {
  await checkMigrationsTable(runner);
  const [table] = await runner.query('select to_regclass($1) is not null as is_present', [migrationsTableName]);
  const rows: { name: string }[] = table.is_present
    ? await runner.query(`select name from ${migrationsTableName} order by timestamp`)
    : [];
  const applied = rows.map((row) => row.name);
  const names = known.map((migration) => migration.name);
  return {
    applied,
    pending: names.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !names.includes(name)),
  };
}
