/** Creates the commands that call a server: their flags, and a client for each run. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type Client, createClient } from '../client/index.js';
import type { ClientConfig } from '../config/parse.js';
import { type SettingRow, settingRows } from '../config/setting.js';
import { clientSettings } from '../config/settings.js';
import { UsageError } from './failure.js';
import { type ConnectionFlags, connectionConfig } from './saved-contexts.js';
import type { Styles } from './style.js';
import type { Terminal } from './terminal.js';

/** Passed to every command. `signal` is aborted with an Interrupted when the command must stop. */
export interface Context {
  terminal: Terminal;
  styles: Styles;
  signal: AbortSignal;
  /** Registers a callback that runs before a second Ctrl-C ends the process. */
  onKill(kill: () => void): void;
}

export interface ClientCommandOptions extends ConnectionFlags {
  json?: boolean;
}

/** Each example is the part of a command line after `roster`. */
export function createClientCommand(name: string, description: string, examples: readonly string[]): Command {
  return new Command(name)
    .description(description)
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  roster ${example}`).join('\n')}`);
}

/** Adds the flags of all client commands. Call it last: help shows flags in the order in which they were added. */
export function addClientFlags(command: Command): void {
  command
    .optionsGroup('Output:')
    .option('--json', 'write output and errors as protobuf JSON (lowerCamelCase)')
    .option('--no-color', 'do not style the output; NO_COLOR=1 does the same');
  command.optionsGroup('Connection:');
  addConnectionSettings(command, ({ description, name, default: text }) => `${description} [${name}, default ${text}]`);
  command.option(
    '--context <name>',
    'A saved connection (see "roster context --help"). [ROSTER_CONTEXT, default (that of "roster context use")]',
  );
}

/** Adds the settings of a connection, and --token-file. */
export function addConnectionSettings(command: Command, describe: (row: SettingRow) => string): void {
  for (const row of settingRows(clientSettings)) {
    // A switch takes no value, because commander would take the id in `roster get --tls ID` as its value.
    const flags = row.isSwitch ? row.flag : `${row.flag} ${row.placeholder}`;
    // No default here: commander's default would override the environment variable.
    command.addOption(new Option(flags, describe(row)));
    if (row.name === 'ROSTER_TOKEN') {
      command.option('--token-file <path>', 'The path of a file that contains only the token.');
    }
  }
}

/** Calls `work` with a client and a name of its server, and closes the client afterwards. */
export async function withClient(
  { terminal, signal }: Context,
  options: ClientCommandOptions,
  work: (client: Client, server: string) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const config = connectionConfig(terminal.env, options);
  using client = connect(config);
  const addresses = config.addresses.join(', ');
  await work(client, config.context === undefined ? addresses : `${config.context} (${addresses})`);
}

/** Throws a UsageError if the client refuses the configuration. */
export function connect({ addresses, tls, token, deadlineMs }: ClientConfig): Client {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  try {
    return createClient({
      address: addresses,
      tls: tls && { ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) },
      token,
      deadlineMs,
    });
  } catch (error) {
    // All options come from the command line or the environment, so this is a usage error.
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
