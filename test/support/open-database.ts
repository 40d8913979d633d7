/** Options to open the database as Roster does, and test data for it. */
import { randomBytes } from 'node:crypto';
import type { Database, DatabaseOptions } from '../../src/database/database.js';
import { noFields, type UserFields } from '../../src/model/user.js';
import { buildListIndex, findListIndexes, type ListIndexName, listIndexes } from '../../src/store/list-indexes.js';
import type { ListIndexLookup } from '../../src/store/list-users.js';

/** The timeouts are longer than any test takes, unless the test is about them. */
export function databaseOptions(url: string, changes: Partial<DatabaseOptions> = {}): DatabaseOptions {
  return {
    url,
    connectionsMax: 8,
    connectTimeoutMs: 30_000,
    connectionAgeMsMax: 3_600_000,
    statementTimeoutMs: 60_000,
    lockTimeoutMs: 60_000,
    preparedStatements: true,
    ...changes,
  };
}

/** Reads which indexes exist for each list, and builds none. */
export const presentIndexes: ListIndexLookup = {
  known: new Set(),
  existing: (_, run) => findListIndexes(run),
};

/** Builds an index that lists can do without. */
export async function buildIndex(database: Database, name: ListIndexName): Promise<void> {
  for (const index of listIndexes) {
    if (index.name === name) await buildListIndex(database, index, new AbortController().signal);
  }
}

/** A valid user with a unique email. */
export function someFields(changes: Partial<UserFields> = {}): UserFields {
  const email = `${randomBytes(8).toString('hex')}@example.com`;
  return { ...noFields, firstName: 'Ada', lastName: 'Lovelace', email, ...changes };
}
