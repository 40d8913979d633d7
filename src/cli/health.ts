/** `roster health`: checks whether a server serves, for probes that run a command. */
import type { Command } from 'commander';
import { RosterError } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { print } from './terminal.js';

export function createHealthCommand(context: Context): Command {
  const description = 'Check whether the server serves: exit code 0 if it does, 5 if it does not.';
  return createClientCommand('health', description, ['health --address localhost:50051', 'health --service writes'])
    .option(
      '--service <name>',
      'check this service of grpc.health.v1 instead of the whole server; "writes" fails if the server serves only reads',
    )
    .action((options: ClientCommandOptions & { readonly service?: string }) =>
      withClient(context, options, async (client) => {
        const { service, json } = options;
        if (!(await client.isServing({ service, signal: context.signal }))) {
          const what = service ? `The server does not serve ${JSON.stringify(service)}.` : 'The server is not serving.';
          throw new RosterError('grpc.health.v1.Health/Check', 'UNAVAILABLE', what, { reason: 'NOT_SERVING' });
        }
        await print(context.terminal.stdout, json ? '{"status":"SERVING"}\n' : 'SERVING\n');
      }),
    );
}
