/** `roster serve`: runs the server until a signal ends it. */
import type { Command } from 'commander';
import type { App } from '../app.js';
import { commandName } from '../config/package-root.js';
import { type Flags, parseServerConfig, type ServerConfig } from '../config/parse.js';
import { serverSettings } from '../config/settings.js';
import { formatAddress } from '../net/address.js';
import type { Context } from './client-command.js';
import { createSettingsCommand } from './settings-command.js';
import { aborted, Interrupted, print, type Terminal } from './terminal.js';

export function createServeCommand(context: Context): Command {
  const description = 'Serve the directory, with an embedded Postgres unless DATABASE_URL is set.';
  return createSettingsCommand('serve', description, serverSettings).action((flags: Flags) => serve(context, flags));
}

async function serve({ terminal, signal, onKill }: Context, flags: Flags): Promise<void> {
  const config = parseServerConfig(terminal.env, flags);
  // Imported here, so that client commands do not load it.
  const start =
    config.workers === 1
      ? (await import('../app.js')).startApp
      : (await import('../workers/start-workers.js')).startWorkers;
  const hungUp = new AbortController();
  const stop = AbortSignal.any([signal, hungUp.signal]);
  let app: App | undefined;
  const hangUp = () => {
    // The terminal was closed, and nothing else ends a server that was started there.
    if (terminal.stdin.isTTY || terminal.stdout.isTTY) hungUp.abort(new Interrupted('SIGHUP'));
    else app?.restart();
  };
  terminal.signals.on('SIGHUP', hangUp);
  try {
    app = await start(config, { signal: stop });
    onKill(app.kill);
    await printAddress(app, config, terminal);
    await aborted(stop);
    await app.close();
  } finally {
    terminal.signals.off('SIGHUP', hangUp);
  }
}

async function printAddress({ grpc, http, log }: App, { tls, auth }: ServerConfig, terminal: Terminal): Promise<void> {
  const { host, port } = grpc;
  const address = formatAddress(grpc);
  const reachable = host === '0.0.0.0' || host === '::' ? `localhost:${port}` : address;
  const flags = `${reachable === 'localhost:50051' ? '' : ` --address ${reachable}`}${tls ? ' --tls' : ''}`;
  // With client certificates, a key may not be enough.
  const needsKey = auth.isRequired && tls?.clientCa === undefined;
  const createKey = needsKey ? `${commandName()} key create --name NAME --role admin` : undefined;
  if (log.pretty) {
    const page = http && `The page is at ${tls ? 'https' : 'http'}://${formatAddress(http)}/\n`;
    // A user that no page of the docs creates: after this command, all of their samples still work.
    const createUser = `${commandName()} create --first-name Margaret --email margaret@example.com${flags}`;
    const text = `Roster listens on ${address}. ${page ?? ''}${createKey ? 'For an API key' : 'Try'}:\n  ${createKey ?? createUser}\n`;
    // The server continues even if nobody reads this.
    await print(terminal.stdout, text).catch(() => {});
  } else {
    // As a log line, because the output is JSON. The command differs, because logs have no emails.
    const hint = createKey ?? `${commandName()} list${flags}`;
    log.info({ address, http: http && formatAddress(http), try: hint }, 'listening');
  }
}
