/**
 * Explains in one or two sentences why Roster cannot use the database, and what to do. The sentences name servers, roles
 * and databases, but contain no passwords and nothing of users.
 */
import { Fault } from '../model/fault.js';
import { describeHost, type PostgresTarget, parsePostgresUrl } from '../postgres-url.js';
import { StandbyFault, sqlName, UnusableDatabaseError } from './connection.js';
import { ReadOnlyError } from './health.js';
import { CredentialsError, failedTarget, NoServerError, WrongServerError } from './servers.js';

export interface Explanation {
  readonly text: string;
  /** Whether the database may recover without a change of the configuration. */
  readonly isTransient: boolean;
}

/** Thrown instead of an error of the database, with its explanation. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';

  constructor(
    readonly explanation: Explanation,
    /** For the log. Not the `cause`, which the command line would print after the explanation. */
    readonly driverError: unknown,
  ) {
    super(explanation.text);
  }
}

/** Returns the error as a DatabaseError if it can be explained. `url` is as in explain(). */
export function explained(error: unknown, url: string): unknown {
  const explanation = explain(error, url);
  return explanation === undefined ? error : new DatabaseError(explanation, error);
}

/**
 * Returns undefined if the error has no explanation here. `url` leads to the database of a statement that failed. An error
 * of a new connection is known to come from its server.
 */
export function explain(error: unknown, url: string): Explanation | undefined {
  return explainFor(error, parsePostgresUrl(url));
}

interface RawError extends Error {
  readonly code?: string;
  readonly routine?: string;
}

function explainFor(error: unknown, fallback: PostgresTarget): Explanation | undefined {
  const raw: unknown = error instanceof Fault && error.cause !== undefined ? error.cause : error;
  if (!(raw instanceof Error)) return undefined;
  if (raw instanceof DatabaseError) return raw.explanation;
  if (raw instanceof NoServerError) return explainAll(raw, fallback);
  const target = failedTarget(raw) ?? fallback;
  if (raw instanceof CredentialsError || raw instanceof UnusableDatabaseError) return permanent(raw.message);
  const where = nameOf(target);
  if ([WrongServerError, StandbyFault, ReadOnlyError].some((kind) => raw instanceof kind)) return readOnly(where);
  const { code = '', routine = '', message } = raw as RawError;
  return (
    explainLogin(code, routine, where, target) ??
    explainTls(code, message, where, target) ??
    explainNetwork(code, message, where) ??
    explainStatement(raw, where, target)
  );
}

const nameOf = ({ hosts }: PostgresTarget) => `Postgres at ${hosts.map(describeHost).join(', ')}`;
const permanent = (text: string): Explanation => ({ text, isTransient: false });
const transient = (text: string): Explanation => ({ text, isTransient: true });

const readOnly = (where: string) =>
  transient(`${where} accepts no writes. Use the address of the primary, or turn default_transaction_read_only off.`);

function explainAll({ errors }: NoServerError, target: PostgresTarget): Explanation {
  const all = errors.map(
    (error: Error) =>
      explainFor(error, target) ?? transient(`${nameOf(failedTarget(error) ?? target)} cannot be used.`),
  );
  return { text: all.map(({ text }) => text).join(' '), isTransient: all.some(({ isTransient }) => isTransient) };
}

/** https://www.postgresql.org/docs/18/errcodes-appendix.html. The server's texts are localized, its routines are not. */
function explainLogin(code: string, routine: string, where: string, target: PostgresTarget): Explanation | undefined {
  const { user, database } = target;
  const [role, name] = [sqlName(user), sqlName(database)];
  switch (code) {
    case '28P01':
      return permanent(
        `${where} rejects the password of the role "${user}", or has no such role. Correct the password in ` +
          'DATABASE_URL, PGPASSWORD or the file of PGPASSWORD_FILE.',
      );
    case '28000':
      return permanent(explainRefusal(routine, where, target));
    case '3D000':
      return permanent(
        `${where} has no database "${database}". Create it: CREATE DATABASE ${name} OWNER ${role} TEMPLATE template0 ` +
          "ENCODING 'UTF8'.",
      );
    case '55000':
      if (routine !== 'CheckMyDatabase') return undefined;
      return permanent(
        `${where} accepts no connections to the database "${database}". Allow them: ALTER DATABASE ${name} ` +
          'ALLOW_CONNECTIONS true.',
      );
    case '53300':
      return transient(
        `${where} has no free connection. Lower DATABASE_CONNECTIONS_MAX or WORKERS, or raise max_connections.`,
      );
    case '57P01':
    case '57P02':
    case '57P03':
      return transient(`${where} is starting or shutting down.`);
    case '25006':
      return readOnly(where);
    default:
      return undefined;
  }
}

/** Why a login was refused before its password was checked. */
function explainRefusal(routine: string, where: string, { user, database, sslMode, hosts }: PostgresTarget): string {
  const [role, name] = [sqlName(user), sqlName(database)];
  if (routine === 'auth_failed') {
    return (
      `${where} does not let this process log in as the role "${user}". The line of its pg_hba.conf that applies ignores ` +
      'passwords: it compares the role with the user of the operating system (peer, ident) or with the name in the ' +
      'client certificate (cert). Change its method to scram-sha-256 and reload, or log in as that user.'
    );
  }
  if (routine !== 'ClientAuthentication') {
    return (
      `${where} has no role "${user}" that may log in. Create it: CREATE ROLE ${role} LOGIN PASSWORD '…'. ` +
      `If it exists, let it log in: ALTER ROLE ${role} LOGIN.`
    );
  }
  if (hosts.every(({ host }) => host.startsWith('/'))) {
    return (
      `${where} does not let the role "${user}" connect to the database "${database}". Add a line to its pg_hba.conf, ` +
      `such as "local ${name} ${role} scram-sha-256", and reload.`
    );
  }
  const isTls = !['disable', 'allow'].includes(sslMode);
  const other = isTls
    ? 'set sslcert and sslkey if the file demands a client certificate'
    : 'set sslmode=require if the file demands TLS';
  return (
    `${where} does not let the role "${user}" connect to the database "${database}" from this machine ` +
    `${isTls ? 'with' : 'without'} TLS. Look at its pg_hba.conf: add a line such as "host ${name} ${role} <this ` +
    `machine's address>/32 scram-sha-256" and reload, or ${other}.`
  );
}

function explainTls(
  code: string,
  message: string,
  where: string,
  { sslMode, sslRootCert, hosts }: PostgresTarget,
): Explanation | undefined {
  if (/does not support SSL/.test(message)) {
    return permanent(
      `${where} does not offer TLS, but sslmode=${sslMode} demands it. Turn ssl on in Postgres, or set sslmode=disable ` +
        'if the network is private.',
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return permanent(
      `The certificate of ${where} is not for ${hosts.map(({ host }) => host).join(', ')}. Use a name that it contains, ` +
        'or sslmode=verify-ca if the network is private.',
    );
  }
  if (code === 'CERT_HAS_EXPIRED') return permanent(`The certificate of ${where} has expired. Renew it.`);
  if (code === 'CERT_NOT_YET_VALID') {
    return permanent(`The certificate of ${where} is not valid yet. Check the clocks of both machines.`);
  }
  if (/^(?:SELF_SIGNED_CERT|DEPTH_ZERO_SELF|UNABLE_TO_(?:GET|VERIFY)|CERT_)/.test(code)) {
    const authorities =
      sslRootCert === undefined || sslRootCert === 'system' ? 'an authority of Node.js' : 'sslrootcert';
    return permanent(
      `The certificate of ${where} is not signed by ${authorities}. Let sslrootcert (PGSSLROOTCERT) name a file with the ` +
        'authority that signed it.',
    );
  }
  if (/^ERR_SSL_.*CERTIFICATE/.test(code)) {
    return permanent(
      `${where} rejects the client certificate, or demands one. Let sslcert and sslkey name a certificate that it accepts.`,
    );
  }
  if (/^ERR_(?:SSL|TLS|OSSL)_/.test(code) || /establishing an SSL/.test(message)) {
    return permanent(
      `The TLS handshake with ${where} failed (${code || 'no TLS'}). Check sslmode and the files of TLS.`,
    );
  }
  return undefined;
}

function explainNetwork(code: string, message: string, where: string): Explanation | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return transient(
        `${where} refuses connections. Check that it is running, and that the host and port are correct.`,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return transient(`The host name of ${where} cannot be resolved. Check its spelling, and the name server.`);
    case 'ENOENT':
      return transient(
        `${where} has no Unix socket in that folder. Check that it is running, and its folder and port.`,
      );
    case 'EACCES':
      return permanent(`${where} has a Unix socket that this user may not open. Check the permissions of the folder.`);
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
      return transient(`${where} cannot be reached over the network (${code}). Check the address and the route.`);
    case 'ETIMEDOUT':
      return timedOut(where);
    case 'ECONNRESET':
    case 'EPIPE':
      return closed(where);
    default:
      if (/^timeout expired$|connection timeout|does not respond|query read timeout|timeout exceeded/i.test(message)) {
        return timedOut(where);
      }
      return /^connection terminated|connection error and is not queryable/i.test(message) ? closed(where) : undefined;
  }
}

const timedOut = (where: string) =>
  transient(
    `${where} does not answer in time. Check the address, firewalls and the load of the server, or raise ` +
      'DATABASE_CONNECT_TIMEOUT_MS.',
  );

const closed = (where: string) =>
  transient(`${where} closed the connection. Check that a Postgres listens on that port, and look at its log.`);

/** Errors of the statements that connect, migrate and check the schema. */
function explainStatement(
  { code, routine, message }: RawError,
  where: string,
  { user, database }: PostgresTarget,
): Explanation | undefined {
  const [role, name] = [sqlName(user), sqlName(database)];
  if (code === '42501' && routine === 'CheckMyDatabase') {
    return permanent(
      `The role "${user}" may not connect to the database "${database}". Allow it: GRANT CONNECT ON DATABASE ${name} TO ` +
        `${role}.`,
    );
  }
  if (code === '42501') {
    return permanent(
      `The role "${user}" lacks a privilege in the database "${database}". Let the owner of Roster's tables grant it ` +
        '(docs/operations.md#roles).',
    );
  }
  if (code === '08P01') {
    // PgBouncer and others use it for all reasons, such as an unknown database.
    return transient(`${where}, or a connection pooler there, refuses the connection: ${message}.`);
  }
  if (code === '53100') return transient(`${where} has no free disk space.`);
  return undefined;
}
