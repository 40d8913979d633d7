/** `roster whoami`: shows who the server thinks is calling, and what that caller may do. */
import type { Command } from 'commander';
import { safeJson, safeText } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { print } from './terminal.js';

export function createWhoamiCommand(context: Context): Command {
  const description = 'Show who the server thinks you are, and what you may do.';
  return createClientCommand('whoami', description, ['whoami', 'whoami --context prod --json']).action(
    (options: ClientCommandOptions) =>
      withClient(context, options, async (client) => {
        const { terminal, styles, signal } = context;
        const caller = await client.getCaller({}, { signal });
        if (options.json) {
          await print(terminal.stdout, `${safeJson(caller, 2)}\n`);
          return;
        }
        const { actor, roles, methods, hiddenAttributes, protectedAttributes, expireTime } = caller;
        const lines = [
          ['Caller', actor === '' ? 'anyone (the server is open to everyone)' : actor],
          ['Roles', roles.join(', ') || 'none'],
          ['Methods', methods.map(shortName).sort().join(', ') || 'none'],
          ['Hidden attributes', hiddenAttributes.join(', ')],
          ['Protected attributes', protectedAttributes.join(', ')],
          ['Expires', expireTime?.toISOString() ?? ''],
        ] as const;
        const set = lines.filter(([, value]) => value !== '');
        await print(
          terminal.stdout,
          set.map(([label, value]) => `${styles.stdout('bold', label.padEnd(22))}${safeText(value)}\n`).join(''),
        );
      }),
  );
}

/** GetUser for users.v1.UserService/GetUser. */
function shortName(method: string): string {
  return method.replace(/^.*\//, '');
}
