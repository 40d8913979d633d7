/** `roster update`: changes only the given fields of one user. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { addUserFlags, maskOf, parseClear, printUser, type UserFlags, userOf } from './user-fields.js';

export function createUpdateCommand(context: Context): Command {
  const command = createClientCommand('update', 'Change the given fields, and show the updated user.', [
    'update 0198c0de-0000-7000-8000-000000000000 --last-name King',
    'update 0198c0de-0000-7000-8000-000000000000 --attribute floor=4 --clear profile-image-url',
  ]).argument('<id>');
  return addUserFlags(command)
    .option('--clear <field>', 'empty a field, or remove attributes.KEY; may be repeated', parseClear)
    .option('--etag <etag>', 'fail if the user has changed since this etag was read')
    .action((id: string, options: ClientCommandOptions & UserFlags & { clear?: string[]; etag?: string }) =>
      withClient(context, options, async (client) => {
        const updateMask = maskOf(options, options.clear);
        const request = { user: { ...userOf(options), id, etag: options.etag }, updateMask };
        const { user } = await client.updateUser(request, { signal: context.signal });
        await printUser(context.terminal, user, options.json);
      }),
    );
}
