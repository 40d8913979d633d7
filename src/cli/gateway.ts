/** `roster gateway`: serves another gRPC server to browsers until a signal ends it. */
import type { Command } from 'commander';
import { type Flags, parseGatewayConfig } from '../config/parse.js';
import { gatewaySettings } from '../config/settings.js';
import { formatAddress } from '../net/address.js';
import type { Context } from './client-command.js';
import { UsageError } from './failure.js';
import { createSettingsCommand } from './settings-command.js';
import { aborted, print } from './terminal.js';

export function createGatewayCommand(context: Context): Command {
  const description = 'Serve gRPC-Web, Connect and JSON over HTTP in front of any gRPC server.';
  return createSettingsCommand('gateway', description, gatewaySettings).action((flags: Flags) =>
    gateway(context, flags),
  );
}

async function gateway({ terminal, signal }: Context, flags: Flags): Promise<void> {
  const config = parseGatewayConfig(terminal.env, flags);
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
