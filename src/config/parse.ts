/**
 * Reads flags and the environment into one typed, frozen configuration, or throws an error that names all problems.
 *
 * The error never contains a secret: no database URL, no ROSTER_TOKEN, and no text that may be a secret in the wrong
 * setting.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { type Address, isLoopback } from '../net/address.js';
import {
  completePostgresUrl,
  type PostgresPart,
  PostgresUrlError,
  parsePostgresUrl,
  urlsOfHosts,
} from '../postgres-url.js';
import { clientSettings } from './client-settings.js';
import { type OtlpConfig, readOtlp } from './otlp.js';
import { flagOf, isSetting, optionOf, type Setting, type SettingTable, type ValuesOf } from './setting.js';
import { gatewaySettings, serverSettings } from './settings.js';
import {
  type CallerTlsFiles,
  checkCallerTls,
  checkListening,
  checkServerTls,
  type Problems,
  type TlsFiles,
} from './tls.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The given flags, as commander's `opts()` returns them: GRPC_ADDRESS is `grpcAddress`. */
export type Flags = Readonly<Record<string, unknown>>;

/** The configuration of a server. docs/configuration.md explains each value. */
export interface ServerConfig
  extends Omit<ValuesOf<typeof serverSettings>, 'database' | 'http' | 'tls' | 'auth' | 'searchIndex'> {
  /** Its URLs are complete. Without a URL, it is the embedded Postgres. */
  readonly database: Omit<ValuesOf<typeof serverSettings.database>, 'parts' | 'urlFile' | 'replicaUrls'> & {
    /** One for each host. */
    readonly replicaUrls: readonly string[];
  };
  /** Settings that are deprecated or ignored, and what to do about them, for the log. */
  readonly warnings: readonly string[];
  /** Undefined if nothing is exported to an OpenTelemetry collector. */
  readonly otlp?: OtlpConfig;
  /** If unset, nothing is served over HTTP. */
  readonly http?: {
    readonly address: Address;
    /** Whether it is the default address, which may be in use by another process. */
    readonly isDefault: boolean;
    /** Origins of other pages that may call. `*` allows all. */
    readonly corsOrigins: readonly string[];
  };
  /** If unset, all addresses are loopback addresses, or INSECURE is set. */
  readonly tls?: TlsFiles;
  readonly auth: {
    /** Whether each call needs credentials. */
    readonly isRequired: boolean;
    readonly accessFile?: string;
    readonly openEndpoints: readonly OpenEndpoint[];
  };
}

export type OpenEndpoint = ValuesOf<typeof serverSettings.auth.openEndpoints>[number];

/** The configuration of a standalone gateway. */
export interface GatewayConfig extends Omit<ValuesOf<typeof gatewaySettings>, 'targetTls' | 'tls'> {
  /** As in ServerConfig. */
  readonly warnings: readonly string[];
  readonly otlp?: OtlpConfig;
  /** If unset, the target is called without TLS. */
  readonly targetTls?: CallerTlsFiles;
  /** If unset, the address is a loopback address, or INSECURE is set. */
  readonly tls?: TlsFiles;
}

/** The configuration of a command that calls a server. */
export interface ClientConfig extends Omit<ValuesOf<typeof clientSettings>, 'tls'> {
  /** If unset, calls do not use TLS. */
  readonly tls?: CallerTlsFiles;
}

/** Names every invalid setting and what is allowed. The command line prints the message and exits with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

/** Without `serves`, for commands that only use the database, the addresses may need neither TLS nor INSECURE. */
export function parseServerConfig(env: Environment, flags: Flags = {}, { serves = true } = {}): ServerConfig {
  const { values, problems } = readSettings(serverSettings, env, flags);
  const { grpc, http, tls } = serverSettings;
  const tlsFiles = checkServerTls(tls, values.tls, problems);
  const listening = [[grpc.address, values.grpc.address] as const, [http.address, values.http.address] as const];
  if (serves) checkAuditFile(values.auditLog, problems);
  if (serves) checkListening(listening, values.tls, problems);
  const warnings: string[] = [];
  const auth = checkAuth(values.auth, listening, values.tls, { serves, problems, warnings });
  const databaseConfig = checkDatabase(values.database, problems, warnings);
  const isDefault = textOf(http.address, env, flags) === '';
  const { searchIndex, ...current } = values;
  let { listIndexes } = current;
  if (searchIndex !== undefined) {
    const isReplaced = textOf(serverSettings.listIndexes, env, flags) !== '';
    if (!isReplaced && !searchIndex) listIndexes = 'none';
    const effect = isReplaced ? 'ignored' : `read as LIST_INDEXES=${listIndexes}`;
    warnings.push(
      `${problems.label(serverSettings.searchIndex)} is deprecated and ${effect}. Set LIST_INDEXES instead.`,
    );
  }
  return freezeOrThrow(problems, {
    ...current,
    database: databaseConfig,
    listIndexes,
    otlp: readOtlp(env, warnings),
    warnings,
    http: { ...values.http, isDefault },
    tls: tlsFiles,
    auth,
  });
}

/** Decides whether calls need credentials. Without, others must not reach the server unless INSECURE is set. */
function checkAuth(
  { mode, accessFile, openEndpoints }: ValuesOf<typeof serverSettings.auth>,
  listening: readonly (readonly [Setting, Address])[],
  { cert, clientCa, insecure }: ValuesOf<typeof serverSettings.tls>,
  { serves, problems, warnings }: { serves: boolean; problems: Problems; warnings: string[] },
): ServerConfig['auth'] {
  const { auth, tls } = serverSettings;
  const isReachable = listening.some(([, { host }]) => !isLoopback(host));
  const wants = accessFile !== undefined || clientCa !== undefined || (isReachable && !insecure);
  const isRequired = mode === 'on' || (mode === 'auto' && wants);
  if (!serves) return { isRequired, accessFile, openEndpoints };
  if (mode === 'off' && isReachable && !insecure) {
    problems.list.push(
      `${problems.label(auth.mode)} is off, but other machines can reach the server, so everybody could read and erase ` +
        'all users: remove it, or set INSECURE=true (--insecure)',
    );
  }
  if (mode === 'off' && accessFile !== undefined) {
    problems.list.push(`${problems.label(auth.accessFile)} needs ${auth.mode.name}=on`);
  }
  // With TLS and credentials, INSECURE changes nothing.
  if (isReachable && insecure && !(isRequired && cert !== undefined)) {
    const risk = isRequired
      ? 'others can read the traffic, including tokens, unless a proxy in front of Roster uses TLS'
      : 'EVERYBODY who reaches it can read, change and erase all users';
    warnings.push(`${problems.label(tls.insecure)} is set and other machines can reach the server: ${risk}.`);
  }
  return { isRequired, accessFile, openEndpoints };
}

/** Completes the URLs with the parts, or makes a URL of the parts. */
function checkDatabase(
  { parts, url: ownUrl, urlFile, directUrl, replicaUrls = [], ...others }: ValuesOf<typeof serverSettings.database>,
  problems: Problems,
  warnings: string[],
): ServerConfig['database'] {
  const { database } = serverSettings;
  const isFromFile = ownUrl === undefined && urlFile !== undefined;
  const givenUrl = isFromFile ? readSecret(database.urlFile, urlFile, problems) : ownUrl;
  const isGiven = parts.host !== undefined && parts.dbname !== undefined;
  if (givenUrl === undefined && !isGiven && parts.host !== undefined) {
    // A developer's shell often has it for psql. Roster must not create its tables there by surprise.
    warnings.push(
      'PGHOST is ignored and the embedded Postgres is used, because PGDATABASE and DATABASE_URL are not set.',
    );
  }
  const complete = (setting: Setting, text: string | undefined, texts = textsOf(parts)): string | undefined => {
    if (text === undefined) return undefined;
    try {
      const url = completePostgresUrl(text, texts);
      parsePostgresUrl(url);
      return url;
    } catch (error) {
      if (!(error instanceof PostgresUrlError)) throw error;
      problems.list.push(`${problems.label(setting)} ${error.message}`);
      return undefined;
    }
  };
  const urlSetting = isFromFile ? database.urlFile : database.url;
  const [first, text] = givenUrl === undefined ? [database.parts.host, 'postgres://'] : [urlSetting, givenUrl];
  const url = complete(first, givenUrl === undefined && !isGiven ? undefined : text);
  const needing = [directUrl && database.directUrl, replicaUrls.length > 0 && database.replicaUrls];
  for (const setting of url === undefined && problems.list.length === 0 ? needing : []) {
    if (setting) problems.list.push(`${problems.label(setting)} needs ${database.url.name}`);
  }
  // A replica has its own host, and may be read-only.
  const replicaParts = { ...textsOf(parts), host: undefined, target_session_attrs: 'any' };
  const completeReplicas = replicaUrls.flatMap(
    (replica) => complete(database.replicaUrls, replica, replicaParts) ?? [],
  );
  return {
    ...others,
    url,
    directUrl: complete(database.directUrl, directUrl),
    replicaUrls: completeReplicas.flatMap(urlsOfHosts),
  };
}

/** Fails at the start if the file cannot be appended to. Later, the server goes on without it. */
function checkAuditFile(target: ServerConfig['auditLog'], { list, label }: Problems): void {
  if (typeof target === 'string') return;
  try {
    closeSync(openSync(target.file, 'a', 0o640));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? ` (${error.code})` : '';
    list.push(`${label(serverSettings.auditLog)} is a file to which Roster cannot append${code}`);
  }
}

function readSecret(setting: Setting, path: string, { list, label }: Problems): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    list.push(`${label(setting)} must be ${setting.kind.form}, but the file cannot be read`);
    return undefined;
  }
}

function textsOf({
  password,
  ...parts
}: ValuesOf<typeof serverSettings.database.parts>): Partial<Record<PostgresPart, string>> {
  return { ...parts, ...(parts.password_file === undefined && { password }) };
}

export function parseGatewayConfig(env: Environment, flags: Flags = {}): GatewayConfig {
  const { values, problems } = readSettings(gatewaySettings, env, flags);
  const tls = checkServerTls(gatewaySettings.tls, values.tls, problems);
  checkListening([[gatewaySettings.http.address, values.http.address]], values.tls, problems);
  const targetTls = checkCallerTls(gatewaySettings.targetTls, values.targetTls, problems);
  const warnings: string[] = [];
  if (targetTls?.cert !== undefined && tls?.clientCa === undefined && !isLoopback(values.http.address.host)) {
    const label = problems.label(gatewaySettings.targetTls.cert);
    warnings.push(
      `${label} is set: everybody who reaches the gateway has the rights of that certificate at the target.`,
    );
  }
  return freezeOrThrow(problems, { ...values, otlp: readOtlp(env, warnings), warnings, tls, targetTls });
}

export function parseClientConfig(env: Environment, flags: Flags = {}): ClientConfig {
  const { values, problems } = readSettings(clientSettings, env, flags);
  return freezeOrThrow(problems, { ...values, tls: checkCallerTls(clientSettings.tls, values.tls, problems) });
}

/** Adds invalid values to the problems, and uses the defaults instead so that later checks can run. */
function readSettings<const T extends SettingTable>(table: T, env: Environment, flags: Flags) {
  const problems: Problems = {
    list: [],
    label: (setting) => (flagValue(setting, flags) === undefined ? setting.name : `--${flagOf(setting)}`),
  };
  const read = (entry: Setting | SettingTable): unknown => {
    if (!isSetting(entry)) return Object.fromEntries(Object.entries(entry).map(([key, value]) => [key, read(value)]));
    const text = textOf(entry, env, flags);
    const value = text === '' ? undefined : entry.kind.parse(text);
    if (text !== '' && value === undefined) {
      const problem = entry.kind.problem?.(text) ?? `must be ${entry.kind.form}${quoteUnlessSecret(entry, text)}`;
      problems.list.push(`${problems.label(entry)} ${problem}`);
    }
    return value ?? (entry.default === undefined ? entry.valueIfUnset?.() : entry.kind.parse(String(entry.default)));
  };
  // TypeScript cannot relate the keys to the kinds in a loop.
  return { values: read(table) as ValuesOf<T>, problems };
}

/** Flags override the environment. An empty text is unset: compose files and shells write `NAME=` for a missing value. */
function textOf(setting: Setting, env: Environment, flags: Flags): string {
  const text = String(flagValue(setting, flags) ?? env[setting.name] ?? '');
  return setting.kind.keepsSpaces ? text : text.trim();
}

function flagValue(setting: Setting, flags: Flags): unknown {
  return flags[optionOf(flagOf(setting))];
}

/** The value in a problem's text, unless it is a secret or may contain one. */
function quoteUnlessSecret(setting: Setting, text: string): string {
  if (setting.kind.secret || !/^[\w.,:*[\]+ -]{1,60}$/.test(text)) return '';
  return `, not "${text}"`;
}

function freezeOrThrow<T extends object>({ list }: Problems, config: T): T {
  if (list.length > 0) throw new ConfigError(list);
  return freeze(config);
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part);
  return Object.freeze(value);
}
