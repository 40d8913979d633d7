/**
 * Adds all users of one call, or none of them.
 *
 * The SQL is hand-written because one statement writes the users, the request id and the change log. With TypeORM, the
 * emails would stay locked over several round trips.
 */
import { arrayParameter, fieldArrays, fieldColumnNames, fieldValues } from '../database/columns.js';
import type { Database, Statement } from '../database/database.js';
import { isEmailTaken } from '../database/errors.js';
import type { ChangeAuthor } from '../model/change-author.js';
import type { User } from '../model/user.js';
import { logChanges, oneAuthor, oneAuthorValues } from './changes.js';
import { type NewUser, newUser } from './insert-users.js';
import { findRequests, type RepeatOutcome, type RequestKey, rememberRequest, requestAge } from './request-ids.js';

// Returns no rows if the request id is already stored. Without this check, a call that lost a race for the request id
// would fail in each retry.
const insertStatement: Statement = {
  name: 'insert-all-users',
  text: `
    with known as (
      select from request_ids where request_id = $2::uuid and create_time > now() - ${requestAge}
    ), remembered as (
      insert into request_ids (request_id, digest, user_ids)
      select $2::uuid, $3::bytea, ${arrayParameter(1, 'uuid')} where $2::uuid is not null and not exists (select from known)
      ${rememberRequest}
    ), inserted as (
      insert into users (id, ${fieldColumnNames})
      select id, ${fieldColumnNames}
      from unnest(${arrayParameter(1, 'uuid')}, ${fieldArrays(6)}) as input(id, ${fieldColumnNames})
      where not exists (select from known)
      order by email_key(email) collate "C"
      returning id, create_time
    ), logged as (${logChanges('created', 'inserted', oneAuthor(4))})
    select create_time from inserted`,
};

const takenEmailsStatement: Statement = {
  name: 'find-taken-emails',
  text: `
    select ord::integer - 1 from (
      select ord, row_number() over (partition by email_key(email) order by ord) > 1
        or exists (select from users where email_key(users.email) = email_key(input.email)) as taken
      from unnest(${arrayParameter(1, 'text')}) with ordinality as input(email, ord)
    ) as input where taken order by ord`,
};

// Other calls may take or free emails during the lookup, but hardly this often.
const attemptsMax = 5;

/** The indexes of the users whose email is taken, by an existing user or an earlier one of the call. None was added. */
export interface TakenEmails {
  readonly takenIndexes: readonly number[];
}

export async function insertAllUsers(
  database: Database,
  users: readonly Pick<NewUser, 'id' | 'fields'>[],
  request: RequestKey | undefined,
  author?: ChangeAuthor,
): Promise<User[] | RepeatOutcome | TakenEmails> {
  const values = [
    users.map((user) => user.id),
    request?.id ?? null,
    request?.digest ?? null,
    ...oneAuthorValues(author),
    ...fieldValues(users.map((user) => user.fields)),
  ];
  const requests = request === undefined ? [] : [request];
  for (let attempts = 1; ; attempts++) {
    const [repeated] = await findRequests(database, requests);
    if (repeated !== undefined) return repeated;
    try {
      const [first] = await database.run(insertStatement, values);
      if (first === undefined && users.length > 0) continue;
      return users.map((user) => newUser(user, first?.[0] as Date));
    } catch (error) {
      if (!isEmailTaken(error)) throw error;
    }
    const taken = await database.run(takenEmailsStatement, [users.map((user) => user.fields.email)]);
    // The user with the email may have been deleted before the lookup.
    if (taken.length === 0 && attempts < attemptsMax) continue;
    // An earlier attempt of the same call may have taken the emails.
    const [repeatedLate] = await findRequests(database, requests);
    return repeatedLate ?? { takenIndexes: taken.map(([index]) => index as number) };
  }
}
