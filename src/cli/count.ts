/** `roster count`: prints the number of users that match. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { addSelectionFlags, type Selection, selectionHelp } from './list.js';
import { print } from './terminal.js';

export function createCountCommand(context: Context): Command {
  const command = createClientCommand('count', 'Count all users, or those that match.', [
    'count',
    `count --filter 'attributes.department == "ops"'`,
    'count --query @example.com',
  ]).addHelpText('after', selectionHelp);
  return addSelectionFlags(command).action((options: ClientCommandOptions & Selection) =>
    withClient(context, options, async (client) => {
      const { filter, query, json } = options;
      const { signal, terminal } = context;
      const request = { filter, query, pageSize: 1, includeTotalSize: true };
      const { totalSize } = await client.listUsers(request, { signal });
      // Protobuf JSON writes 64-bit numbers as strings.
      await print(terminal.stdout, json ? `{"totalSize":"${totalSize}"}\n` : `${totalSize}\n`);
    }),
  );
}
