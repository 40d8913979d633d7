/**
 * Finds the users of many calls with one statement, by id or by email.
 *
 * The SQL is hand-written because this path is hot: a call that shares a statement with 15 others costs a sixteenth of
 * `findOneBy` (docs/decisions/0025-typeorm-owns-the-tables.md).
 */
import { arrayParameter, userColumnsOf } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { cellAfterUser, type StoredUser, storedId, storedInteger } from '../model/stored-user.js';

const selectStatement: Statement = {
  name: 'select-users',
  text: `select ${userColumnsOf('users')} from users where id = any(${arrayParameter(1, 'uuid')}::uuid[])`,
};

/** Returns the user for each id in lower case, or undefined if there is no such user. Ids may repeat. */
export async function selectUsers(database: Database, ids: readonly string[]): Promise<(StoredUser | undefined)[]> {
  // An array as text, because the driver would quote each id of a list.
  const rows = await database.runBinary(selectStatement, [`{${ids.join()}}`]);
  const users = new Map(rows.map((row) => [storedId(row), row]));
  return ids.map((id) => users.get(id));
}

// With a plain join, the planner reads the whole table for many emails, because it does not know what email_key costs:
// 257 ms instead of 11 ms for 1000 of 100,000 users.
const selectByEmailStatement: Statement = {
  name: 'select-users-by-email',
  text: `
    select ${userColumnsOf('users')}, ord::integer - 1
    from unnest(${arrayParameter(1, 'text')}) with ordinality as input(email, ord)
      cross join lateral (select ${userColumnsOf('users')} from users where email_key(email) = email_key(input.email) limit 1) as users`,
};

/** Returns the user for each email, or undefined if there is no such user. */
export async function selectUsersByEmail(
  database: Database,
  emails: readonly string[],
): Promise<(StoredUser | undefined)[]> {
  const users: (StoredUser | undefined)[] = emails.map(() => undefined);
  for (const row of await database.runBinary(selectByEmailStatement, [emails])) {
    users[storedInteger(row, cellAfterUser)] = row;
  }
  return users;
}
