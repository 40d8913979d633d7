/** `roster gateway`: serves another gRPC server to browsers until a signal ends it. */
import type { Command } from 'commander';
import { formatAddress, parseGatewayConfig } from '../config.js';
import type { Context } from './client-command.js';
import { UsageError } from './failure.js';
import { createSettingsCommand } from './settings-command.js';
import { aborted, print } from './terminal.js';

export function createGatewayCommand(context: Context): Command {
  const description = 'Serve gRPC-Web, Connect and JSON over HTTP in front of any gRPC server.';
  return createSettingsCommand('gateway', description, 'gateway').action((_options, command: Command) =>
    gateway(context, command.args),
  );
}

async function gateway({ terminal, signal }: Context, args: readonly string[]): Promise<void> {
  const config = parseGatewayConfig(terminal.env, args);
  // Imported here, so that client commands do not load it.
  const { DescriptorsError, startGateway } = await import('../gateway/start-gateway.js');
  const running = await startGateway(config).catch((error: unknown) => {
    throw error instanceof DescriptorsError ? new UsageError(error.message) : error;
  });
  const { log, http } = running;
  const url = `${config.tls ? 'https' : 'http'}://${formatAddress(http)}`;
  const target = formatAddress(config.target);
  if (log.pretty) await print(terminal.stdout, `The gateway is at ${url}, in front of ${target}.\n`).catch(() => {});
  else log.info({ http: formatAddress(http), target }, 'listening');
  await aborted(signal);
  await running.close();
}
