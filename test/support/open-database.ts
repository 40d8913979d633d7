/** How tests open the database as a process of Roster does, and what they put into it. */
import { randomBytes } from 'node:crypto';
import type { UserFields } from '../../src/model/user.js';
import type { DatabaseOptions } from '../../src/store/database.js';

/** Timeouts that no test comes near, unless it is about them. */
export function databaseOptions(url: string, changes: Partial<DatabaseOptions> = {}): DatabaseOptions {
  return {
    url,
    connectionsMax: 8,
    connectTimeoutMs: 30_000,
    statementTimeoutMs: 60_000,
    lockTimeoutMs: 60_000,
    preparedStatements: true,
    ...changes,
  };
}

/** A good user whom nobody else has. */
export function someFields(changes: Partial<UserFields> = {}): UserFields {
  const email = `${randomBytes(8).toString('hex')}@example.com`;
  return { firstName: 'Ada', lastName: 'Lovelace', email, profileImageUrl: '', attributes: {}, ...changes };
}
