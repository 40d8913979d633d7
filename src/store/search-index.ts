/**
 * Creates the search index if Postgres has pg_trgm, concurrently with calls. A migration cannot do this, because it
 * must not fail without the extension. Searches also work without the index, but slowly.
 */
import type { Database } from '../database/database.js';
import { isForbidden } from '../database/errors.js';

/** `busy`: another process is creating it. `impossible`: pg_trgm is not available, or this role may not create it. */
export type SearchIndexState = 'there' | 'made' | 'busy' | 'impossible';

// "search" in ASCII. Any number works that no other program locks.
const lockKey = 0x7365_6172_6368;

const stateStatement = {
  name: 'search-index',
  text: `select (select indisvalid from pg_index where indexrelid = to_regclass('users_search'))`,
};

// The extension may be in a schema that is not in the search path.
const operatorsText = `
  select quote_ident(nspname) || '.gin_trgm_ops'
  from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'pg_trgm'`;

/** The text that is searched. A word has no white space, so it never matches across the line break between two fields. */
export function searchText(table: string): string {
  return `search_text(${table}.first_name, ${table}.last_name, ${table}.email)`;
}

/**
 * Creates the index if it is missing or incomplete. Takes 20 s for a million users (64 MB of maintenance_work_mem, two
 * cores) and does not block reads or writes. After an abort, the next call cleans up.
 */
export async function ensureSearchIndex(database: Database, signal: AbortSignal): Promise<SearchIndexState> {
  if (await isValid(database)) return 'there';
  try {
    // The lock belongs to a transaction on a separate connection, so that it is released with the connection, also with
    // a pooler. CONCURRENTLY would wait forever for a transaction with a snapshot. The lock's key is therefore not a
    // parameter: the driver leaves the portal of a statement with parameters open, and with it the snapshot.
    await using guard = await database.openSession(signal);
    await guard.query('begin');
    await guard.query('set local idle_in_transaction_session_timeout = 0');
    const [[isMine] = []] = await guard.query(`select pg_try_advisory_xact_lock(${lockKey})`);
    if (isMine !== true) return 'busy';
    const valid = await isValid(database);
    if (valid) return 'there';

    await using session = await database.openSession(signal, { keepsState: true });
    await session.query('set statement_timeout = 0');
    // It waits for older transactions, but no other transaction waits for it.
    await session.query('set lock_timeout = 0');
    // IF NOT EXISTS needs the CREATE privilege even if the extension exists.
    if ((await session.query(operatorsText)).length === 0) await session.query('create extension pg_trgm');
    const [[operators] = []] = await session.query(operatorsText);
    if (valid === false) await session.query('drop index concurrently users_search');
    await session.query(`
      create index concurrently users_search on users using gin (${searchText('users')} ${operators})`);
    // Without statistics on the text, Postgres expects every word to be rare.
    await session.query('analyze users');
    return 'made';
  } catch (error) {
    if (isForbidden(error)) return 'impossible';
    throw error;
  }
}

/** Undefined if the index does not exist. */
async function isValid(database: Database): Promise<boolean | undefined> {
  const [[valid] = []] = await database.run(stateStatement, []);
  return (valid as boolean | null | undefined) ?? undefined;
}
