/**
 * The file of contexts: named connections to servers, in the user's configuration folder.
 *
 * Only the user may read the file, because it can hold tokens. As ssh does with keys, and unlike kubectl, which only warns,
 * every command refuses a file that others can read.
 */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { clientSettings } from '../config/client-settings.js';
import { type ClientConfig, ConfigError, parseClientConfig } from '../config/parse.js';
import { optionOf, type SettingRow, settingRows } from '../config/setting.js';
import { isObject } from '../user-files/read-json.js';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import type { Terminal } from './terminal.js';

type Environment = Terminal['env'];

/** The values of flags, by their names in camelCase, and `tokenFile`. */
export type SavedContext = Readonly<Record<string, string>>;

export interface SavedContexts {
  readonly path: string;
  /** The context that `roster context use` has chosen. */
  current?: string;
  readonly contexts: Map<string, SavedContext>;
}

export const contextNameForm =
  'at most 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit';

export function isContextName(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,63}$/.test(name);
}

/** By the XDG Base Directory Specification, which ignores relative paths. Undefined without a home folder. */
function pathIn({ XDG_CONFIG_HOME = '', HOME = '' }: Environment): string | undefined {
  if (isAbsolute(XDG_CONFIG_HOME)) return join(XDG_CONFIG_HOME, 'roster', 'contexts.json');
  return isAbsolute(HOME) ? join(HOME, '.config', 'roster', 'contexts.json') : undefined;
}

export function readContexts(env: Environment): SavedContexts {
  const path = pathIn(env);
  if (path === undefined) throw new UsageError('Contexts need a folder: set HOME or XDG_CONFIG_HOME.');
  let text: string;
  try {
    // Windows has no such modes. There, the user's folder protects the file.
    if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) {
      throw new UsageError(`Other users of this machine can read or write ${path}. Run: chmod 600 '${path}'`);
    }
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'ENOENT') return { path, contexts: new Map() };
    throw new UsageError(`${path} cannot be read (${error.code}).`);
  }
  return parseContexts(path, text);
}

/** The errors name places in the file and never a value, which may be a token. */
function parseContexts(path: string, text: string): SavedContexts {
  const broken = (problem: string) =>
    new UsageError(
      `${path} is not a file of contexts: ${problem}. Correct it, or delete it and add the contexts again.`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw broken('it is not valid JSON');
  }
  if (!isObject(value) || !isObject(value.contexts)) throw broken('it has no object "contexts"');
  const { current, contexts } = value;
  if (current !== undefined && typeof current !== 'string') throw broken('"current" is not a text');
  const known = [...connectionRows.keys(), 'tokenFile'];
  for (const [name, context] of Object.entries(contexts)) {
    if (!isContextName(name)) throw broken(`the name ${JSON.stringify(name)} is invalid`);
    if (!isObject(context)) throw broken(`the context ${name} is not an object`);
    for (const [key, member] of Object.entries(context)) {
      if (!known.includes(key)) throw broken(`the context ${name} has an unknown member ${JSON.stringify(key)}`);
      if (typeof member !== 'string') throw broken(`${JSON.stringify(key)} of the context ${name} is not a text`);
    }
  }
  return { path, current, contexts: new Map(Object.entries(contexts) as [string, SavedContext][]) };
}

export async function writeContexts({ path, current, contexts }: SavedContexts): Promise<void> {
  const text = JSON.stringify({ current, contexts: Object.fromEntries(contexts) }, null, 2);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, `${text}\n`, 0o600);
}

/** The settings of a connection, by the names of their flags in camelCase. */
const connectionRows: ReadonlyMap<string, SettingRow> = new Map(
  settingRows(clientSettings).map((row) => [optionOf(row.flag.slice(2)), row]),
);

/** Throws a UsageError if there is no context with this name. */
export function contextNamed({ path, contexts }: SavedContexts, name: string): SavedContext {
  const context = contexts.get(name);
  if (context !== undefined) return context;
  const names = [...contexts.keys()].join(', ');
  throw new UsageError(
    `There is no context ${JSON.stringify(name)} in ${path}. ${names === '' ? 'It has none.' : `It has ${names}.`}`,
  );
}

export interface ConnectionFlags {
  context?: string;
  address?: string;
  token?: string;
  tokenFile?: string;
}

/**
 * The name of the context that a command uses. A command that names its server with --address uses only the context of
 * --context, because the token and the certificates of another context belong to that context's server.
 */
export function selectedContext(env: Environment, flags: ConnectionFlags): string | undefined {
  // An empty flag means no context. An empty variable is unset, as everywhere.
  if (flags.context !== undefined) return flags.context || undefined;
  if (flags.address !== undefined) return undefined;
  if (env.ROSTER_CONTEXT?.trim()) return env.ROSTER_CONTEXT.trim();
  if (env.ROSTER_ADDRESS?.trim() || pathIn(env) === undefined) return undefined;
  return readContexts(env).current;
}

// The other variables describe a server, and a context describes its own: a mixture could send a token to the wrong server.
const variablesOfAnyServer = ['ROSTER_TOKEN', 'ROSTER_DEADLINE_MS'];

/**
 * Flags override --context, --context overrides variables, and variables override the context of ROSTER_CONTEXT or of
 * `roster context use`.
 */
export function connectionConfig(
  env: Environment,
  flags: ConnectionFlags,
): ClientConfig & { readonly context?: string } {
  const name = selectedContext(env, flags);
  if (name === undefined) return parseClientConfig(env, { ...flags, token: tokenOf(flags) });
  const isNamedByFlag = flags.context !== undefined;
  if (!isNamedByFlag && env.ROSTER_CONTEXT?.trim() && env.ROSTER_ADDRESS?.trim()) {
    throw new UsageError('ROSTER_CONTEXT and ROSTER_ADDRESS both name a server. Unset one of them.');
  }
  const saved = contextNamed(readContexts(env), name);
  validate(name, saved);
  const token = tokenOf(flags);
  const variables: Record<string, string | undefined> = {};
  for (const [key, row] of connectionRows) variables[row.name] = saved[key];
  const isTokenGiven = token !== undefined || (!isNamedByFlag && env.ROSTER_TOKEN?.trim());
  if (!isTokenGiven && saved.tokenFile !== undefined) {
    variables.ROSTER_TOKEN = readToken(saved.tokenFile, `The token file of the context ${name} cannot be read.`);
  }
  for (const variable of variablesOfAnyServer) {
    if (env[variable]?.trim() && !(isNamedByFlag && variables[variable])) variables[variable] = env[variable];
  }
  return { ...parseClientConfig(variables, { ...flags, token }), context: name };
}

/** Checked on its own first, so that a problem names the context and not a variable that nobody has set. */
function validate(name: string, context: SavedContext): void {
  try {
    parseClientConfig({}, context);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.problems.map((problem) => `In the context ${name}, ${problem}`));
  }
}

function tokenOf({ token, tokenFile }: ConnectionFlags): string | undefined {
  if (tokenFile === undefined) return token;
  if (token !== undefined) throw new UsageError('Give --token or --token-file, not both.');
  return readToken(tokenFile, '--token-file must be the path of a readable file.');
}

export function readToken(path: string, problem: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    throw new UsageError(problem);
  }
}
