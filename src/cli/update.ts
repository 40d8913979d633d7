/** `roster update`: changes only the given fields of one user. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { findUser, idOrEmailHelp, isEmail, validateIdOrEmail } from './find-user.js';
import { addOutputFlag, type OutputOptions, printUser } from './output.js';
import { addUserFlags, maskOf, parseClear, type UserFlags, userOf } from './user-fields.js';

type UpdateOptions = ClientCommandOptions & OutputOptions & UserFlags & { clear?: string[]; etag?: string };

export function createUpdateCommand(context: Context): Command {
  const command = createClientCommand('update', 'Change the given fields, and show the updated user.', [
    'update ada@example.com --last-name King',
    'update 0198c0de-0000-7000-8000-000000000000 --attribute floor=4 --clear profile-image-url',
  ]).argument('<id or email>', idOrEmailHelp);
  addUserFlags(command)
    .option('--clear <field>', 'empty a field, or remove attributes.KEY; may be repeated', parseClear)
    .option('--etag <etag>', 'fail if the user has changed since this etag was read')
    .action((idOrEmail: string, options: UpdateOptions) =>
      withClient(context, options, async (client) => {
        validateIdOrEmail(idOrEmail);
        const updateMask = maskOf(options, options.clear);
        const id = isEmail(idOrEmail) ? (await findUser(client, context, idOrEmail)).id : idOrEmail;
        const request = { user: { ...userOf(options), id, etag: options.etag }, updateMask };
        const { user } = await client.updateUser(request, { signal: context.signal });
        await printUser(context, user, options);
      }),
    );
  return addOutputFlag(command);
}
