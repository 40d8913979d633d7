/**
 * The index that searches go along where Postgres has pg_trgm: made beside calls, which it never locks out, and never in
 * a migration, which must not fail for want of an extension. Searches are right without it, and slow.
 */
import type { Database } from './database.js';
import { isForbidden } from './faults.js';

/** `busy`: another process is about it. `impossible`: no pg_trgm here, or none for this role. */
export type SearchIndexState = 'there' | 'made' | 'busy' | 'impossible';

// Any number will do that nobody else locks: "search" in ASCII.
const lockKey = 0x7365_6172_6368;

const stateStatement = {
  name: 'search-index',
  text: `select (select indisvalid from pg_index where indexrelid = to_regclass('users_search'))`,
};

// Wherever it was installed, which may be a schema that is not in the search path.
const operatorsText = `
  select quote_ident(nspname) || '.gin_trgm_ops'
  from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'pg_trgm'`;

/**
 * Makes the index where it is missing, or was left half made. Takes 20 s for a million users (64 MB of
 * maintenance_work_mem, two cores), while they are read and written as ever; aborting it undoes it at the next call.
 */
export async function ensureSearchIndex(database: Database, signal: AbortSignal): Promise<SearchIndexState> {
  if (await isValid(database)) return 'there';
  try {
    // The lock is a transaction's on a connection of its own, so that it goes with whoever holds it, also behind a pooler.
    // That transaction has no snapshot between its statements, or CONCURRENTLY would wait for it for ever: so the lock's key
    // is no parameter, because the driver leaves the portal of a statement with parameters open, and with it the snapshot.
    await using guard = await database.openSession(signal);
    await guard.query('begin');
    await guard.query('set local idle_in_transaction_session_timeout = 0');
    const [[isMine] = []] = await guard.query(`select pg_try_advisory_xact_lock(${lockKey})`);
    if (isMine !== true) return 'busy';
    const valid = await isValid(database);
    if (valid) return 'there';

    await using session = await database.openSession(signal, { keepsState: true });
    await session.query('set statement_timeout = 0');
    // It waits for transactions that are older than itself, and nobody waits for it.
    await session.query('set lock_timeout = 0');
    // IF NOT EXISTS would ask for the right to create it also where it exists.
    if ((await session.query(operatorsText)).length === 0) await session.query('create extension pg_trgm');
    const [[operators] = []] = await session.query(operatorsText);
    if (valid === false) await session.query('drop index concurrently users_search');
    await session.query(`
      create index concurrently users_search on users using gin (search_text(first_name, last_name, email) ${operators})`);
    // Without figures on the text, Postgres takes every word for a rare one.
    await session.query('analyze users');
    return 'made';
  } catch (error) {
    if (isForbidden(error)) return 'impossible';
    throw error;
  }
}

/** Undefined where there is none. */
async function isValid(database: Database): Promise<boolean | undefined> {
  const [[valid] = []] = await database.run(stateStatement, []);
  return (valid as boolean | null | undefined) ?? undefined;
}
