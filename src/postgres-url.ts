/**
 * Reads a URL of Postgres as libpq does: several hosts, TLS, and the parameters that Roster knows. The driver's own
 * parser knows one host, gives `sslmode` other meanings, and ignores what it does not know.
 *
 * https://www.postgresql.org/docs/18/libpq-connect.html
 */
import { userInfo } from 'node:os';

export const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export const sslNegotiations = ['postgres', 'direct'] as const;
// Roster writes, so it has no use for read-only, standby and prefer-standby.
export const sessionAttributes = ['any', 'read-write', 'primary'] as const;
const channelBindings = ['disable', 'prefer'] as const;

export interface PostgresHost {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface PostgresTarget {
  /** In the order in which they are tried. */
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  readonly password?: string;
  /** Read for each new connection that needs a password. */
  readonly passwordFile?: string;
  readonly database: string;
  readonly sslMode: (typeof sslModes)[number];
  /** The path of a PEM file, or `system` for the authorities of Node.js. */
  readonly sslRootCert?: string;
  readonly sslCert?: string;
  readonly sslKey?: string;
  readonly sslNegotiation: (typeof sslNegotiations)[number];
  readonly channelBinding: (typeof channelBindings)[number];
  readonly sessionAttributes: (typeof sessionAttributes)[number];
  readonly connectTimeoutMs?: number;
  readonly applicationName?: string;
  readonly options?: string;
}

/** Its message continues a sentence that starts with the name of the setting. It contains no value of the URL. */
export class PostgresUrlError extends Error {
  override readonly name = 'PostgresUrlError';
}

export const postgresUrlForm =
  'a URL like postgres://user:password@host:5432/name, with %XX for characters like # and / in its parts';

const malformed = () => new PostgresUrlError(`must be ${postgresUrlForm}`);

// An @ in the name of the database would be the end of a password with a / that is not escaped.
const urlPattern = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?([^#]*))?$/i;
const hostPattern = /^(\[[\da-f:.%]+\]|[^[\]:]*)(?::(\d{0,5}))?$/i;

/** `ssl` and `uselibpqcompat` are the driver's, and `password_file` is Roster's; all others are libpq's. */
const parameters = new Set([
  ...['host', 'port', 'dbname', 'user', 'password', 'password_file', 'application_name', 'options', 'connect_timeout'],
  ...['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation', 'channel_binding', 'target_session_attrs'],
  ...['ssl', 'uselibpqcompat'],
]);

/** The names that a URL can leave out, and whose values may come from elsewhere. */
export type PostgresPart =
  | 'host'
  | 'port'
  | 'dbname'
  | 'user'
  | 'password'
  | 'password_file'
  | 'sslmode'
  | 'sslrootcert'
  | 'sslcert'
  | 'sslkey'
  | 'sslnegotiation'
  | 'target_session_attrs';

interface UrlParts {
  readonly hosts: readonly { readonly host: string; readonly port: string }[];
  /** The parameters, and the parts before them under the parameters' names. */
  readonly values: ReadonlyMap<string, string>;
}

/** Throws PostgresUrlError. */
export function parsePostgresUrl(url: string): PostgresTarget {
  const { hosts, values } = partsOf(url);
  const value = (name: string) => values.get(name) || undefined;
  const user = value('user') ?? systemUser();
  const ports = (value('port') ?? '').split(',');
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw new PostgresUrlError('must have one port for all hosts, or one for each');
  }
  if (value('channel_binding') === 'require') {
    throw new PostgresUrlError(
      'has channel_binding=require, which Roster cannot enforce. Write channel_binding=prefer',
    );
  }
  return {
    hosts: hosts.map(({ host, port }, at) => ({
      host: host || 'localhost',
      port: portOf(port || ports[ports.length === 1 ? 0 : at] || '5432'),
    })),
    user,
    password: value('password'),
    passwordFile: value('password') === undefined ? value('password_file') : undefined,
    database: value('dbname') ?? user,
    ...sslOf(values),
    channelBinding: choiceOf('channel_binding', values, channelBindings) ?? 'disable',
    sessionAttributes:
      choiceOf('target_session_attrs', values, sessionAttributes) ?? (hosts.length > 1 ? 'read-write' : 'any'),
    connectTimeoutMs: connectTimeoutOf(value('connect_timeout')),
    applicationName: value('application_name'),
    // As the driver reads it. In other parameters, + is a plus sign.
    options: value('options')?.replaceAll('+', ' '),
  };
}

/** Adds the parts that the URL leaves out, as parameters. Throws PostgresUrlError. */
export function completePostgresUrl(url: string, parts: Readonly<Partial<Record<PostgresPart, string>>>): string {
  const { hosts, values } = partsOf(url);
  const isGiven = (name: string): boolean => {
    if (name === 'host') return hosts.some(({ host }) => host !== '');
    if (name === 'port') return values.has('port') || hosts.every(({ port }) => port !== '');
    if (name === 'password_file' && values.has('password')) return true;
    if (name === 'sslmode' && values.has('ssl')) return true;
    return values.has(name);
  };
  const added = Object.entries(parts)
    .filter(([name, value]) => value !== undefined && !isGiven(name))
    .map(([name, value = '']) => `${name}=${encodeURIComponent(value)}`);
  if (added.length === 0) return url;
  return `${url}${url.includes('?') ? '&' : '?'}${added.join('&')}`;
}

/** Returns a URL for each host of a valid URL. */
export function urlsOfHosts(url: string): string[] {
  const { hosts } = parsePostgresUrl(url);
  const { values } = partsOf(url);
  return hosts.map(({ host, port }) => {
    const parts = [...new Map([...values, ['host', host], ['port', String(port)]])];
    return `postgres://?${parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
  });
}

/** The hosts and the database without secrets, for people: `db.example:5432/roster`. */
export function describeTarget({ hosts, database }: PostgresTarget): string {
  return `${hosts.map(describeHost).join(',')}/${database}`;
}

export function describeHost({ host, port }: PostgresHost): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a user id without a name.
    return 'postgres';
  }
}

function partsOf(url: string): UrlParts {
  const [matches, login = '', authority = '', path = '', query = ''] = urlPattern.exec(url) ?? [];
  if (matches === undefined) throw malformed();
  const values = new Map<string, string>();
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== '') values.set(name, decode(value));
  };
  const [user, ...password] = login.split(':');
  set('user', user);
  set('password', password.join(':'));
  set('dbname', path);
  for (const parameter of query.split('&')) {
    if (parameter === '') continue;
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(parameter) ?? [];
    if (!parameters.has(name)) throw unknownParameter(name, query);
    set(name, value);
  }
  const authorities = authority.split(',').map((text) => hostPattern.exec(text));
  const named = authorities.map((match) => {
    if (match === null) throw malformed();
    return { host: decode(match[1] ?? '').replace(/^\[(.*)\]$/, '$1'), port: match[2] ?? '' };
  });
  const hosts = values
    .get('host')
    ?.split(',')
    .map((host) => ({ host, port: '' }));
  return { hosts: hosts ?? named, values };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed();
  }
}

function unknownParameter(name: string, query: string): PostgresUrlError {
  // After a ? that is not escaped, the rest of a password looks like a parameter.
  if (query.includes('@') || !/^[a-z][a-z0-9_]{0,39}$/i.test(name)) return malformed();
  return new PostgresUrlError(
    `has the unknown parameter ${name}. Remove it, or correct its name: ${[...parameters].join(', ')}`,
  );
}

function choiceOf<const T extends string>(
  name: string,
  values: ReadonlyMap<string, string>,
  choices: readonly T[],
): T | undefined {
  const value = values.get(name);
  const found = choices.find((choice) => choice === value);
  if (value !== undefined && found === undefined) {
    throw new PostgresUrlError(`has an invalid ${name}, which must be ${choices.join(', ')}`);
  }
  return found;
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new PostgresUrlError('must have ports from 1 to 65535');
  return port;
}

/** libpq's unit is a second, and 0 means no limit, which Roster does not have. */
function connectTimeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (seconds < 1) throw new PostgresUrlError('has an invalid connect_timeout, which must be a number of seconds');
  return seconds * 1000;
}

function sslOf(values: ReadonlyMap<string, string>) {
  const ssl = values.get('ssl');
  if (ssl !== undefined && !['true', '1', 'false', '0'].includes(ssl)) {
    throw new PostgresUrlError('has an invalid ssl, which must be true or false. sslmode is more precise');
  }
  const isOff = ssl === 'false' || ssl === '0';
  const sslMode = choiceOf('sslmode', values, sslModes);
  const sslNegotiation = choiceOf('sslnegotiation', values, sslNegotiations) ?? 'postgres';
  const [sslRootCert, sslCert, sslKey] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => values.get(name));
  if (sslMode !== undefined && ssl !== undefined && isOff !== (sslMode === 'disable')) {
    throw new PostgresUrlError('has ssl and sslmode, which contradict each other. Remove ssl');
  }
  if ((sslCert === undefined) !== (sslKey === undefined)) throw new PostgresUrlError('needs both sslcert and sslkey');
  // libpq's default is prefer, which costs CPU but checks no certificate. A file of TLS without a mode is a request for it.
  const wantsTls =
    ssl !== undefined || sslNegotiation === 'direct' || sslRootCert !== undefined || sslCert !== undefined;
  const mode = sslMode ?? (wantsTls && !isOff ? 'verify-full' : 'disable');
  if (mode === 'verify-ca' && (sslRootCert === undefined || sslRootCert === 'system')) {
    throw new PostgresUrlError('needs sslrootcert, the path of a PEM file, for sslmode=verify-ca');
  }
  if (sslRootCert === 'system' && mode !== 'verify-full') {
    throw new PostgresUrlError('needs sslmode=verify-full for sslrootcert=system');
  }
  if (sslNegotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw new PostgresUrlError('needs sslmode=require or stricter for sslnegotiation=direct');
  }
  // libpq: with a root certificate, require means verify-ca.
  const strict = mode === 'require' && sslRootCert !== undefined ? ('verify-ca' as const) : mode;
  return { sslMode: strict, sslRootCert, sslCert, sslKey, sslNegotiation };
}
