/**
 * Creates the search index if Postgres has pg_trgm, while calls continue. A migration cannot do this, because it must
 * not fail without the extension. Without the index, searches work, but slowly.
 */
import type { Database } from '../database/database.js';
import { isForbidden } from '../database/errors.js';

/** `busy`: another process is creating it. `impossible`: pg_trgm is not available, or this role may not create it. */
export type SearchIndexState = 'exists' | 'created' | 'busy' | 'impossible';

// "search" in ASCII. It could be any number that no other program locks.
const lockKey = 0x7365_6172_6368;

// The function of the text to search. A new version of it gets a new name (docs/decisions/0031-search-folds-accents.md).
const searchFunction = 'search_key';

// No search can use an index of a previous version, which has another function.
const validStatement = {
  name: 'search-index',
  text: `
    select (select indisvalid and pg_get_indexdef(indexrelid) like '%${searchFunction}(%'
    from pg_index where indexrelid = to_regclass('users_search'))`,
};

// The extension may be in a schema that is not in the search path.
const operatorsText = `
  select quote_ident(nspname) || '.gin_trgm_ops'
  from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'pg_trgm'`;

/** SQL for the text to search. A word has no white space, so it cannot match across the line break between fields. */
export function searchText(table: string): string {
  return `${searchFunction}(${table}.first_name, ${table}.last_name, ${table}.email)`;
}

/**
 * Creates the index if it is missing, incomplete or of a previous version. Takes 20 s for a million users (64 MB of
 * maintenance_work_mem, two cores) and does not block reads or writes. After an abort, the next call cleans up.
 */
export async function ensureSearchIndex(database: Database, signal: AbortSignal): Promise<SearchIndexState> {
  if (await isValid(database)) return 'exists';
  try {
    // A transaction on a separate connection holds the lock, so that the lock is released with the connection, even if
    // there is a pooler. CREATE INDEX CONCURRENTLY would wait forever for this transaction if it had a snapshot. So the
    // lock's key is not a parameter: for a statement with parameters, the driver leaves a portal with a snapshot open.
    await using guard = await database.openSession(signal);
    await guard.query('begin');
    await guard.query('set local idle_in_transaction_session_timeout = 0');
    const [[isLocked] = []] = await guard.query(`select pg_try_advisory_xact_lock(${lockKey})`);
    if (isLocked !== true) return 'busy';
    const valid = await isValid(database);
    if (valid) return 'exists';

    await using session = await database.openSession(signal, { keepsState: true });
    await session.query('set statement_timeout = 0');
    // These statements wait for older transactions, but no other transaction waits for them.
    await session.query('set lock_timeout = 0');
    // IF NOT EXISTS needs the CREATE privilege even if the extension exists.
    if ((await session.query(operatorsText)).length === 0) await session.query('create extension pg_trgm');
    const [[operators] = []] = await session.query(operatorsText);
    if (valid === false) await session.query('drop index concurrently users_search');
    await session.query(`
      create index concurrently users_search on users using gin (${searchText('users')} ${operators})`);
    // Without statistics on the text, Postgres expects every word to be rare.
    await session.query('analyze users');
    return 'created';
  } catch (error) {
    if (isForbidden(error)) return 'impossible';
    throw error;
  }
}

/** Undefined if the index does not exist, and false if it must be rebuilt. */
async function isValid(database: Database): Promise<boolean | undefined> {
  const [[valid] = []] = await database.run(validStatement, []);
  return (valid as boolean | null | undefined) ?? undefined;
}
