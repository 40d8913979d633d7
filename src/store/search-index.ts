/** The index for searches: the text that it contains, and its definition, which needs the extension pg_trgm. */
import type { Session } from '../database/session.js';

// The function of the text to search. A new version of it needs a new name, so that an index on the old one is replaced.
export const searchFunction = 'search_text';

// The extension may be in a schema that is not in the search path.
const operatorsText = `
  select quote_ident(nspname) || '.gin_trgm_ops'
  from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'pg_trgm'`;

/** SQL for the text to search. A word has no white space, so it cannot match across the line break between fields. */
export function searchText(table: string): string {
  return `${searchFunction}(${table}.first_name, ${table}.last_name, ${table}.email)`;
}

/** The index's definition. Creates the extension, because a migration must not fail without it. */
export async function searchIndexDefinition(session: Session): Promise<string> {
  // IF NOT EXISTS needs the CREATE privilege even if the extension exists.
  if ((await session.query(operatorsText)).length === 0) await session.query('create extension pg_trgm');
  const [[operators] = []] = await session.query(operatorsText);
  return `using gin (${searchText('users')} ${operators})`;
}
