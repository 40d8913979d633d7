/** Creates the commands that call a server: their flags, and a client for each run. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type Client, createClient, RosterError, type StatusName } from '../client/index.js';
import { clientSettings } from '../config/client-settings.js';
import type { ClientConfig, Environment } from '../config/parse.js';
import { type SettingRow, settingRows } from '../config/setting.js';
import { diagnose, type TlsIdentity } from './diagnose.js';
import { ConnectionFailed, UsageError } from './failure.js';
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
  /** Ignores Ctrl-C until the result is disposed, because it is for a child process that has the terminal. */
  ignoreCtrlC(): Disposable;
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
  if (!command.options.some(({ long }) => long === '--output')) addJsonOutput(command);
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

/** Adds --output to a command that prints no users, so that `--output json` works with every command. */
function addJsonOutput(command: Command): void {
  const option = new Option('-o, --output <format>', 'the format of the output; json is the same as --json');
  command.addOption(option.choices(['table', 'json']).helpGroup('Output:'));
  command.on('option:output', (format: string) => {
    if (format === 'json') command.setOptionValue('json', true);
  });
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

/** The connection of a command's client. */
export interface Connection {
  /** The name of the context, if one is used, and the addresses. */
  readonly server: string;
  /** Returns a ConnectionFailed if the error is not from a Roster and no address has a gRPC server; otherwise the error. */
  explain(error: unknown): Promise<unknown>;
}

/** Calls `work` with a client, and closes the client afterwards. */
export async function withClient(
  { terminal, signal }: Pick<Context, 'terminal' | 'signal'>,
  options: ClientCommandOptions,
  work: (client: Client, connection: Connection) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const config = connectionConfig(terminal.env, options);
  const identity = identityOf(config.tls);
  using client = connect(config, identity);
  const addresses = config.addresses.join(', ');
  const server = config.context === undefined ? addresses : `${config.context} (${addresses})`;
  const explainHere = (error: unknown) => explain(error, config.addresses, identity, { env: terminal.env, signal });
  try {
    await work(client, { server, explain: explainHere });
  } catch (error) {
    throw await explainHere(error);
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
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
];

/** Never rejects. After an interruption, resolves with its reason. */
async function explain(
  error: unknown,
  addresses: readonly string[],
  identity: TlsIdentity | undefined,
  { env, signal }: { env: Environment; signal: AbortSignal },
): Promise<unknown> {
  const isUnexplained = error instanceof RosterError && error.reason === undefined && error.requestId === undefined;
  if (!isUnexplained || !unexplainedCodes.includes(error.code) || signal.aborted) return error;
  const problems = await Promise.all(addresses.map((address) => diagnose(address, identity, { env, signal })));
  if (signal.aborted) return signal.reason;
  const known = problems.filter((problem) => problem !== undefined);
  return known.length === problems.length ? new ConnectionFailed(known) : error;
}

/** Reads the files. */
function identityOf(tls: ClientConfig['tls']): TlsIdentity | undefined {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  return tls && { ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) };
}

/** Throws a UsageError if the client refuses the configuration. */
export function connect(
  { addresses, tls, token, deadlineMs }: ClientConfig,
  identity: TlsIdentity | undefined = identityOf(tls),
): Client {
  try {
    return createClient({ address: addresses, tls: identity, token, deadlineMs });
  } catch (error) {
    // All options come from the command line or the environment, so this is a usage error.
    const message = error instanceof Error ? error.message : String(error);
    throw new UsageError(message.replace('Set tls or insecureToken.', 'Pass --tls, or --ca for a private authority.'));
  }
}
