/** `roster serve`: runs the server until a signal ends it. */
import { Command } from 'commander';
import { formatAddress, parseServerConfig, settingsHelp } from '../config.js';
import type { Context } from './client-command.js';
import { print } from './terminal.js';

export function createServeCommand(context: Context): Command {
  return (
    new Command('serve')
      .description('Serve the directory, with a Postgres of its own where DATABASE_URL names none.')
      .usage('[settings]')
      .addHelpText('after', () => `\n${settingsHelp()}`)
      // The settings are config's to read: it reports all that is wrong with them at once.
      .allowUnknownOption()
      .allowExcessArguments()
      .action((_options, command: Command) => serve(context, command.args))
  );
}

async function serve({ terminal, signal, onKill }: Context, args: readonly string[]): Promise<void> {
  const config = parseServerConfig(terminal.env, args);
  // Here and not above, so that commands which only call a server do not load one.
  const { startApp } = await import('../app.js');
  const app = await startApp(config, { signal });
  onKill(() => app.kill());

  const { host, port } = app.grpc;
  const address = formatAddress(app.grpc);
  const reachable = host === '0.0.0.0' || host === '::' ? `localhost:${port}` : address;
  const flags = `${reachable === 'localhost:50051' ? '' : ` --address ${reachable}`}${config.tls ? ' --tls' : ''}`;
  if (app.log.pretty) {
    const command = `npx roster create --first-name Ada --email ada@example.com${flags}`;
    // A server goes on without anybody who reads.
    await print(terminal.stdout, `Roster listens on ${address}. Try:\n  ${command}\n`).catch(() => {});
  } else {
    // A line of its own would be no JSON. Another command, because a log shows no email, not even this one.
    app.log.info({ address, try: `npx roster list${flags}` }, 'listening');
  }

  await aborted(signal);
  await app.close();
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
