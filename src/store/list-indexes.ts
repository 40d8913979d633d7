/**
 * The indexes that only some lists use: lists by name, and searches. Lists are correct without them, but slow. Each is
 * built when it is needed, while calls continue (docs/decisions/0030-indexes-follow-use.md).
 */
import type { Database, RunStatement, Statement } from '../database/database.js';
import { isForbidden } from '../database/errors.js';
import type { Session } from '../database/session.js';
import { searchFunction, searchIndexDefinition } from './search-index.js';

export type ListIndexName = 'users_first_name_id' | 'users_last_name_id' | 'users_search';

export interface ListIndex {
  readonly name: ListIndexName;
  /** The calls that are slow without it. */
  readonly serves: string;
  /** Part of its definition. Lists cannot use an index of the same name without it. */
  readonly key: string;
  /** The end of its CREATE INDEX statement, after the table's name. */
  definition(session: Session): Promise<string>;
}

export const listIndexes: readonly ListIndex[] = [
  {
    name: 'users_first_name_id',
    serves: 'lists by first_name',
    key: '(first_name, id)',
    definition: async () => '(first_name, id)',
  },
  {
    name: 'users_last_name_id',
    serves: 'lists by last_name',
    key: '(last_name, id)',
    definition: async () => '(last_name, id)',
  },
  {
    name: 'users_search',
    serves: 'searches',
    key: `${searchFunction}(`,
    definition: searchIndexDefinition,
  },
];

/** Lists of fewer users are fast without an index. */
export const usersWithoutIndexMax = 20_000;

/** A bounded count, because Postgres' own estimate is missing after an import until the next autovacuum. */
const manyUsersStatement: Statement = {
  name: '',
  text: `select exists (select from users offset ${usersWithoutIndexMax} limit 1)`,
};

export async function hasManyUsers(run: RunStatement): Promise<boolean> {
  const [[isMany] = []] = await run(manyUsersStatement, []);
  return isMany === true;
}

const namesSql = listIndexes.map(({ name }) => `'${name}'`).join(', ');
const keySql = `case pg_class.relname ${listIndexes.map(({ name, key }) => `when '${name}' then '${key}'`).join(' ')} end`;
const isUsableSql = `(indisvalid and strpos(pg_get_indexdef(indexrelid), ${keySql}) > 0)`;

const stateStatement: Statement = {
  name: 'list-indexes',
  text: `
    select relname::text, ${isUsableSql}
    from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = to_regclass('users') and relname in (${namesSql})`,
};

/** Returns the indexes that lists can use. */
export async function findListIndexes(run: RunStatement): Promise<ReadonlySet<ListIndexName>> {
  const rows = (await run(stateStatement, [])) as [ListIndexName, boolean][];
  return new Set(rows.filter(([, isUsable]) => isUsable).map(([name]) => name));
}

/**
 * `building`: another process is building this index. `busy`: another process is building another index, or may be
 * building this one.
 */
export type BuildOutcome = 'exists' | 'built' | 'building' | 'busy' | ForbiddenBuild;
export type ForbiddenBuild = keyof typeof forbiddenBuilds;

/** Why Roster's role may not build an index, and what an operator can do. */
export const forbiddenBuilds = {
  noExtension:
    'Postgres does not have the extension pg_trgm, or this role may not create it. Install it on the server, and run `create extension pg_trgm` as a superuser',
  notOwner:
    'This role does not own the table users. Run `roster indexes build all` as the owner, or make this role the owner',
} as const;

// "search" in ASCII. It could be any number that no other program locks.
const lockKey = 0x7365_6172_6368;

/**
 * Builds the index if it is missing or unusable, without blocking reads or writes. After an abort, the next call drops
 * the unfinished index. Only one process builds at a time.
 */
export async function buildListIndex(database: Database, index: ListIndex, signal: AbortSignal): Promise<BuildOutcome> {
  let ifForbidden: ForbiddenBuild = 'noExtension';
  try {
    // A transaction on a separate connection holds the lock, so that the lock is released with the connection, even if
    // there is a pooler. CREATE INDEX CONCURRENTLY would wait forever for this transaction if it had a snapshot. So the
    // lock's key is not a parameter: for a statement with parameters, the driver leaves a portal with a snapshot open.
    await using guard = await database.openSession(signal);
    await guard.query('begin');
    await guard.query('set local idle_in_transaction_session_timeout = 0');
    const [[isLocked] = []] = await guard.query(`select pg_try_advisory_xact_lock(${lockKey})`);
    if (isLocked !== true) return (await readState(guard, index))?.isBuilding ? 'building' : 'busy';

    await using session = await openMaintenance(database, signal);
    const state = await readState(session, index);
    if (state?.isBuilding) return 'building';
    if (state?.isUsable) return 'exists';
    if (state?.mayBeBuilding) return 'busy';
    const definition = await index.definition(session);
    ifForbidden = 'notOwner';
    if (state !== undefined) await session.query(`drop index concurrently ${state.sqlName}`);
    await createOrDrop(session, index, definition);
    // Without statistics on its expression, Postgres expects every word of a search to be rare.
    await session.query('analyze users');
    return 'built';
  } catch (error) {
    if (isForbidden(error)) return ifForbidden;
    throw error;
  }
}

/** Creates the index. If this fails, drops what it has built, which would take space and slow down writes. */
async function createOrDrop(session: Session, index: ListIndex, definition: string): Promise<void> {
  try {
    await session.query(`create index concurrently ${index.name} on users ${definition}`);
  } catch (error) {
    await dropUnusable(session, index).catch(() => {});
    throw error;
  }
}

async function dropUnusable(session: Session, index: ListIndex): Promise<void> {
  const state = await readState(session, index);
  if (state === undefined || state.isUsable || state.isBuilding || state.mayBeBuilding) return;
  await session.query(`drop index concurrently ${state.sqlName}`);
}

/** Drops the index, if it exists, without blocking reads or writes. Returns whether it existed. */
export async function dropListIndex(database: Database, index: ListIndex, signal: AbortSignal): Promise<boolean> {
  await using session = await openMaintenance(database, signal);
  const state = await readState(session, index);
  if (state === undefined) return false;
  await session.query(`drop index concurrently ${state.sqlName}`);
  return true;
}

/** Opens a session for statements that wait for older transactions. No other transaction waits for them. */
async function openMaintenance(database: Database, signal: AbortSignal): Promise<Session> {
  const session = await database.openSession(signal, { keepsState: true });
  try {
    await session.query('set statement_timeout = 0');
    await session.query('set lock_timeout = 0');
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

interface IndexState {
  readonly isUsable: boolean;
  /** Whether another session of this role is building it. */
  readonly isBuilding: boolean;
  /**
   * Whether another session holds the lock of a build. Postgres hides the progress of other roles, but not their locks.
   * A statement that waits for this lock can make the build fail with a deadlock.
   */
  readonly mayBeBuilding: boolean;
  /** With its schema if that is not in the search path, and with quotes. */
  readonly sqlName: string;
}

/** Undefined if the index does not exist. */
async function readState(session: Session, { name }: ListIndex): Promise<IndexState | undefined> {
  const rows = await session.query(
    `select ${isUsableSql}, indexrelid::regclass::text,
       exists (select from pg_stat_progress_create_index where index_relid = indexrelid),
       exists (
         select from pg_locks
         where relation = indrelid and database = (select oid from pg_database where datname = current_database())
           and mode = 'ShareUpdateExclusiveLock' and pid <> pg_backend_pid()
       )
     from pg_index join pg_class on pg_class.oid = indexrelid
     where indrelid = to_regclass('users') and relname = '${name}'`,
  );
  const [row] = rows as [boolean, string, boolean, boolean][];
  if (row === undefined) return undefined;
  const [isUsable, sqlName, isBuilding, mayBeBuilding] = row;
  return { isUsable, isBuilding, mayBeBuilding, sqlName };
}

export interface ListIndexStatus {
  readonly name: ListIndexName;
  readonly serves: string;
  /**
   * `unusable`: a build was interrupted, another role is building it, or a previous version of Roster built another
   * index with this name.
   */
  readonly state: 'exists' | 'missing' | 'building' | 'unusable';
  /** The part of the build that is done, from 0 to 1. */
  readonly built: number;
  readonly bytes: number;
  /** How often Postgres has used it, since `scansSince` or since it was built. */
  readonly scans: number;
  /** When Postgres' statistics were last reset, if they were. */
  readonly scansSince: Date | undefined;
}

// A concurrent build reads the table twice: to fill the index, and to add the rows that were written meanwhile.
const statusStatement: Statement = {
  name: 'list-index-status',
  text: `
    select pg_class.relname::text, ${isUsableSql}, phase is not null,
      case
        when phase = 'initializing' or phase = 'waiting for writers before build' then 0
        when phase like 'building index%' then 0.5 * coalesce(blocks_done::float8 / nullif(blocks_total, 0), 0)
        when phase = 'index validation: scanning table'
          then 0.5 + 0.5 * coalesce(blocks_done::float8 / nullif(blocks_total, 0), 0)
        when phase = 'waiting for writers before validation' or phase like 'index validation%' then 0.5
        else 1
      end,
      pg_relation_size(indexrelid)::float8, coalesce(idx_scan, 0)::float8, stats_reset
    from pg_index
      join pg_class on pg_class.oid = indexrelid
      left join pg_stat_user_indexes using (indexrelid)
      left join pg_stat_progress_create_index on index_relid = indexrelid
      left join pg_stat_database on pg_stat_database.datname = current_database()
    where indrelid = to_regclass('users') and pg_class.relname in (${namesSql})`,
};

/** Returns the state of all list indexes, in a fixed order. */
export async function readListIndexStatus(run: RunStatement): Promise<ListIndexStatus[]> {
  const rows = (await run(statusStatement, [])) as [string, boolean, boolean, number, number, number, Date | null][];
  return listIndexes.map(({ name, serves }) => {
    const row = rows.find(([found]) => found === name);
    if (row === undefined) {
      return { name, serves, state: 'missing', built: 0, bytes: 0, scans: 0, scansSince: undefined };
    }
    const [, isUsable, isBuilding, built, bytes, scans, scansSince] = row;
    const state = isUsable ? 'exists' : isBuilding ? 'building' : 'unusable';
    return { name, serves, state, built, bytes, scans, scansSince: scansSince ?? undefined };
  });
}
