/** `roster create`: adds one user. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { addOutputFlag, type OutputOptions, printUser } from './output.js';
import { addUserFlags, type UserFlags, userOf } from './user-fields.js';

export function createCreateCommand(context: Context): Command {
  const command = createClientCommand('create', 'Add a user and show the stored user.', [
    'create --first-name Ada --last-name Lovelace --email ada@example.com',
    'create --first-name Ada --email ada@example.com --attribute department=ops --attribute floor=3',
  ]);
  addUserFlags(command)
    .option('--request-id <uuid>', 'make the command safe to repeat: the same id creates only one user')
    .action((options: ClientCommandOptions & OutputOptions & UserFlags & { requestId?: string }) =>
      withClient(context, options, async (client) => {
        const request = { user: userOf(options), requestId: options.requestId };
        const { user } = await client.createUser(request, { signal: context.signal });
        await printUser(context, user, options);
      }),
    );
  return addOutputFlag(command);
}
