/** Users in the form in which Postgres sends them, and decoded ones from the store. */
import { storedUser } from '../../bench/stored-user.js';
import { decodeStoredUser } from '../../src/database/columns.js';
import type { Database } from '../../src/database/database.js';
import { type AnyUser, isStored, type StoredUser } from '../../src/model/stored-user.js';
import type { User } from '../../src/model/user.js';
import * as store from '../../src/store/find-users.js';

export { storedUser };

export async function selectUsers(database: Database, ids: readonly string[]): Promise<(User | undefined)[]> {
  return allDecoded(await store.selectUsers(database, ids));
}

export async function selectUsersByEmail(database: Database, emails: readonly string[]): Promise<(User | undefined)[]> {
  return allDecoded(await store.selectUsersByEmail(database, emails));
}

/** The user in its decoded form. */
export function decoded(user: AnyUser): User {
  return isStored(user) ? decodeStoredUser(user) : user;
}

function allDecoded(users: readonly (StoredUser | undefined)[]): (User | undefined)[] {
  return users.map((user) => user && decodeStoredUser(user));
}
