/** `roster key`: creates, lists and revokes API keys, on the database of a server. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Flags, parseServerConfig } from '../config/parse.js';
import { serverSettings } from '../config/settings.js';
import { apiKeyNameText, isApiKeyName } from '../model/api-key.js';
import { safeJson, safeText } from '../safe-text.js';
import type { Context } from './client-command.js';
import { CommandFailure, exitCodes, UsageError } from './failure.js';
import { createSettingsCommand } from './settings-command.js';
import { confirm, print } from './terminal.js';
import { createTable } from './text.js';

interface OutputFlags {
  json?: boolean;
  output?: 'table' | 'json';
}

interface CreateFlags extends OutputFlags {
  name?: string;
  role?: string[];
  expires?: number;
}

interface RevokeFlags extends OutputFlags {
  yes?: boolean;
}

/** A key as the commands show it. */
interface ShownKey {
  readonly name: string;
  readonly id: string;
  readonly roles: readonly string[];
  readonly createTime: Date;
  readonly expireTime: Date | null;
  readonly lastUseTime: Date | null;
  readonly revokeTime: Date | null;
}

export function createKeyCommand(context: Context): Command {
  const command = new Command('key').description('Create, list or revoke the API keys of services that call Roster.');
  for (const subcommand of [createCreate(context), createList(context), createRevoke(context)]) {
    command.addCommand(subcommand);
  }
  return command.addHelpText(
    'after',
    `
The commands work on the database that "roster serve" would use, also while it serves. A server accepts a new key at once,
and refuses a revoked one within two seconds.

Examples:
  roster key create --name billing --role reader --expires 90d
  roster key list
  roster key revoke billing`,
  );
}

/** A subcommand with --output and --json, and with the settings of a server. */
function createSubcommand(name: string, description: string, usage: string): Command {
  return createSettingsCommand(name, description, serverSettings)
    .usage(`${usage} [settings]`)
    .optionsGroup('Options:')
    .addOption(new Option('-o, --output <format>', 'the format of the output').choices(['table', 'json']))
    .option('--json', 'the same as --output json');
}

function createCreate(context: Context): Command {
  const description = 'Create an API key, and print it. Nothing can show it again.';
  return createSubcommand('create', description, '--name NAME --role ROLE… [--expires 90d]')
    .option('--name <name>', `the name of the service that uses it: ${apiKeyNameText}`, parseName)
    .option('--role <role>', 'reader, writer, bulk, admin, or a role of ACCESS_FILE; may be repeated', appendTo)
    .option(
      '--expires <time>',
      'how long it is valid, such as 12h or 90d (default: until it is revoked)',
      parseDuration,
    )
    .action((flags: CreateFlags & Flags) => createKeyFor(context, flags));
}

async function createKeyFor({ terminal, signal }: Context, flags: CreateFlags & Flags): Promise<void> {
  const { name, role: roles = [], expires } = flags;
  if (name === undefined) throw new UsageError('Pass the name of the key with --name.');
  if (roles.length === 0) throw new UsageError('Pass at least one role with --role.');
  const { config, maintenance, options } = await open({ terminal, signal }, flags);
  const known = maintenance.knownRoles(config);
  const unknown = roles.find((role) => !known.includes(role));
  if (unknown !== undefined) {
    throw new UsageError(`The role ${safeText(unknown)} does not exist. The roles are ${known.join(', ')}.`);
  }
  const created = await maintenance.createKey(config, { name, roles, lifetimeSeconds: expires }, options);
  if (created === 'NAME_TAKEN') {
    throw new CommandFailure(
      `The key ${name} exists. Revoke it first ("roster key revoke ${name}"), or choose another name.`,
      exitCodes.conflict,
    );
  }
  if (created === 'TOO_MANY_KEYS') {
    throw new CommandFailure('There are too many keys. Revoke some of them first.', exitCodes.unexpected);
  }
  if (wantsJson(flags)) {
    await print(terminal.stdout, `${safeJson({ ...jsonOf(created), key: created.key })}\n`);
    return;
  }
  const expiry = created.expireTime === null ? 'does not expire' : `expires at ${created.expireTime.toISOString()}`;
  await print(
    terminal.stderr,
    `Created the key ${name} with the role ${created.roles.join(', ')}. It ${expiry}.\n` +
      'Keep the next line secret. It is shown only now. Clients send it as their token (ROSTER_TOKEN).\n',
  );
  await print(terminal.stdout, `${created.key}\n`);
}

function createList(context: Context): Command {
  return createSubcommand('list', 'List the API keys, without their secrets.', '').action(
    (flags: OutputFlags & Flags) => listKeys(context, flags),
  );
}

async function listKeys({ terminal, signal, styles }: Context, flags: OutputFlags & Flags): Promise<void> {
  const { stdout, stderr } = terminal;
  const { config, maintenance, options } = await open({ terminal, signal }, flags);
  const keys = await maintenance.listAllKeys(config, options);
  if (wantsJson(flags)) {
    await print(stdout, keys.map((key) => `${safeJson(jsonOf(key))}\n`).join(''));
  } else if (keys.length === 0) {
    await print(stderr, 'There are no API keys. Create one with: roster key create --name NAME --role ROLE\n');
  } else {
    const wholeTitles = ['NAME', 'ID', 'ROLES', 'CREATED', 'EXPIRES', 'LAST USED', 'REVOKED'];
    const columns = wholeTitles.map((title) => ({ title, whole: title === 'NAME' || title === 'ID' }));
    const table = createTable(columns, stdout.columns, (line) => styles.stdout('bold', line));
    await print(stdout, table(keys.map(cellsOf)));
  }
}

function cellsOf({ name, id, roles, createTime, expireTime, lastUseTime, revokeTime }: ShownKey): string[] {
  const day = (time: Date) => time.toISOString().slice(0, 10);
  const minute = (time: Date | null, none: string) => time?.toISOString().slice(0, 16).replace('T', ' ') ?? none;
  const expires = expireTime !== null && expireTime.getTime() <= Date.now() ? 'expired' : minute(expireTime, 'never');
  return [name, id, roles.join(', '), day(createTime), expires, minute(lastUseTime, 'never'), minute(revokeTime, '')];
}

function createRevoke(context: Context): Command {
  return createSubcommand('revoke', 'Revoke an API key. This cannot be undone.', 'NAME')
    .argument('<name>', 'the name of the key', parseName)
    .option('-y, --yes', 'do not ask for confirmation; required if the input is not a terminal')
    .action((name: string, flags: RevokeFlags & Flags) => revokeKey(context, name, flags));
}

async function revokeKey({ terminal, signal }: Context, name: string, flags: RevokeFlags & Flags): Promise<void> {
  if (!flags.yes && !(terminal.stdin.isTTY && terminal.stderr.isTTY)) {
    throw new UsageError('Cannot ask for confirmation without a terminal. Pass --yes to revoke the key.');
  }
  const { config, maintenance, options } = await open({ terminal, signal }, flags);
  const confirmKey = async ({ id, roles, lastUseTime }: ShownKey) => {
    if (flags.yes) return;
    const use = lastUseTime === null ? 'never used' : `last used at ${lastUseTime.toISOString()}`;
    await print(terminal.stderr, `${name}: id ${id}, role ${roles.join(', ')}, ${use}\n`);
    if (!(await confirm(terminal, 'Revoke this key?', signal))) {
      throw new CommandFailure('Nothing was revoked.', exitCodes.unexpected);
    }
  };
  const revoked = await maintenance.revokeKeyNamed(config, name, { ...options, confirm: confirmKey });
  if (revoked === undefined) {
    throw new CommandFailure(`No key in use has the name ${name}. See "roster key list".`, exitCodes.notFound);
  }
  const text = `Revoked the key ${name}. Servers refuse it within two seconds.\n`;
  await print(terminal.stdout, wantsJson(flags) ? `${safeJson({ name, id: revoked.id })}\n` : text);
}

async function open({ terminal, signal }: Pick<Context, 'terminal' | 'signal'>, flags: Flags) {
  const config = parseServerConfig(terminal.env, flags, { serves: false });
  // Imported here, so that client commands do not load it.
  const maintenance = await import('../maintenance.js');
  // The standard output has only the result.
  const logTo = { write: (text: string) => void terminal.stderr.write(text) };
  return { config, maintenance, options: { signal, logTo } };
}

function jsonOf({ name, id, roles, createTime, expireTime, lastUseTime, revokeTime }: ShownKey) {
  const times = { createTime, expireTime, lastUseTime, revokeTime };
  return { name, id, roles, ...Object.fromEntries(Object.entries(times).filter(([, time]) => time !== null)) };
}

function wantsJson({ json, output }: OutputFlags): boolean {
  return json === true || output === 'json';
}

function appendTo(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

function parseName(name: string): string {
  if (!isApiKeyName(name)) throw new InvalidArgumentError(`It must be ${apiKeyNameText}.`);
  return name;
}

const secondsOf: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };
const daysMax = 3_650;

function parseDuration(text: string): number {
  const [, count, unit = ''] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (secondsOf[unit] ?? 0);
  if (!(seconds > 0 && seconds <= daysMax * 86_400)) {
    throw new InvalidArgumentError(`It must be a number with s, m, h or d, such as 12h or 90d, up to ${daysMax}d.`);
  }
  return seconds;
}
