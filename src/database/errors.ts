/**
 * Converts errors of Postgres and its driver into Faults. No other file uses SQLSTATEs and constraint names.
 *
 * The original error becomes the Fault's cause, for the log. Its text may contain a row's values and never leaves
 * Roster.
 */
import { emailTakenText, Fault } from '../model/fault.js';
import { CredentialsError, NoServerError, WrongServerError } from './servers.js';

/** Properties of errors from the server or a socket. The driver's own errors have none of them. */
interface DatabaseError extends Error {
  code?: string;
  constraint?: string;
  table?: string;
  column?: string;
  routine?: string;
  where?: string;
}

function isError(error: unknown): error is DatabaseError {
  return error instanceof Error;
}

/** The SQLSTATE, if the error comes from the server. */
function sqlState(error: unknown): string | undefined {
  const code = isError(error) ? error.code : undefined;
  // Node's own codes, such as EPIPE, can have five letters too, but no SQLSTATE starts with E.
  return code !== undefined && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code) ? code : undefined;
}

// Class 08: connection exception. 25006: the server has become a standby. 57P01 to 57P05: it is shutting down,
// starting, or has ended the session. 53300: too many connections. Classes 28 and 3D: the login was refused or the
// database does not exist, which an operator can fix. https://www.postgresql.org/docs/18/errcodes-appendix.html
const lostStates = /^(?:08...|25006|57P0[1-5]|53300|28...|3D...)$/;

/**
 * Whether a connection has lost its prepared statement: a migration changed a column's type, or a pooler changed the
 * session. Nothing has run. Another connection can prepare the statement again; this one cannot.
 */
function isStatementLost(error: unknown): boolean {
  const state = sqlState(error);
  // 0A000 means any unsupported feature, and the server's texts are localized, so this checks the routine.
  return state === '26000' || (state === '0A000' && (error as DatabaseError).routine === 'RevalidateCachedQuery');
}

// The codes of sockets, of TLS, and of OpenSSL for certificates. Node's other codes that start with ERR_ are bugs.
const socketCode =
  /^(?:E(?!RR_)[A-Z_]+|ERR_(?:SOCKET|SSL|TLS|OSSL)_[A-Z0-9_]+|CERT_[A-Z_]+|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT[A-Z_]*|UNABLE_TO_[A-Z_]+|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE))$/;

/** Whether the connection or its server is unusable. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) {
    return lostStates.test(state) || isDatabaseClosed(error) || isStatementLost(error) || isInRecovery(error);
  }
  if (!isError(error) || error instanceof Fault) return false;
  if ([CredentialsError, NoServerError, WrongServerError].some((kind) => error instanceof kind)) return true;
  // The driver's own errors have only texts; the socket's have codes (ECONNREFUSED, ECONNRESET, ETIMEDOUT, ENOTFOUND).
  // TypeORM releases a query runner as soon as its connection breaks.
  return (
    (error.code !== undefined && socketCode.test(error.code)) ||
    /SSL connection|connection terminated|query runner already released|client has encountered a connection error|timeout exceeded when trying to connect|^timeout expired$|query read timeout|client was closed|cannot use a pool after|not queryable/i.test(
      error.message,
    )
  );
}

/** Whether the role may not connect to the database, or nobody may. */
function isDatabaseClosed(error: unknown): boolean {
  return isError(error) && error.routine === 'CheckMyDatabase';
}

/** Whether only an operator can fix the connection: its password, its role, its database or its certificates. */
function isLoginRefused(error: unknown): boolean {
  if (error instanceof NoServerError) return error.errors.every(isLoginRefused);
  if (error instanceof CredentialsError || isDatabaseClosed(error)) return true;
  const code = isError(error) ? (error.code ?? '') : '';
  return /^(?:28...|3D...)$/.test(code) || /^(?:ERR_TLS_)?CERT_|SELF_SIGNED_CERT|^UNABLE_TO_/.test(code);
}

/** Whether the server accepts no writes: it is a standby, or configured as read-only. Nothing was written. */
export function isReadOnly(error: unknown): boolean {
  return sqlState(error) === '25006' || isInRecovery(error);
}

/** Whether a standby rejected a function that reads the WAL position, for example after a pooler switched to it. */
function isInRecovery(error: unknown): boolean {
  // 55000 has many meanings, and the server's texts are localized, so this checks the routine.
  return sqlState(error) === '55000' && /^pg_(?:current_wal|walfile)_/.test((error as DatabaseError).routine ?? '');
}

/** Whether a statement names a table that does not exist. */
export function isTableMissing(error: unknown): boolean {
  return sqlState(error instanceof Fault ? error.cause : error) === '42P01';
}

/** Whether one row may have made a statement fail, so that the others can be tried again. It wrote nothing. */
export function isRetryable(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  const state = sqlState(raw);
  // 57014: cancelled, or reached statement_timeout. 55P03: lock_timeout. A part of the rows would take as long again.
  return state !== undefined && !lostStates.test(state) && state !== '57014' && state !== '55P03';
}

/** Whether a statement reached lock_timeout while it waited for one row. It wrote nothing. */
export function isLockTimeout(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  // Postgres sets `where` only if it waited for a row. If the whole table is locked, no row is the cause.
  return sqlState(raw) === '55P03' && isError(raw) && raw.where !== undefined;
}

/** Whether a statement lost a race and may succeed if it runs again. It wrote nothing. */
export function lostRace(error: unknown): boolean {
  const state = sqlState(error);
  // 40001, 40P01: serialization failure, deadlock.
  if (state === '40001' || state === '40P01' || isStatementLost(error)) return true;
  // The statement that stores a request id sets this to null if another transaction has just stored the same id.
  return state === '23502' && isError(error) && error.table === 'request_ids' && error.column === 'user_ids';
}

/** Whether a statement failed because another user has an email that it wrote. It wrote nothing. */
export function isEmailTaken(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  return sqlState(raw) === '23505' && isError(raw) && raw.constraint === 'users_email_key';
}

/** Whether the server lacks a feature or an extension's file, or the role lacks a privilege. */
export function isForbidden(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  // 58P01: before Postgres 16, an extension that is not installed. Excludes a lost prepared statement.
  return ['0A000', '42501', '58P01'].includes(sqlState(raw) ?? '') && !isStatementLost(raw);
}

/** Whether the role lacks a privilege. */
export function isDenied(error: unknown): boolean {
  return sqlState(error instanceof Fault ? error.cause : error) === '42501';
}

/** Returns the Fault for an error of the database, or the error itself if it is a bug in Roster. */
export function faultOf(error: unknown): unknown {
  if (error instanceof Fault) return error;
  const options = { cause: error };
  if (isConnectionLost(error)) {
    const message = isLoginRefused(error)
      ? "The server cannot log in to its database. Its operator can find the reason in the server's log."
      : 'The server cannot reach the database, or the database is busy. Try again later.';
    return new Fault('DATABASE_UNAVAILABLE', message, [], options);
  }
  const state = sqlState(error);
  if (state === undefined) return error;
  switch (state) {
    case '23505':
      return isEmailTaken(error) ? new Fault('EMAIL_TAKEN', emailTakenText, [], options) : error;
    case '57014':
      return new Fault('DEADLINE_PASSED', 'The database took too long.', [], options);
    case '55P03':
    case '40001':
    case '40P01':
      return new Fault('DATABASE_UNAVAILABLE', 'Other calls are writing to the same users. Try again.', [], options);
    default:
      // 53: out of disk, memory or another resource. 58: system error.
      return /^(?:53|58)/.test(state)
        ? new Fault(
            'DATABASE_UNAVAILABLE',
            'The database is out of disk space, memory or another resource, or its system failed. Try again later.',
            [],
            options,
          )
        : error;
  }
}
