/** `roster get`: shows one user. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { findUser, idOrEmailHelp } from './find-user.js';
import { addOutputFlag, type OutputOptions, printUser } from './output.js';

export function createGetCommand(context: Context): Command {
  const command = createClientCommand('get', 'Show one user.', [
    'get ada@example.com',
    'get 0198c0de-0000-7000-8000-000000000000 --output yaml',
  ])
    .argument('<id or email>', idOrEmailHelp)
    .action((idOrEmail: string, options: ClientCommandOptions & OutputOptions) =>
      withClient(context, options, async (client) => {
        await printUser(context, await findUser(client, context, idOrEmail), options);
      }),
    );
  return addOutputFlag(command);
}
