/**
 * The servers of a URL: opens connections to the first one that Roster can use.
 *
 * The driver knows one host and one way to use TLS. A URL may have several of both, and the driver's pool takes a
 * connection's host before it connects. So connect() finds out which server to use with a connection of its own, and the
 * pool keeps to that server until a connection to it fails.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { describeHost, type PostgresHost, type PostgresTarget, parsePostgresUrl } from '../postgres-url.js';

type Login = Pick<PostgresTarget, 'user' | 'database'> & PostgresHost;

// Reads ~/.pgpass or PGPASSFILE. The package has no types.
const pgpass = createRequire(import.meta.url)('pgpass') as (
  login: Login,
  callback: (password: string | undefined) => void,
) => void;

type CreateClient = (config: pg.ClientConfig) => pg.Client;

export interface Servers {
  readonly target: PostgresTarget;
  readonly connectTimeoutMs: number;
  /** Connects to the server that is in use, or else to the first that can be used. `create` makes a new client. */
  connect(create: CreateClient): Promise<pg.Client>;
  /** The driver's options for a connection to the server to which `client` is connected. */
  configLike(client: pg.Client): pg.ClientConfig;
  /** The driver's options for a connection to the server that is in use. */
  config(): pg.ClientConfig;
  /** Resolves when a server is in use. Undefined if one is in use already. */
  find(): Promise<void> | undefined;
  /** Makes find() look for a server again. Returns false if there is nothing to choose. */
  forget(): boolean;
  /** Records that a connection with config() has failed, for failedTarget(). */
  noteFailure(error: unknown): void;
}

const failedTargets = new WeakMap<Error, PostgresTarget>();

/** The server to which a connection failed with this error, as a target with one host. */
export function failedTarget(error: Error): PostgresTarget | undefined {
  return failedTargets.get(error);
}

function noteTarget(error: unknown, target: PostgresTarget, { host, port }: PostgresHost): void {
  if (error instanceof Error) failedTargets.set(error, { ...target, hosts: [{ host, port }] });
}

/** No server of several could be used. */
export class NoServerError extends AggregateError {
  override readonly name = 'NoServerError';

  constructor(hosts: readonly PostgresHost[], errors: readonly Error[]) {
    super(errors, `No server of ${hosts.map(describeHost).join(', ')} can be used.`);
  }
}

/** The server is not one that target_session_attrs allows. */
export class WrongServerError extends Error {
  override readonly name = 'WrongServerError';
}

/** The password or a file of TLS cannot be read. Its message says what to do. */
export class CredentialsError extends Error {
  override readonly name = 'CredentialsError';
}

/** One way to connect: to a host, with or without TLS. */
interface Attempt extends PostgresHost {
  readonly isTls: boolean;
}

/** Throws CredentialsError. */
export function createServers(url: string, connectTimeoutMs: number): Servers {
  const target = parsePostgresUrl(url);
  const timeoutMs = target.connectTimeoutMs ?? connectTimeoutMs;
  const attempts = target.hosts.map((host) => tlsUses(target, host).map((isTls): Attempt => ({ ...host, isTls })));
  const all = attempts.flat();
  const [first] = all;
  if (first === undefined) throw new Error('A URL of Postgres has at least one host.');
  const configOf = createConfigurer(target, timeoutMs);
  let inUse = all.length === 1 ? first : undefined;
  let finding: Promise<void> | undefined;

  async function open(attempt: Attempt, create: CreateClient): Promise<pg.Client> {
    const client = create(configOf(attempt));
    try {
      await connectUnlessEnded(client);
      if (all.length > 1 || target.sessionAttributes !== 'any') await checkServer(client, target, timeoutMs);
      return client;
    } catch (error) {
      noteTarget(error, target, attempt);
      client.end().catch(() => {});
      throw error;
    }
  }

  async function connectToFirst(create: CreateClient): Promise<pg.Client> {
    const errors: Error[] = [];
    for (const uses of attempts) {
      for (const [at, attempt] of uses.entries()) {
        try {
          const client = await open(attempt, create);
          inUse = attempt;
          return client;
        } catch (error) {
          if (!(error instanceof Error) || all.length === 1) throw error;
          if (at + 1 < uses.length && mayNeedOtherTls(error)) continue;
          // As in libpq, a server that refuses the login ends the search.
          if (isRefusal(error)) throw error;
          errors.push(error);
          break;
        }
      }
    }
    throw new NoServerError(target.hosts, errors);
  }

  return {
    target,
    connectTimeoutMs: timeoutMs,

    async connect(create) {
      const known = inUse;
      if (known === undefined || all.length === 1) return connectToFirst(create);
      try {
        return await open(known, create);
      } catch {
        if (inUse === known) inUse = undefined;
        return connectToFirst(create);
      }
    },

    configLike: ({ host, port, ssl }) => configOf({ host, port, isTls: Boolean(ssl) }),
    config: () => configOf(inUse ?? first),

    find() {
      if (inUse !== undefined) return undefined;
      finding ??= connectToFirst((config) => createQuietClient(config))
        .then((client) => void client.end().catch(() => {}))
        .finally(() => {
          finding = undefined;
        });
      return finding;
    },

    forget() {
      if (all.length === 1) return false;
      inUse = undefined;
      return true;
    },

    noteFailure: (error) => noteTarget(error, target, inUse ?? first),
  };
}

/** Returns a function that makes the driver's options for an attempt. Throws CredentialsError. */
function createConfigurer(target: PostgresTarget, timeoutMs: number): (attempt: Attempt) => pg.ClientConfig {
  const { user, database, applicationName, options, sslNegotiation, channelBinding } = target;
  const readTls = createTlsReader(target);
  return ({ host, port, isTls }) => ({
    host,
    port,
    user,
    database,
    // Only called if the server asks for a password. The driver would otherwise read PGPASSWORD.
    password: () => readPassword(target, { host, port }),
    connectionTimeoutMillis: timeoutMs,
    ssl: isTls ? readTls() : false,
    sslnegotiation: isTls ? sslNegotiation : 'postgres',
    enableChannelBinding: isTls && channelBinding !== 'disable',
    ...(applicationName !== undefined && { application_name: applicationName }),
    ...(options !== undefined && { options }),
  });
}

/** Rejects if the client is ended meanwhile, because pg then never settles connect(). */
async function connectUnlessEnded(client: pg.Client): Promise<void> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  client.once('end', () => reject(new Error('The connection was closed.')));
  ended.catch(() => {});
  await Promise.race([client.connect(), ended]);
}

/** A client whose errors after a connection do not end the process. */
function createQuietClient(config: pg.ClientConfig): pg.Client {
  const client = new pg.Client(config);
  client.on('error', () => {});
  return client;
}

/** Whether the attempts on a host use TLS, in order. Unix sockets have no TLS. */
function tlsUses({ sslMode }: PostgresTarget, { host }: PostgresHost): readonly boolean[] {
  if (host.startsWith('/') || sslMode === 'disable') return [false];
  if (sslMode === 'allow') return [false, true];
  return sslMode === 'prefer' ? [true, false] : [true];
}

/** Reads the files of TLS, and again for each connection, so that a renewed certificate needs no restart. */
function createTlsReader(target: PostgresTarget): () => ConnectionOptions {
  const { sslMode, sslRootCert, sslCert, sslKey } = target;
  const read = (): ConnectionOptions => ({
    ...(sslRootCert !== undefined && sslRootCert !== 'system' && { ca: readPem('sslrootcert', sslRootCert) }),
    ...(sslCert !== undefined && { cert: readPem('sslcert', sslCert) }),
    ...(sslKey !== undefined && { key: readPem('sslkey', sslKey) }),
    ...(!sslMode.startsWith('verify-') && { rejectUnauthorized: false }),
    ...(sslMode === 'verify-ca' && { checkServerIdentity: () => undefined }),
  });
  let last = sslMode === 'disable' ? {} : read();
  return () => {
    try {
      last = read();
    } catch {
      // A file is being replaced. The pool calls this where nothing catches an error.
    }
    return { ...last };
  };
}

function readPem(parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CredentialsError(`Cannot read the file that ${parameter} names (${codeOf(error)}). Correct its path.`);
  }
}

async function readPassword(target: PostgresTarget, { host, port }: PostgresHost): Promise<string> {
  const { password, passwordFile, user, database } = target;
  if (password !== undefined) return password;
  if (passwordFile !== undefined) {
    try {
      return (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '');
    } catch (error) {
      throw new CredentialsError(`Cannot read the file of PGPASSWORD_FILE (${codeOf(error)}). Correct its path.`);
    }
  }
  const found = await new Promise<string | undefined>((resolve) => pgpass({ host, port, user, database }, resolve));
  if (found !== undefined) return found;
  throw new CredentialsError(
    `Postgres at ${describeHost({ host, port })} asks for the password of the role "${user}", but none is set. ` +
      'Set PGPASSWORD_FILE or PGPASSWORD, or write the password into DATABASE_URL.',
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

/** Throws if the server is not one that target_session_attrs allows. */
async function checkServer(client: pg.Client, { sessionAttributes }: PostgresTarget, timeoutMs: number): Promise<void> {
  if (sessionAttributes === 'any') return;
  const text =
    sessionAttributes === 'primary'
      ? 'select pg_catalog.pg_is_in_recovery() as is_wrong'
      : `select pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as is_wrong`;
  const query: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs };
  const { rows } = await client.query<{ is_wrong: boolean }>(query);
  if (rows[0]?.is_wrong) {
    const what = sessionAttributes === 'primary' ? 'is a standby' : 'accepts no writes';
    throw new WrongServerError(`The server ${what}, but target_session_attrs is ${sessionAttributes}.`);
  }
}

/** Whether the server may accept the connection with TLS instead of without, or the reverse. */
function mayNeedOtherTls(error: Error): boolean {
  const code = codeOf(error);
  // 28000: no line in pg_hba.conf allows the connection.
  return code === '28000' || /^(?:ERR_SSL_|ERR_TLS_|ECONNRESET$)/.test(code) || /SSL connection/.test(error.message);
}

/** Whether the server has refused the login or the database. */
function isRefusal(error: Error): boolean {
  return error instanceof CredentialsError || /^(?:28|3D|42)...$/.test(codeOf(error));
}
