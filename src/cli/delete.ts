/** `roster delete`: erases one user, after a confirmation on a terminal. */
import type { Command } from 'commander';
import { safeText } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { UsageError } from './failure.js';
import { confirm, print } from './terminal.js';

type DeleteOptions = ClientCommandOptions & { etag?: string; allowMissing?: boolean; yes?: boolean };

export function createDeleteCommand(context: Context): Command {
  return createClientCommand('delete', 'Erase a user. This cannot be undone.', [
    'delete 0198c0de-0000-7000-8000-000000000000',
    'delete 0198c0de-0000-7000-8000-000000000000 --yes --allow-missing',
  ])
    .argument('<id>')
    .option('--etag <etag>', 'fail if the user has changed since this etag was read')
    .option('--allow-missing', 'succeed if no user has this id')
    .option('-y, --yes', 'do not ask for confirmation; required if the input is not a terminal')
    .action((id: string, options: DeleteOptions) =>
      withClient(context, options, async (client) => {
        const { terminal, signal } = context;
        if (!options.yes) {
          if (!terminal.stdin.isTTY || !terminal.stderr.isTTY) {
            throw new UsageError('Cannot ask for confirmation without a terminal. Pass --yes to erase the user.');
          }
          if (!(await confirm(terminal, `Erase user ${safeText(id)}?`, signal))) throw new Error('Nothing was erased.');
        }
        const { etag, allowMissing } = options;
        await client.deleteUser({ id, etag, allowMissing }, { signal });
        await print(terminal.stdout, options.json ? '{}\n' : `Erased ${safeText(id)}.\n`);
      }),
    );
}
