/** `roster delete`: erases one user, after a question where there is somebody to ask. */
import type { Command } from 'commander';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { UsageError } from './failure.js';
import { confirm, print } from './terminal.js';
import { safeText } from './text.js';

type DeleteOptions = ClientCommandOptions & { etag?: string; allowMissing?: boolean; yes?: boolean };

export function createDeleteCommand(context: Context): Command {
  return createClientCommand('delete', 'Erase a user. This cannot be undone.', [
    'delete 0198c0de-0000-7000-8000-000000000000',
    'delete 0198c0de-0000-7000-8000-000000000000 --yes --allow-missing',
  ])
    .argument('<id>')
    .option('--etag <etag>', 'fails where the user has changed since this was read')
    .option('--allow-missing', 'succeeds when there is no such user')
    .option('-y, --yes', 'does not ask; needed where nobody can be asked')
    .action((id: string, options: DeleteOptions) =>
      withClient(context, options, async (client) => {
        const { terminal, signal } = context;
        if (!options.yes) {
          if (!terminal.stdin.isTTY || !terminal.stderr.isTTY) {
            throw new UsageError('Nobody is here to be asked whether to erase the user: say --yes.');
          }
          if (!(await confirm(terminal, `Erase user ${safeText(id)}?`, signal))) throw new Error('Nothing was erased.');
        }
        const { etag, allowMissing } = options;
        await client.deleteUser({ id, etag, allowMissing }, { signal });
        await print(terminal.stdout, options.json ? '{}\n' : `Erased ${safeText(id)}.\n`);
      }),
    );
}
