/** Finds the user that an argument of the command line names by id or by email. */
import type { Client, User } from '../client/index.js';
import type { Context } from './client-command.js';
import { UsageError } from './failure.js';

// The model has the same pattern, but client commands import only the client.
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export const idOrEmailHelp = 'the id of a user, or the email, which contains an @';

export function isEmail(idOrEmail: string): boolean {
  return idOrEmail.includes('@');
}

/** Throws a UsageError if the argument is neither an id nor an email, so that no call is necessary. */
export function validateIdOrEmail(idOrEmail: string): void {
  if (isEmail(idOrEmail) || uuid.test(idOrEmail)) return;
  throw new UsageError('Pass the id of a user (a UUID) or an email, which contains an @.');
}

export async function findUser(client: Client, { signal }: Context, idOrEmail: string): Promise<User> {
  validateIdOrEmail(idOrEmail);
  const { user } = isEmail(idOrEmail)
    ? await client.getUserByEmail({ email: idOrEmail }, { signal })
    : await client.getUser({ id: idOrEmail }, { signal });
  if (user === undefined) throw new Error('The server returned no user.');
  return user;
}
