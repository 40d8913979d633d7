/** Creates the commands that call a server: their flags, and a client for each run. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type Client, createClient, RosterError, type StatusName } from '../client/index.js';
import { type ClientConfig, parseClientConfig } from '../config/parse.js';
import { settingRows } from '../config/setting.js';
import { clientSettings } from '../config/settings.js';
import { diagnose } from './diagnose.js';
import { ConnectionFailed, UsageError } from './failure.js';
import type { Terminal } from './terminal.js';

/** Passed to every command. `signal` is aborted with an Interrupted when the command must stop. */
export interface Context {
  terminal: Terminal;
  signal: AbortSignal;
  /** Registers a callback that runs before a second Ctrl-C ends the process. */
  onKill(kill: () => void): void;
}

export interface ClientCommandOptions {
  token?: string;
  tokenFile?: string;
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
  command.optionsGroup('Output:').option('--json', 'write output and errors as protobuf JSON (lowerCamelCase)');
  command.optionsGroup('Connection:');
  for (const { name, flag, placeholder, isSwitch, description, ...row } of settingRows(clientSettings)) {
    // A switch takes no value, because commander would take the id in `roster get --tls ID` as its value.
    const flags = isSwitch ? flag : `${flag} ${placeholder}`;
    // No default here: commander's default would override the environment variable.
    command.addOption(new Option(flags, `${description} [${name}, default ${row.default}]`));
    if (name === 'ROSTER_TOKEN') {
      command.option('--token-file <path>', 'The path of a file that contains only the token.');
    }
  }
}

/** Returns a ConnectionFailed if the error is not from a Roster and no address has a gRPC server; otherwise the error. */
export type Explain = (error: unknown) => Promise<unknown>;

/** Calls `work` with a client, and closes the client afterwards. */
export async function withClient(
  { terminal, signal }: Context,
  options: ClientCommandOptions,
  work: (client: Client, explain: Explain) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const config = parseClientConfig(terminal.env, { ...options, token: tokenOf(options) });
  using client = connect(config);
  try {
    await work(client, (error) => explain(error, config, signal));
  } catch (error) {
    throw await explain(error, config, signal);
  }
}

// Statuses that a proxy sends, or grpc-js for an HTTP status or for bytes that are not gRPC.
const unexplainedCodes: readonly StatusName[] = [
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'UNKNOWN',
  'INTERNAL',
  'RESOURCE_EXHAUSTED',
];

async function explain(error: unknown, { addresses, tls }: ClientConfig, signal: AbortSignal): Promise<unknown> {
  const isUnexplained = error instanceof RosterError && error.reason === undefined && error.requestId === undefined;
  if (!isUnexplained || !unexplainedCodes.includes(error.code) || signal.aborted) return error;
  const problems = await Promise.all(addresses.map((address) => diagnose(address, identityOf(tls), signal)));
  signal.throwIfAborted();
  const known = problems.filter((problem) => problem !== undefined);
  return known.length === problems.length ? new ConnectionFailed(known) : error;
}

function identityOf(tls: ClientConfig['tls']) {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  return tls && { ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) };
}

function connect({ addresses, tls, token, deadlineMs }: ClientConfig): Client {
  try {
    return createClient({
      address: addresses,
      tls: identityOf(tls),
      token,
      deadlineMs,
    });
  } catch (error) {
    // All options come from the command line or the environment, so this is a usage error.
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function tokenOf({ token, tokenFile }: ClientCommandOptions): string | undefined {
  if (tokenFile === undefined) return token;
  if (token !== undefined) throw new UsageError('Give --token or --token-file, not both.');
  try {
    return readFileSync(tokenFile, 'utf8').trim();
  } catch {
    throw new UsageError('--token-file must be the path of a readable file.');
  }
}
