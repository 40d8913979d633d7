/** `roster health`: checks whether a server serves, for probes that run a command. */
import type { Command } from 'commander';
import { RosterError } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { print } from './terminal.js';

export function createHealthCommand(context: Context): Command {
  const description = 'Check whether the server serves: exit code 0 if it does, 5 if it does not.';
  return createClientCommand('health', description, ['health --address localhost:50051']).action(
    (options: ClientCommandOptions) =>
      withClient(context, options, async (client) => {
        if (!(await client.isServing({ signal: context.signal }))) {
          const details = { reason: 'NOT_SERVING' };
          throw new RosterError('grpc.health.v1.Health/Check', 'UNAVAILABLE', 'The server is not serving.', details);
        }
        await print(context.terminal.stdout, options.json ? '{"status":"SERVING"}\n' : 'SERVING\n');
      }),
  );
}
