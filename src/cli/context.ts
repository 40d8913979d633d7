/** `roster context`: manages named connections to servers. It never prints a token. */
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { commandName } from '../config/package-root.js';
import { parseClientConfig } from '../config/parse.js';
import { safeJson, safeText } from '../safe-text.js';
import { addConnectionSettings, type Context, connect, createClientCommand } from './client-command.js';
import { UsageError } from './failure.js';
import {
  contextNamed,
  contextNameForm,
  isContextName,
  readContexts,
  readToken,
  type SavedContext,
  selectedContext,
  writeContexts,
} from './saved-contexts.js';
import { print } from './terminal.js';
import { createTable } from './text.js';

interface AddOptions {
  address?: string;
  token?: string;
  tokenFile?: string;
  tokenStdin?: boolean;
  tls?: boolean;
  deadlineMs?: string;
  overwrite?: boolean;
}

type ListOptions = { output?: 'table' | 'json' | 'id'; json?: boolean };

const help = `
A context is a name for the connection to a server: its address, certificates, token and deadline. Commands use the context
of --context or ROSTER_CONTEXT, or else the one of "roster context use". A command with --address uses only the context of
--context. Flags override a context. ROSTER_TOKEN and ROSTER_DEADLINE_MS override it unless --context names it. The other
variables of a connection are not used with a context.

Contexts are in $XDG_CONFIG_HOME/roster/contexts.json or ~/.config/roster/contexts.json, which only you can read.`;

export function createContextCommand(context: Context): Command {
  const command = createClientCommand('context', 'Manage named connections to servers.', [
    'context add prod --address roster.example:443 --tls --token-file ~/.prod-token',
    'context use prod',
    'list --context prod',
  ]).addHelpText('after', help);
  for (const subcommand of [
    createAdd(context),
    createList(context),
    createUse(context),
    createShow(context),
    createRemove(context),
  ]) {
    command.addCommand(subcommand.option('--no-color', 'do not style the output; NO_COLOR=1 does the same'));
  }
  return command;
}

function createAdd(context: Context): Command {
  const command = createClientCommand('add', 'Add a context.', [
    'context add local --address localhost:50051',
    'context add prod --address roster.example:443 --tls --token-file ~/.prod-token',
    'context add prod --address roster.example:443 --ca ca.pem --token-stdin < token',
  ]).argument('<name>', contextNameForm, parseName);
  command
    .option('--overwrite', 'replace the context if it exists')
    .option('--token-stdin', 'read the token from the standard input, and store it');
  addConnectionSettings(command, ({ name, description }) =>
    name === 'ROSTER_TOKEN'
      ? 'A token to store. Other users can read flags, so prefer --token-file or --token-stdin.'
      : description.replace('ROSTER_KEY', '--key'),
  );
  return command.action((name: string, options: AddOptions) => addContext(context, name, options));
}

async function addContext({ terminal }: Context, name: string, options: AddOptions): Promise<void> {
  if (options.address === undefined) throw new UsageError('Pass the address of the server with --address.');
  const saved = readContexts(terminal.env);
  if (saved.contexts.has(name) && !options.overwrite) {
    throw new UsageError(`The context ${name} exists already. Pass --overwrite to replace it.`);
  }
  const { token, tokenFile } = await readTokenOptions(terminal.stdin, options);
  const inFile = tokenFile && readToken(tokenFile, '--token-file must be the path of a readable file.');
  const { tls, ...config } = parseClientConfig({}, { ...options, token: token ?? inFile });
  // Refuses whatever a later command would refuse, such as a token without TLS. It does not connect yet.
  connect({ tls, ...config }).close();
  const { address, deadlineMs } = options;
  const values = { address, token, tokenFile, tls: tls && 'true', ...tls, deadlineMs };
  const set = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined);
  saved.contexts.set(name, Object.fromEntries(set));
  await writeContexts(saved);
  if (options.token !== undefined) {
    const advice = 'Prefer --token-file or --token-stdin';
    const text = `warning: Other users and the history of the shell can see a token in a flag. ${advice}.\n`;
    await print(terminal.stderr, text);
  }
  await print(terminal.stdout, `Added ${name}. To make it the default: ${commandName()} context use ${name}\n`);
}

async function readTokenOptions(stdin: Context['terminal']['stdin'], options: AddOptions) {
  const given = [options.token, options.tokenFile, options.tokenStdin].filter((value) => value !== undefined);
  if (given.length > 1) throw new UsageError('Pass only one of --token, --token-file and --token-stdin.');
  // The path is stored and not the token, so that a new token in the file is used from then on.
  if (options.tokenFile !== undefined) return { tokenFile: resolve(options.tokenFile) };
  if (!options.tokenStdin) return { token: options.token };
  // A terminal would show the token.
  if (stdin.isTTY) throw new UsageError('--token-stdin reads a pipe or a file, such as: roster context add … < token');
  const token = (await text(stdin)).trim();
  if (token === '') throw new UsageError('The standard input has no token.');
  return { token };
}

function createList(context: Context): Command {
  return createClientCommand('list', 'List the contexts. The asterisk marks the one that commands use.', [
    'context list',
    'context list --output id',
  ])
    .addOption(new Option('-o, --output <format>', 'the format of the output').choices(['table', 'json', 'id']))
    .option('--json', 'the same as --output json')
    .action((options: ListOptions) => listContexts(context, options));
}

async function listContexts({ terminal, styles }: Context, options: ListOptions): Promise<void> {
  const { stdout, stderr, env } = terminal;
  const { contexts, path } = readContexts(env);
  const selected = selectedContext(env, {});
  const rows = [...contexts].sort(([a], [b]) => (a < b ? -1 : 1));
  if (options.json || options.output === 'json') {
    const lines = rows.map(([name, saved]) => safeJson({ ...publicPart(name, saved), isSelected: name === selected }));
    await print(stdout, lines.map((line) => `${line}\n`).join(''));
  } else if (options.output === 'id') {
    await print(stdout, rows.map(([name]) => `${name}\n`).join(''));
  } else if (rows.length === 0) {
    await print(stderr, `There are no contexts in ${path}. Add one with: roster context add\n`);
  } else {
    const columns = ['', 'NAME', 'ADDRESS', 'TLS', 'TOKEN'].map((title) => ({ title }));
    const table = createTable(columns, stdout.columns, (line) => styles.stdout('bold', line));
    const cells = rows.map(([name, saved]) => {
      const { address, tls, token } = publicPart(name, saved);
      return [name === selected ? '*' : ' ', name, address, tls ? 'yes' : 'no', token];
    });
    await print(stdout, table(cells));
  }
}

function createUse(context: Context): Command {
  return createClientCommand('use', 'Use a context in all commands that name neither a context nor a server.', [
    'context use prod',
    'context use --none',
  ])
    .argument('[name]')
    .option('--none', 'use no context')
    .action(async (name: string | undefined, { none }: { none?: boolean }) => {
      if ((name === undefined) !== (none === true)) throw new UsageError('Pass the name of a context, or --none.');
      const { stdout, stderr, env } = context.terminal;
      const saved = readContexts(env);
      if (name !== undefined) contextNamed(saved, name);
      await writeContexts({ ...saved, current: name });
      await print(stdout, name === undefined ? 'Commands use no context.\n' : `Commands use ${name} by default.\n`);
      for (const variable of ['ROSTER_CONTEXT', 'ROSTER_ADDRESS']) {
        if (env[variable]?.trim()) await print(stderr, `warning: ${variable} is set here, and overrides this.\n`);
      }
    });
}

function createShow(context: Context): Command {
  return createClientCommand('show', 'Show a context, without its token.', ['context show', 'context show prod --json'])
    .argument('[name]', 'the name of a context (default: the one that commands use)')
    .option('--json', 'write output and errors as JSON')
    .action(async (name: string | undefined, { json }: { json?: boolean }) => {
      const { terminal, styles } = context;
      const selected = name ?? selectedContext(terminal.env, {});
      if (selected === undefined) throw new UsageError('Commands use no context. Pass the name of one to show it.');
      const shown = publicPart(selected, contextNamed(readContexts(terminal.env), selected));
      const shownText = { ...shown, tls: shown.tls ? 'yes' : 'no' };
      const lines = Object.entries(shownText).flatMap(([key, value]) =>
        value === undefined ? [] : [`${styles.stdout('bold', (labels[key] ?? key).padEnd(13))}${safeText(value)}\n`],
      );
      await print(terminal.stdout, json ? `${safeJson(shown, 2)}\n` : lines.join(''));
    });
}

function createRemove(context: Context): Command {
  return createClientCommand('remove', 'Remove a context.', ['context remove prod'])
    .argument('<name>')
    .action(async (name: string) => {
      const saved = readContexts(context.terminal.env);
      contextNamed(saved, name);
      saved.contexts.delete(name);
      if (saved.current === name) saved.current = undefined;
      await writeContexts(saved);
      await print(context.terminal.stdout, `Removed ${name}.\n`);
    });
}

const labels: Readonly<Record<string, string>> = {
  name: 'Name',
  address: 'Address',
  tls: 'TLS',
  ca: 'Authorities',
  cert: 'Certificate',
  key: 'Key',
  token: 'Token',
  tokenFile: 'Token file',
  deadlineMs: 'Deadline, ms',
};

/** All of a context except its token, which no command prints. */
function publicPart(name: string, { address = '', token, tokenFile, tls, ca, cert, key, deadlineMs }: SavedContext) {
  const tokenKind = token !== undefined ? 'stored, not shown' : tokenFile === undefined ? 'none' : 'from a file';
  return { name, address, tls: tls === 'true', ca, cert, key, token: tokenKind, tokenFile, deadlineMs };
}

function parseName(name: string): string {
  if (!isContextName(name)) throw new InvalidArgumentError(`It must be ${contextNameForm}.`);
  return name;
}
