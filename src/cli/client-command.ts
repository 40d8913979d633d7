/**
 * What the commands that call a server have in common: how they find it, and how they stop.
 */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type Client, createClient } from '../client/index.js';
import { type ClientConfig, type ClientFlags, parseClientConfig, settingRows } from '../config.js';
import { UsageError } from './failure.js';
import type { Terminal } from './terminal.js';

/** What is the same for all commands: `signal` is aborted, with an Interrupted, when the command is to stop. */
export interface Context {
  terminal: Terminal;
  signal: AbortSignal;
  /** Runs before a second Ctrl-C ends the process at once. */
  onKill(kill: () => void): void;
}

export type ClientCommandOptions = ClientFlags & { tokenFile?: string; json?: boolean };

/** Each example is what stands behind `roster`. */
export function createClientCommand(name: string, description: string, examples: readonly string[]): Command {
  return new Command(name)
    .description(description)
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  roster ${example}`).join('\n')}`);
}

/** The flags that all client commands have. Last, because help shows flags in the order in which they were added. */
export function addClientFlags(command: Command): void {
  command.optionsGroup('Output:').option('--json', 'write JSON as protobuf maps it (lowerCamelCase), errors too');
  command.optionsGroup('Connection:');
  for (const row of settingRows('client')) {
    // No default here: commander's would go before the environment's value.
    command.addOption(new Option(row.flag, `${row.description} [${row.name}, default ${row.default}]`));
    if (row.name === 'ROSTER_TOKEN') {
      command.option('--token-file <path>', 'A file that holds the token, and nothing else.');
    }
  }
}

/** Runs one command's work with a client of its own. */
export async function withClient(
  { terminal, signal }: Context,
  options: ClientCommandOptions,
  work: (client: Client) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  using client = connect(parseClientConfig(terminal.env, { ...options, token: tokenOf(options) }));
  await work(client);
}

function connect({ addresses, tls, token, deadlineMs }: ClientConfig): Client {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  try {
    return createClient({
      address: addresses,
      tls: tls && { ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) },
      token,
      deadlineMs,
    });
  } catch (error) {
    // Whatever a client refuses to start with was said on the command line or in the environment.
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function tokenOf({ token, tokenFile }: ClientCommandOptions): ClientCommandOptions['token'] {
  if (tokenFile === undefined) return token;
  if (token !== undefined) throw new UsageError('Give --token or --token-file, not both.');
  try {
    return readFileSync(tokenFile, 'utf8').trim();
  } catch {
    throw new UsageError('--token-file must be the path of a file that can be read.');
  }
}
