/** `roster delete`: erases one user, after a confirmation on a terminal. */
import type { Command } from 'commander';
import { type Client, RosterError, type User } from '../client/index.js';
import { safeText } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { UsageError } from './failure.js';
import { findUser, idOrEmailHelp, isEmail, validateIdOrEmail } from './find-user.js';
import { confirm, print } from './terminal.js';

type DeleteOptions = ClientCommandOptions & { etag?: string; allowMissing?: boolean; yes?: boolean };

export function createDeleteCommand(context: Context): Command {
  return createClientCommand('delete', 'Erase a user. This cannot be undone.', [
    'delete ada@example.com',
    'delete 0198c0de-0000-7000-8000-000000000000 --yes --allow-missing',
  ])
    .argument('<id or email>', idOrEmailHelp)
    .option('--etag <etag>', 'fail if the user has changed since this etag was read')
    .option('--allow-missing', 'succeed if the user does not exist')
    .option('-y, --yes', 'do not ask for confirmation; required if the input is not a terminal')
    .action((idOrEmail: string, options: DeleteOptions) =>
      withClient(context, options, (client, { server }) =>
        deleteUser(client, context, idOrEmail, { ...options, server }),
      ),
    );
}

async function deleteUser(
  client: Client,
  context: Context,
  idOrEmail: string,
  options: DeleteOptions & { server: string },
): Promise<void> {
  const { terminal, signal } = context;
  const { allowMissing, yes, json } = options;
  validateIdOrEmail(idOrEmail);
  if (!yes && !(terminal.stdin.isTTY && terminal.stderr.isTTY)) {
    throw new UsageError('Cannot ask for confirmation without a terminal. Pass --yes to erase the user.');
  }
  let request = { id: idOrEmail, etag: options.etag };
  if (!yes || isEmail(idOrEmail)) {
    const user = await findUnlessMissing(client, context, idOrEmail, allowMissing);
    if (user === undefined) {
      await print(terminal.stdout, json ? '{}\n' : 'The user does not exist. Nothing was erased.\n');
      return;
    }
    // With the etag, the server erases only the user that was found and shown.
    request = { id: user.id, etag: options.etag ?? user.etag };
    if (!yes) {
      await print(terminal.stderr, `${safeText(`${user.displayName} <${user.email}>`)}\nId ${safeText(user.id)}\n`);
      if (!(await confirm(terminal, `Erase this user from ${safeText(options.server)}?`, signal)))
        throw new Error('Nothing was erased.');
    }
  }
  await client.deleteUser({ ...request, allowMissing }, { signal });
  await print(terminal.stdout, json ? '{}\n' : `Erased ${safeText(request.id)}.\n`);
}

async function findUnlessMissing(
  client: Client,
  context: Context,
  idOrEmail: string,
  allowMissing = false,
): Promise<User | undefined> {
  try {
    return await findUser(client, context, idOrEmail);
  } catch (error) {
    if (allowMissing && error instanceof RosterError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
