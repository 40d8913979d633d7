/** `roster get`: shows one user. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { printUser } from './user-fields.js';

// The model has the same pattern, but client commands import only the client.
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function createGetCommand(context: Context): Command {
  return createClientCommand('get', 'Show one user.', [
    'get ada@example.com',
    'get 0198c0de-0000-7000-8000-000000000000 --json',
  ])
    .argument('<id or email>', 'a UUID is an id, anything else is an email')
    .action((idOrEmail: string, options: ClientCommandOptions) =>
      withClient(context, options, async (client) => {
        const { signal } = context;
        const { user } = uuid.test(idOrEmail)
          ? await client.getUser({ id: idOrEmail }, { signal })
          : await client.getUserByEmail({ email: idOrEmail }, { signal });
        await printUser(context.terminal, user, options.json);
      }),
    );
}
