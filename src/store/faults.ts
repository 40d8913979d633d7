/**
 * Turns what Postgres and its driver throw into faults: the only file that knows SQLSTATEs and constraint names.
 *
 * The error itself goes into the fault's cause, for the log; its text may hold a row's values and never leaves.
 */
import { emailTaken, Fault } from '../model/fault.js';

/** What an error of the server or of a socket has; the driver's own have none of it. */
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

/** The SQLSTATE, where the server itself has answered with an error. */
function sqlState(error: unknown): string | undefined {
  const code = isError(error) ? error.code : undefined;
  // Node's own codes, such as EPIPE, can have five letters as well; those of Postgres that start with E are unused.
  return code !== undefined && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code) ? code : undefined;
}

// Class 08: connection exception. 25006: this server has become a standby. 57P01 to 57P05: it is going down or coming
// up, or has ended the session. 53300: no connection left. 28, 3D: our own access was taken away, which mends itself
// by a restored setting. https://www.postgresql.org/docs/18/errcodes-appendix.html
const lostStates = /^(?:08...|25006|57P0[1-5]|53300|28...|3D...)$/;

/**
 * Whether a connection no longer has a prepared statement as it was: a migration has changed the type of a column, or a
 * pooler has changed the session. Before anything ran; another connection prepares it anew, this one never would.
 */
function isStatementLost(error: unknown): boolean {
  const state = sqlState(error);
  // 0A000 is any feature that is not supported, and the server's texts are in its own language.
  return state === '26000' || (state === '0A000' && (error as DatabaseError).routine === 'RevalidateCachedQuery');
}

/** Whether the connection is of no more use, or the server behind it. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return lostStates.test(state) || isStatementLost(error) || isInRecovery(error);
  if (!isError(error) || error instanceof Fault) return false;
  // The driver's own errors have texts only; the socket's have codes (ECONNREFUSED, ECONNRESET, ETIMEDOUT, ENOTFOUND).
  // Node's other codes that start with ERR_ are bugs. TypeORM takes a runner back as soon as its connection breaks.
  return (
    (error.code !== undefined && /^(?:E(?!RR_)[A-Z_]+|ERR_(?:SOCKET|SSL|TLS)_[A-Z_]+)$/.test(error.code)) ||
    /connection terminated|query runner already released|client has encountered a connection error|timeout exceeded when trying to connect|^timeout expired$|query read timeout|client was closed|cannot use a pool after|not queryable/i.test(
      error.message,
    )
  );
}

/** Whether the server takes no writes: it has become a standby, or somebody has set it so. Nothing was written. */
export function isReadOnly(error: unknown): boolean {
  return sqlState(error) === '25006' || isInRecovery(error);
}

/** Whether a standby has refused to say how far its WAL is, as behind a pooler whose server has changed. */
function isInRecovery(error: unknown): boolean {
  // 55000 has many meanings, and the server's texts are in its own language.
  return sqlState(error) === '55000' && /^pg_current_wal_/.test((error as DatabaseError).routine ?? '');
}

/** Whether a statement names a table that is not there. */
export function isTableMissing(error: unknown): boolean {
  return sqlState(error instanceof Fault ? error.cause : error) === '42P01';
}

/** Whether a statement that failed so has surely written nothing, and one of its rows may be to blame. */
export function mayRunAgain(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  const state = sqlState(raw);
  // 57014: cancelled, or longer than statement_timeout. 55P03: waited for a lock for as long as it may. Halves would only
  // take that long again.
  return state !== undefined && !lostStates.test(state) && state !== '57014' && state !== '55P03';
}

/** Whether a statement waited for one row's lock for as long as it may. It wrote nothing. */
export function waitedTooLong(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  // Only of a row Postgres says where that was; a lock of the whole table is everybody's, and no row is to blame.
  return sqlState(raw) === '55P03' && isError(raw) && raw.where !== undefined;
}

/** Whether the statement lost a race that it would see the end of if it ran now: it wrote nothing. */
export function lostRace(error: unknown): boolean {
  const state = sqlState(error);
  // 40001, 40P01: serialization failure, deadlock.
  if (state === '40001' || state === '40P01' || isStatementLost(error)) return true;
  // The statement that remembers a request id sets this null where somebody else has just remembered the same one.
  return state === '23502' && isError(error) && error.table === 'request_ids' && error.column === 'user_ids';
}

/** Whether this server lacks a feature or a file of one, or this role the right to it. */
export function isForbidden(error: unknown): boolean {
  const raw = error instanceof Fault ? error.cause : error;
  // 58P01: before Postgres 16, an extension that is not installed. A statement that must be prepared anew is not meant.
  return ['0A000', '42501', '58P01'].includes(sqlState(raw) ?? '') && !isStatementLost(raw);
}

/** The fault for an error of the database; the error itself where it is a bug of ours. */
export function faultOf(error: unknown): unknown {
  if (error instanceof Fault) return error;
  if (isConnectionLost(error)) {
    return new Fault('DATABASE_UNAVAILABLE', 'The database is away or busy; try again.', [], { cause: error });
  }
  const state = sqlState(error);
  if (state === undefined) return error;
  const options = { cause: error };
  switch (state) {
    case '23505':
      if (isError(error) && error.constraint === 'users_email_key') {
        const taken = emailTaken('user.email');
        return new Fault(taken.reason, taken.message, taken.violations, options);
      }
      return error;
    case '57014':
      return new Fault('DEADLINE_PASSED', 'The database took too long.', [], options);
    case '55P03':
    case '40001':
    case '40P01':
      return new Fault('DATABASE_UNAVAILABLE', 'Others write to the same users; try again.', [], options);
    default:
      // 53: out of disk, memory or another resource. 58: an error of the system below.
      return /^(?:53|58)/.test(state)
        ? new Fault('DATABASE_UNAVAILABLE', 'The database is in trouble; try again.', [], options)
        : error;
  }
}
