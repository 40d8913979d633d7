/**
 * Reads the environment and the flags into one typed, frozen configuration, or throws an error with all invalid values.
 *
 * The tables here drive parsing, `--help` and docs/configuration.md. Nothing else reads `process.env`. No text made
 * here has a secret: no database URL, no ROSTER_TOKEN, and no value in a wrong place, which may be a secret.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { parseArgs } from 'node:util';

/** The type of a setting's value. */
interface Kind<T> {
  /** Returns undefined for a text that is not allowed. */
  parse(text: string): T | undefined;
  /** The allowed values, for help, documentation and problems. */
  readonly form: string;
  /** The text after the flag in help. */
  readonly placeholder: string;
  /** Its values never appear in texts. */
  readonly secret?: true;
}

interface Setting {
  readonly name: string;
  readonly kind: Kind<unknown>;
  readonly default?: string | number | boolean;
  readonly description: string;
  /** The meaning of no value, for a setting without a default. */
  readonly unset?: string;
}

type ValueOf<S extends Setting> =
  | (S['kind'] extends Kind<infer T> ? T : never)
  | (S extends { default: unknown } ? never : undefined);

type Values<T extends readonly Setting[]> = { readonly [S in T[number] as S['name']]: ValueOf<S> };

/** The address of a server. An IPv6 host has no brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const wholeNumber = (min: number, max: number): Kind<number> => ({
  form: `a whole number from ${min} to ${max}`,
  placeholder: '<number>',
  parse(text) {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : undefined;
  },
});

/** More than machines have cores. Each process takes memory and connections. */
const processesMax = 256;

/** Resolves auto here, so that the configuration has the number. */
const processes: Kind<number> = {
  form: `a whole number from 1 to ${processesMax}, or auto`,
  placeholder: '<number>',
  parse(text) {
    if (text.toLowerCase() === 'auto') return Math.min(availableParallelism(), processesMax);
    return wholeNumber(1, processesMax).parse(text);
  },
};

/** The only kind whose flag needs no value. */
const onOff: Kind<boolean> = {
  form: 'true or false',
  placeholder: '',
  parse(text) {
    if (/^(?:true|1)$/i.test(text)) return true;
    return /^(?:false|0)$/i.test(text) ? false : undefined;
  },
};

const choice = <const T extends string>(...values: readonly T[]): Kind<T> => ({
  form: `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`,
  placeholder: '<word>',
  parse: (text) => values.find((value) => value === text.toLowerCase()),
});

const address: Kind<Address> = {
  form: 'host:port or [IPv6]:port, with both parts (0.0.0.0 or [::] for every interface)',
  placeholder: '<host:port>',
  parse: parseAddress,
};

/** Addresses of servers to call. The client validates them. */
const addresses: Kind<readonly string[]> = {
  form: 'host:port (default port 50051) or a gRPC target such as dns:///host:port; separate several with commas',
  placeholder: '<host:port,...>',
  parse(text) {
    const parts = text.split(',').map((part) => part.trim());
    return parts.every((part) => /^\S+$/.test(part)) ? parts : undefined;
  },
};

/** Origins as browsers send them: scheme and host in lower case, and the port if it is not the scheme's default. */
const origins: Kind<readonly string[]> = {
  form: '* or origins like https://app.example.com, separated by commas',
  placeholder: '<origin,...>',
  parse(text) {
    const parts = text.split(',').map((part) => part.trim());
    const isOrigin = (part: string) => /^https?:/.test(part) && URL.canParse(part) && new URL(part).origin === part;
    return text === '*' || parts.every(isOrigin) ? parts : undefined;
  },
};

/** The address of the server behind a gateway. */
const target: Kind<Address> = {
  form: 'host:port or [IPv6]:port, with both parts',
  placeholder: '<host:port>',
  parse: parseAddress,
};

const pathOf = (what: string): Kind<string> => ({
  form: `the path of ${what}`,
  placeholder: '<path>',
  parse: (text) => (text.includes('\0') ? undefined : resolve(text)),
});
const folder = pathOf('a folder');
const pemFile = pathOf('a PEM file');
const descriptorsFile = pathOf('a google.protobuf.FileDescriptorSet with all imports, as buf build -o writes it');

const databaseUrl: Kind<string> = {
  form: 'a URL like postgres://user:password@host:5432/name, with %XX for characters like # and / in its parts',
  placeholder: '<url>',
  secret: true,
  parse: (text) => (isDatabaseUrl(text) ? text : undefined),
};

const token: Kind<string> = {
  form: 'at most 4096 ASCII characters without spaces',
  placeholder: '<token>',
  secret: true,
  // These characters need no quotes in an HTTP header (RFC 6750's b64token and a few more).
  parse: (text) => (/^[\x21-\x7e]{1,4096}$/.test(text) ? text : undefined),
};

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

const serverSettings = [
  {
    name: 'DATABASE_URL',
    kind: databaseUrl,
    unset: 'the embedded Postgres',
    description:
      "The Postgres (15 to 18) that stores the users. Prefer the variable: other users of the machine can read a process's flags.",
  },
  {
    name: 'DATABASE_DIRECT_URL',
    kind: databaseUrl,
    unset: 'DATABASE_URL',
    description:
      'The same database without the connection pooler, for work that needs a session: imports, exports, watches that begin with existing users, migrations and the search index.',
  },
  {
    name: 'DATA_DIR',
    kind: folder,
    unset: ".roster in the package's folder",
    description: 'Where the embedded Postgres keeps its data. A relative path is relative to the working directory.',
  },
  {
    name: 'GRPC_ADDRESS',
    kind: address,
    default: 'localhost:50051',
    description: 'Where gRPC listens. localhost means IPv4 and IPv6. Port 0 picks a free port.',
  },
  {
    name: 'HTTP_ADDRESS',
    kind: address,
    default: 'localhost:8080',
    description:
      'Where the page, gRPC-Web, Connect, JSON, /metrics, /healthz and /readyz are served, with TLS if gRPC uses TLS. If the default is taken, they are not served, and a log line says so.',
  },
  {
    name: 'CORS_ORIGINS',
    kind: origins,
    unset: "the page's own origin",
    description:
      "Origins whose pages may call over HTTP; * allows all. Add the origin of a proxy in front that does not pass on the browser's Host.",
  },
  {
    name: 'WORKERS',
    kind: processes,
    default: 1,
    description:
      'The number of processes that serve on one port; auto means one for each core. Each has its own connections, queues and memory.',
  },
  {
    name: 'LOG_LEVEL',
    kind: choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    description:
      'The lowest level that is logged. Each call is one line: warn or error if the server failed, else info.',
  },
  {
    name: 'LOG_FORMAT',
    kind: choice('auto', 'pretty', 'json'),
    default: 'auto',
    description: 'The format of lines; auto means pretty on a terminal and JSON elsewhere.',
  },
  {
    name: 'TLS_CERT',
    kind: pemFile,
    unset: 'no TLS',
    description: "The server's certificate in PEM, with any intermediate certificates. Needs TLS_KEY.",
  },
  { name: 'TLS_KEY', kind: pemFile, unset: 'no TLS', description: "The certificate's key in PEM, not encrypted." },
  {
    name: 'TLS_CLIENT_CA',
    kind: pemFile,
    unset: 'no client certificates',
    description:
      "Certificate authorities in PEM. One of them must have signed each client's certificate. Needs TLS_CERT and TLS_KEY.",
  },
  {
    name: 'INSECURE',
    kind: onOff,
    default: false,
    description: 'Allows serving without TLS on addresses that other machines can reach.',
  },
  {
    name: 'DATABASE_CONNECTIONS_MAX',
    kind: wholeNumber(1, 1000),
    // pg's own default.
    default: 10,
    description:
      'Connections to Postgres that calls share, in each of WORKERS. One more checks whether Postgres answers.',
  },
  {
    name: 'DATABASE_CONNECT_TIMEOUT_MS',
    kind: wholeNumber(1, 10 * minuteMs),
    default: 5000,
    description: 'How long a new connection to Postgres may take.',
  },
  {
    name: 'DATABASE_CONNECTION_AGE_MS_MAX',
    kind: wholeNumber(1000, dayMs),
    default: 30 * minuteMs,
    description:
      'The age at which a shared connection is replaced, so that none stays with an old server. Each is replaced up to a quarter earlier, so that they are not all replaced together.',
  },
  {
    name: 'STATEMENT_TIMEOUT_MS',
    kind: wholeNumber(1, hourMs),
    default: 30_000,
    description: 'How long Postgres may work on one statement.',
  },
  {
    name: 'LOCK_TIMEOUT_MS',
    kind: wholeNumber(1, hourMs),
    default: 5000,
    description: 'How long a statement may wait for one lock.',
  },
  {
    name: 'PREPARED_STATEMENTS',
    kind: onOff,
    default: true,
    description:
      'Names frequent statements, so that Postgres parses them once. Set false for PgBouncer before 1.21 in transaction mode.',
  },
  {
    name: 'BATCH_ROWS_MAX',
    kind: wholeNumber(1, 4096),
    default: 256,
    description: 'Calls that share one statement.',
  },
  {
    name: 'QUEUE_ROWS_MAX',
    kind: wholeNumber(1, 1_000_000),
    default: 10_000,
    description: 'Calls that wait for a statement. Further calls fail with RESOURCE_EXHAUSTED.',
  },
  {
    name: 'STREAM_CONNECTIONS_MAX',
    kind: wholeNumber(1, 1000),
    default: 4,
    description:
      'Connections to Postgres for imports, exports and watches that begin with existing users, one for each, in addition to DATABASE_CONNECTIONS_MAX, in each of WORKERS. If all are in use, calls wait.',
  },
  {
    name: 'STREAM_STALL_TIMEOUT_MS',
    kind: wholeNumber(1000, hourMs),
    default: 30_000,
    description:
      'How long an import may send nothing, and a watcher may leave messages unread. Over HTTP, also how long a client may take for the next 16 KiB of a request or an answer.',
  },
  {
    name: 'BUFFERED_BYTES_MAX',
    kind: wholeNumber(1000, 1_000_000_000_000),
    default: 134_217_728,
    description:
      'Bytes of incomplete requests over HTTP and of answers that clients have not read yet, in each process. From three quarters of it on, new calls over HTTP fail with OVERLOADED. Above it, the slowest clients are disconnected.',
  },
  {
    name: 'SNAPSHOT_TIMEOUT_MS',
    kind: wholeNumber(1000, dayMs),
    default: 10 * minuteMs,
    description:
      'How long an export may hold its snapshot, which keeps Postgres from cleaning up. It can be resumed with a new one.',
  },
  {
    name: 'CHANGES_KEPT_HOURS',
    kind: wholeNumber(1, 8760),
    default: 168,
    description: 'How long the change log keeps changes, so that a disconnected watcher can resume.',
  },
  {
    name: 'CHANGES_KEPT_MAX',
    kind: wholeNumber(1000, 1_000_000_000_000),
    // About 150 bytes each, indexes included.
    default: 10_000_000,
    description:
      'Changes that the change log keeps, oldest deleted first. Set it above the number of users in the largest import.',
  },
  {
    name: 'SEARCH_INDEX',
    kind: onOff,
    default: true,
    description:
      'Creates the index for searches by `query`, in the background and if Postgres has pg_trgm. It makes each create and import slower. Without it, a search reads the whole table.',
  },
  {
    name: 'CONCURRENT_STREAMS_MAX',
    kind: wholeNumber(1, 1_000_000),
    // The usual value of gRPC servers. Further calls wait in the client, where they cost others nothing.
    default: 100,
    description: "Calls in flight on one client's connection, including watches. Further calls wait in the client.",
  },
  {
    name: 'CONNECTION_AGE_MS_MAX',
    kind: wholeNumber(1000, dayMs),
    default: 30 * minuteMs,
    description: 'The age at which the server asks a client to reconnect, so that load spreads again.',
  },
  {
    name: 'CONNECTION_AGE_GRACE_MS',
    kind: wholeNumber(0, dayMs),
    default: 5 * minuteMs,
    description: 'How long calls may continue on a connection that is too old.',
  },
  {
    name: 'KEEPALIVE_TIME_MS',
    // At most gRPC's own default.
    kind: wholeNumber(1000, 2 * hourMs),
    // Load balancers drop idle connections after a minute or more.
    default: 30_000,
    description: 'How long a client may be silent before the server sends a ping.',
  },
  {
    name: 'KEEPALIVE_TIMEOUT_MS',
    kind: wholeNumber(1, 10 * minuteMs),
    // gRPC's own default.
    default: 20_000,
    description: "How long the client's answer to the ping may take.",
  },
  {
    name: 'SHUTDOWN_DELAY_MS',
    kind: wholeNumber(0, 10 * minuteMs),
    default: 0,
    description:
      'How long health reports NOT_SERVING before the server stops taking calls. Behind a load balancer, use about 5000.',
  },
  {
    name: 'SHUTDOWN_TIMEOUT_MS',
    kind: wholeNumber(0, 10 * minuteMs),
    default: 10_000,
    description: 'How long calls in flight may take after that delay.',
  },
] as const satisfies readonly Setting[];

/** The server's settings that a standalone gateway also has. */
const gatewayServerSettings = [
  'HTTP_ADDRESS',
  'CORS_ORIGINS',
  'LOG_LEVEL',
  'LOG_FORMAT',
  'TLS_CERT',
  'TLS_KEY',
  'TLS_CLIENT_CA',
  'INSECURE',
  'STREAM_STALL_TIMEOUT_MS',
  'BUFFERED_BYTES_MAX',
  'SHUTDOWN_DELAY_MS',
] as const;

type GatewayServerSetting = Extract<
  (typeof serverSettings)[number],
  { readonly name: (typeof gatewayServerSettings)[number] }
>;

const gatewaySettings = [
  {
    name: 'TARGET',
    kind: target,
    default: 'localhost:50051',
    description: 'The gRPC server behind the gateway.',
  },
  {
    name: 'DESCRIPTORS',
    kind: descriptorsFile,
    unset: "Roster's own",
    description: 'The services of the target. Calls to a service that it does not have fail with UNIMPLEMENTED.',
  },
  {
    name: 'TARGET_TLS',
    kind: onOff,
    unset: 'on if one of the files below is set',
    description: 'Whether the target uses TLS.',
  },
  {
    name: 'TARGET_CA',
    kind: pemFile,
    unset: 'those of Node.js',
    description: "Certificate authorities in PEM. One of them must have signed the target's certificate.",
  },
  {
    name: 'TARGET_CERT',
    kind: pemFile,
    unset: 'no client certificate',
    description: "The gateway's client certificate in PEM. Needs TARGET_KEY.",
  },
  {
    name: 'TARGET_KEY',
    kind: pemFile,
    unset: 'no client certificate',
    description: "The client certificate's key in PEM, not encrypted.",
  },
  ...serverSettings.filter((setting): setting is GatewayServerSetting =>
    gatewayServerSettings.some((name) => name === setting.name),
  ),
] as const satisfies readonly Setting[];

const clientSettings = [
  {
    name: 'ROSTER_ADDRESS',
    kind: addresses,
    default: 'localhost:50051',
    description: 'The server, or several of one directory, separated by commas.',
  },
  {
    name: 'ROSTER_TOKEN',
    kind: token,
    unset: 'no token',
    description:
      "Sent with each call as a bearer token. Prefer the variable: other users of the machine can read a process's flags.",
  },
  {
    name: 'ROSTER_TLS',
    kind: onOff,
    unset: 'on if one of the files below is set',
    description: 'Whether calls use TLS.',
  },
  {
    name: 'ROSTER_CA',
    kind: pemFile,
    unset: 'those of Node.js',
    description: "Certificate authorities in PEM. One of them must have signed the server's certificate.",
  },
  {
    name: 'ROSTER_CERT',
    kind: pemFile,
    unset: 'no client certificate',
    description: "The client's certificate in PEM. Needs ROSTER_KEY.",
  },
  {
    name: 'ROSTER_KEY',
    kind: pemFile,
    unset: 'no client certificate',
    description: "The client certificate's key in PEM, not encrypted.",
  },
  {
    name: 'ROSTER_DEADLINE_MS',
    kind: wholeNumber(1, hourMs),
    default: 10_000,
    description: 'How long a call may take.',
  },
] as const satisfies readonly Setting[];

/** Paths of PEM files that were readable and belonged together when they were checked. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** If set, every client must present a certificate. */
  readonly clientCa?: string;
}

export type LogLevelSetting = Values<typeof serverSettings>['LOG_LEVEL'];
export type LogFormatSetting = Values<typeof serverSettings>['LOG_FORMAT'];

/** The configuration of a server. docs/configuration.md explains each value. */
export interface ServerConfig {
  readonly database: {
    /** A secret. If unset, the embedded Postgres is used, with its data in `dataDir`. */
    readonly url?: string;
    /** A secret. The same database without the pooler. Set only with `url`. */
    readonly directUrl?: string;
    readonly dataDir: string;
    readonly connectionsMax: number;
    readonly connectTimeoutMs: number;
    readonly connectionAgeMsMax: number;
    readonly statementTimeoutMs: number;
    readonly lockTimeoutMs: number;
    readonly preparedStatements: boolean;
  };
  readonly batch: { readonly rowsMax: number; readonly queueRowsMax: number };
  readonly streams: {
    readonly connectionsMax: number;
    readonly stallTimeoutMs: number;
    readonly snapshotTimeoutMs: number;
  };
  /** Limits the bytes that one process holds for its clients. */
  readonly bufferedBytesMax: number;
  readonly changes: { readonly keptHours: number; readonly keptMax: number };
  /** Whether the search index is created if it does not exist. */
  readonly searchIndex: boolean;
  readonly grpc: {
    readonly address: Address;
    readonly concurrentStreamsMax: number;
    readonly connectionAgeMsMax: number;
    readonly connectionAgeGraceMs: number;
    readonly keepaliveTimeMs: number;
    readonly keepaliveTimeoutMs: number;
  };
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
  /** The number of processes that serve. If it is 1, that is the process that was started. */
  readonly workers: number;
  readonly log: { readonly level: LogLevelSetting; readonly format: LogFormatSetting };
  readonly shutdown: { readonly delayMs: number; readonly timeoutMs: number };
}

/** The configuration of a standalone gateway. */
export interface GatewayConfig {
  readonly target: Address;
  /** Paths of checked PEM files. If unset, the target is called without TLS. `cert` and `key` come together. */
  readonly targetTls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** A path. If unset, Roster's own descriptors are used. */
  readonly descriptors?: string;
  readonly http: { readonly address: Address; readonly corsOrigins: readonly string[] };
  /** If unset, the address is a loopback address, or INSECURE is set. */
  readonly tls?: TlsFiles;
  readonly stallTimeoutMs: number;
  readonly bufferedBytesMax: number;
  readonly log: { readonly level: LogLevelSetting; readonly format: LogFormatSetting };
  readonly shutdown: { readonly delayMs: number };
}

/** The configuration of a command that calls a server. */
export interface ClientConfig {
  /** At least one. The client validates them. */
  readonly addresses: readonly string[];
  /** A secret. */
  readonly token?: string;
  /** Paths of checked PEM files. If unset, calls do not use TLS. `cert` and `key` come together. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly deadlineMs: number;
}

/** Names every invalid value and what is allowed. The command line prints the message and exits with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

/** Flags override the environment. `args` are the arguments after the command's name. */
export function parseServerConfig(env: Record<string, string | undefined>, args: readonly string[]): ServerConfig {
  const problems: string[] = [];
  const flags = readFlags(serverSettings, args, problems);
  const { values, labels, unset } = readSettings(serverSettings, env, flags, problems);

  const tls = tlsFiles(values, labels, problems);
  checkWire(['GRPC_ADDRESS', 'HTTP_ADDRESS'], values, labels, problems);
  if (values.DATABASE_DIRECT_URL !== undefined && values.DATABASE_URL === undefined) {
    problems.push(`${labels.DATABASE_DIRECT_URL} needs DATABASE_URL`);
  }
  if (problems.length > 0) throw new ConfigError(problems);

  return freeze({
    database: {
      url: values.DATABASE_URL,
      directUrl: values.DATABASE_DIRECT_URL,
      dataDir: values.DATA_DIR ?? join(packageRoot(), '.roster'),
      connectionsMax: values.DATABASE_CONNECTIONS_MAX,
      connectTimeoutMs: values.DATABASE_CONNECT_TIMEOUT_MS,
      connectionAgeMsMax: values.DATABASE_CONNECTION_AGE_MS_MAX,
      statementTimeoutMs: values.STATEMENT_TIMEOUT_MS,
      lockTimeoutMs: values.LOCK_TIMEOUT_MS,
      preparedStatements: values.PREPARED_STATEMENTS,
    },
    batch: { rowsMax: values.BATCH_ROWS_MAX, queueRowsMax: values.QUEUE_ROWS_MAX },
    streams: {
      connectionsMax: values.STREAM_CONNECTIONS_MAX,
      stallTimeoutMs: values.STREAM_STALL_TIMEOUT_MS,
      snapshotTimeoutMs: values.SNAPSHOT_TIMEOUT_MS,
    },
    bufferedBytesMax: values.BUFFERED_BYTES_MAX,
    changes: { keptHours: values.CHANGES_KEPT_HOURS, keptMax: values.CHANGES_KEPT_MAX },
    searchIndex: values.SEARCH_INDEX,
    grpc: {
      address: values.GRPC_ADDRESS,
      concurrentStreamsMax: values.CONCURRENT_STREAMS_MAX,
      connectionAgeMsMax: values.CONNECTION_AGE_MS_MAX,
      connectionAgeGraceMs: values.CONNECTION_AGE_GRACE_MS,
      keepaliveTimeMs: values.KEEPALIVE_TIME_MS,
      keepaliveTimeoutMs: values.KEEPALIVE_TIMEOUT_MS,
    },
    http: {
      address: values.HTTP_ADDRESS,
      isDefault: unset.has('HTTP_ADDRESS'),
      corsOrigins: values.CORS_ORIGINS ?? [],
    },
    tls,
    workers: values.WORKERS,
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
    shutdown: { delayMs: values.SHUTDOWN_DELAY_MS, timeoutMs: values.SHUTDOWN_TIMEOUT_MS },
  });
}

/** Flags override the environment. `args` are the arguments after the command's name. */
export function parseGatewayConfig(env: Record<string, string | undefined>, args: readonly string[]): GatewayConfig {
  const problems: string[] = [];
  const flags = readFlags(gatewaySettings, args, problems);
  const { values, labels } = readSettings(gatewaySettings, env, flags, problems);
  const tls = tlsFiles(values, labels, problems);
  checkWire(['HTTP_ADDRESS'], values, labels, problems);
  const { TARGET_TLS, TARGET_CA: ca, TARGET_CERT: cert, TARGET_KEY: key } = values;
  const targetTls = callerTls('TARGET', { tls: TARGET_TLS, ca, cert, key }, labels, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return freeze({
    target: values.TARGET,
    targetTls,
    descriptors: values.DESCRIPTORS,
    http: { address: values.HTTP_ADDRESS, corsOrigins: values.CORS_ORIGINS ?? [] },
    tls,
    stallTimeoutMs: values.STREAM_STALL_TIMEOUT_MS,
    bufferedBytesMax: values.BUFFERED_BYTES_MAX,
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
    shutdown: { delayMs: values.SHUTDOWN_DELAY_MS },
  });
}

/** Keyed as commander keys the options of `settingRows('client')`. */
export type ClientFlags = Partial<
  Record<'address' | 'token' | 'tls' | 'ca' | 'cert' | 'key' | 'deadlineMs', string | boolean>
>;

export function parseClientConfig(env: Record<string, string | undefined>, flags: ClientFlags = {}): ClientConfig {
  const problems: string[] = [];
  const given = new Map<string, Given>();
  for (const { name } of clientSettings) {
    const flag = flagOf(name);
    const value = flags[flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()) as keyof ClientFlags];
    if (value !== undefined) given.set(name, { label: `--${flag}`, text: String(value) });
  }
  const { values, labels } = readSettings(clientSettings, env, given, problems);

  const { ROSTER_TLS, ROSTER_CA: ca, ROSTER_CERT: cert, ROSTER_KEY: key } = values;
  const tls = callerTls('ROSTER', { tls: ROSTER_TLS, ca, cert, key }, labels, problems);
  if (problems.length > 0) throw new ConfigError(problems);

  return freeze({
    addresses: values.ROSTER_ADDRESS,
    token: values.ROSTER_TOKEN,
    tls,
    deadlineMs: values.ROSTER_DEADLINE_MS,
  });
}

/** A setting as help and documentation show it. */
export interface SettingRow {
  readonly name: string;
  /** `--grpc-address <host:port>`, or `--[no-]insecure`. For clients, as commander reads it. */
  readonly flag: string;
  /** The default, or the meaning of no value in brackets. */
  readonly default: string;
  readonly allowed: string;
  readonly description: string;
}

export function settingRows(side: 'server' | 'gateway' | 'client'): readonly SettingRow[] {
  const settings: readonly Setting[] = { server: serverSettings, gateway: gatewaySettings, client: clientSettings }[
    side
  ];
  return settings.map((setting) => ({
    name: setting.name,
    // Commander does not support brackets.
    flag: `--${side !== 'client' && setting.kind === onOff ? '[no-]' : ''}${flagOf(setting.name)} ${setting.kind.placeholder}`.trimEnd(),
    default: setting.default === undefined ? `(${setting.unset ?? 'none'})` : String(setting.default),
    allowed: setting.kind.form,
    description: setting.description,
  }));
}

/** The settings for `--help`, in at most 100 columns. */
export function settingsHelp(side: 'server' | 'gateway'): string {
  const lines = ['Settings. Each is a flag or an environment variable. The flag wins.'];
  for (const row of settingRows(side)) {
    lines.push('', `  ${row.flag}`, `      ${row.name}, default ${row.default}`);
    for (const line of wrap(`${row.description} Allowed: ${row.allowed}.`, 94)) lines.push(`      ${line}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The form of gRPC and URLs, with an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine can reach the host. The only such name is localhost (RFC 6761). */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host.toLowerCase() === 'localhost';
  return loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

/** A given value, and the flag or variable that it came from. */
interface Given {
  readonly label: string;
  readonly text: string;
}

/**
 * Adds invalid values to `problems` and uses their defaults, so that later checks can run. `labels` are the flags or
 * variables that the values came from, for error texts. `unset` are the settings without a value.
 */
function readSettings<const T extends readonly Setting[]>(
  settings: T,
  env: Record<string, string | undefined>,
  flags: ReadonlyMap<string, Given>,
  problems: string[],
): { values: Values<T>; labels: Record<T[number]['name'], string>; unset: ReadonlySet<T[number]['name']> } {
  const values: Record<string, unknown> = {};
  const labels: Record<string, string> = {};
  const unset = new Set<T[number]['name']>();
  for (const setting of settings) {
    const given = flags.get(setting.name) ?? { label: setting.name, text: env[setting.name] ?? '' };
    const text = given.text.trim();
    labels[setting.name] = given.label;
    if (text === '') unset.add(setting.name);
    // An empty text is unset: compose files and shells write `NAME=` for a missing value.
    const { kind, default: fallback } = setting;
    const value = text === '' ? undefined : kind.parse(text);
    if (text !== '' && value === undefined) {
      problems.push(`${given.label} must be ${setting.kind.form}${shown(setting, text)}`);
    }
    values[setting.name] = value ?? (fallback === undefined ? undefined : kind.parse(String(fallback)));
  }
  // TypeScript cannot relate names to kinds in a loop.
  return { values: values as Values<T>, labels: labels as Record<T[number]['name'], string>, unset };
}

function readFlags(settings: readonly Setting[], args: readonly string[], problems: string[]): Map<string, Given> {
  const byFlag = new Map(settings.map((setting) => [flagOf(setting.name), setting]));
  // Not strict: strict mode stops at the first problem and repeats values, even secret ones.
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      [...byFlag].map(([flag, { kind }]) => [flag, { type: kind === onOff ? 'boolean' : 'string' } as const]),
    ),
    strict: false,
    allowPositionals: true,
    allowNegative: true,
    tokens: true,
  });
  const given = new Map<string, Given>();
  let unknownAt = Number.NEGATIVE_INFINITY;
  for (const token of tokens) {
    if (token.kind === 'positional') {
      // After an unknown flag, it is probably that flag's value. It is never repeated, because it may be a secret.
      if (token.index === unknownAt + 1) continue;
      problems.push(`Argument ${token.index + 1} is unexpected: settings are flags, like --log-level debug`);
    }
    if (token.kind !== 'option') continue;
    const setting = byFlag.get(token.name);
    const negative = token.rawName.startsWith('--no-');
    if (setting === undefined || (negative && (setting.kind !== onOff || token.inlineValue))) {
      if (!token.inlineValue) unknownAt = token.index;
      problems.push(unknownFlag(token.rawName, settings));
    } else if (setting.kind === onOff) {
      given.set(setting.name, { label: token.rawName, text: token.value ?? String(!negative) });
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
      problems.push(`${token.rawName} needs a value: ${setting.kind.form}`);
    } else {
      given.set(setting.name, { label: token.rawName, text: token.value });
    }
  }
  return given;
}

function unknownFlag(flag: string, settings: readonly Setting[]): string {
  // A text that does not look like a flag may be a value without its flag.
  if (!/^--?[a-z][a-z0-9_-]{0,39}$/i.test(flag)) return 'There is an unknown flag; --help lists all flags';
  const known = settings.flatMap(({ name, kind }) =>
    kind === onOff ? [`--${flagOf(name)}`, `--no-${flagOf(name)}`] : [`--${flagOf(name)}`],
  );
  const spelled = flag.toLowerCase().replaceAll('_', '-');
  const [nearest] = known
    .map((other) => ({ other, distance: editDistance(spelled, other) }))
    .sort((a, b) => a.distance - b.distance);
  // A third of the letters: more than typing errors, less than another word.
  const close = nearest !== undefined && nearest.distance <= spelled.length / 3;
  const meant = close ? nearest.other : known.find((other) => spelled.length > 4 && other.startsWith(spelled));
  return `${flag} is an unknown flag; ${meant === undefined ? '--help lists all flags' : `did you mean ${meant}?`}`;
}

/** The Levenshtein distance, computed row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min((row[j] ?? 0) + (letter === other ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function parseAddress(text: string): Address | undefined {
  // Not `:50051` or `50051`: programs disagree on whether these mean this machine or every interface.
  const match = /^(?:\[([^\]]+)\]|([a-z0-9._-]{1,253})):(\d{1,5})$/i.exec(text);
  const [, ipv6, name, digits] = match ?? [];
  const port = Number(digits);
  const host = ipv6 ?? name;
  if (host === undefined || !(port <= 65_535)) return undefined;
  if (ipv6 !== undefined && !isIPv6(ipv6)) return undefined;
  // A host that ends in a number must be an IPv4 address (as in the URL standard).
  if (name !== undefined && !isIPv4(name) && /(?:^|\.)\d+$/.test(name)) return undefined;
  return { host, port };
}

function isDatabaseUrl(text: string): boolean {
  if (!/^postgres(?:ql)?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password, hostname, pathname, hash } = new URL(text);
  // An unescaped # would end the password early.
  if (hash !== '') return false;
  try {
    // pg decodes these parts only when it connects, which would be too late.
    for (const part of [username, password, hostname, pathname]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/** Returns paths, not contents, because a key in the configuration could be logged by mistake. */
function tlsFiles(
  values: { readonly TLS_CERT?: string; readonly TLS_KEY?: string; readonly TLS_CLIENT_CA?: string },
  labels: Readonly<Record<'TLS_CERT' | 'TLS_KEY' | 'TLS_CLIENT_CA', string>>,
  problems: string[],
): TlsFiles | undefined {
  const { TLS_CERT: cert, TLS_KEY: key, TLS_CLIENT_CA: clientCa } = values;
  checkPair(cert, key, 'TLS_CERT', 'TLS_KEY', labels, problems);
  checkAuthorities(clientCa, labels.TLS_CLIENT_CA, problems);
  if (clientCa !== undefined && cert === undefined && key === undefined) {
    problems.push(`${labels.TLS_CLIENT_CA} needs TLS_CERT and TLS_KEY`);
  }
  return cert === undefined || key === undefined ? undefined : { cert, key, clientCa };
}

/** Requires TLS or INSECURE for addresses that other machines can reach. */
function checkWire<Name extends string>(
  names: readonly Name[],
  values: Readonly<Record<NoInfer<Name>, Address>> & {
    readonly TLS_CERT?: string;
    readonly TLS_KEY?: string;
    readonly INSECURE: boolean;
  },
  labels: Readonly<Record<NoInfer<Name>, string>>,
  problems: string[],
): void {
  if (values.TLS_CERT !== undefined || values.TLS_KEY !== undefined || values.INSECURE) return;
  for (const name of names) {
    if (isLoopback(values[name].host)) continue;
    problems.push(
      `${labels[name]} is not a loopback address (localhost, 127.0.0.0/8, ::1), and without TLS others can read the ` +
        'traffic: set TLS_CERT and TLS_KEY, or INSECURE=true (--insecure) to serve without TLS',
    );
  }
}

/** The files for calls over TLS, or undefined without TLS. The settings' names begin with `side`. */
function callerTls<Side extends 'ROSTER' | 'TARGET'>(
  side: Side,
  {
    tls,
    ca,
    cert,
    key,
  }: { readonly tls?: boolean; readonly ca?: string; readonly cert?: string; readonly key?: string },
  labels: Readonly<Record<`${Side}_${'TLS' | 'CA' | 'CERT' | 'KEY'}`, string>>,
  problems: string[],
) {
  checkPair(cert, key, `${side}_CERT`, `${side}_KEY`, labels, problems);
  checkAuthorities(ca, labels[`${side}_CA`], problems);
  const files = [ca, cert, key].some((file) => file !== undefined);
  if (tls === false && files) {
    problems.push(
      `${labels[`${side}_TLS`]} is off, but ${side}_CA, ${side}_CERT and ${side}_KEY are for calls over TLS`,
    );
  }
  return (tls ?? files) ? { ca, cert, key } : undefined;
}

function checkPair<Name extends string>(
  cert: string | undefined,
  key: string | undefined,
  certName: Name,
  keyName: Name,
  labels: Readonly<Record<Name, string>>,
  problems: string[],
): void {
  if ((cert === undefined) !== (key === undefined)) {
    problems.push(
      `${cert === undefined ? labels[keyName] : labels[certName]} needs ${cert === undefined ? certName : keyName}`,
    );
  }
  const certPem = cert === undefined ? undefined : readPem(cert, labels[certName], problems);
  const keyPem = key === undefined ? undefined : readPem(key, labels[keyName], problems);
  if (certPem === undefined || keyPem === undefined) return;
  try {
    createSecureContext({ cert: certPem, key: keyPem });
  } catch {
    problems.push(
      `${labels[certName]} and ${labels[keyName]} must be a certificate and its own key, in PEM and not encrypted`,
    );
  }
}

function checkAuthorities(path: string | undefined, label: string, problems: string[]): void {
  const pem = path === undefined ? undefined : readPem(path, label, problems);
  if (pem === undefined) return;
  try {
    // A secure context accepts any text as authorities, and then trusts no certificate.
    new X509Certificate(pem);
  } catch {
    problems.push(`${label} must hold certificates in PEM`);
  }
}

function readPem(path: string, label: string, problems: string[]): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const why =
      code === 'ENOENT'
        ? 'the file does not exist'
        : code === 'EACCES'
          ? 'this user may not read it'
          : code === 'EISDIR'
            ? 'it is a folder'
            : 'it cannot be read';
    // Without the path, because some users put the key itself there.
    problems.push(`${label} must be the path of a PEM file, but ${why}`);
    return undefined;
  }
}

/** Re-reads the PEM files. */
export async function readTls({ cert, key, clientCa }: TlsFiles) {
  return {
    cert: await readFile(cert),
    key: await readFile(key),
    clientCa: clientCa === undefined ? undefined : await readFile(clientCa),
  };
}

/** The value in a problem's text, unless it is a secret or may contain one. */
function shown(setting: Setting, text: string): string {
  if (setting.kind.secret || !/^[\w.,:*[\]+ -]{1,60}$/.test(text)) return '';
  return `, not "${text}"`;
}

/** The same folder from src/ and from dist/src/. */
export function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** GRPC_ADDRESS becomes --grpc-address, and ROSTER_TOKEN becomes --token. */
function flagOf(name: string): string {
  return name
    .replace(/^ROSTER_/, '')
    .toLowerCase()
    .replaceAll('_', '-');
}

function wrap(text: string, columnsMax: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columnsMax) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part);
  return Object.freeze(value);
}
