/**
 * All expected errors of a call, as a closed set of reasons.
 *
 * The client receives a fault's message and violations. They never contain internal details or values from the request,
 * which may be personal data. Internal details belong in `cause`, which only the log contains.
 */

/** The gRPC status of each stable reason. docs/errors.md explains the reasons to clients. */
export const faultCodes = {
  INVALID_FIELD: 'INVALID_ARGUMENT',
  INVALID_FILTER: 'INVALID_ARGUMENT',
  INVALID_ORDER_BY: 'INVALID_ARGUMENT',
  INVALID_PAGE_TOKEN: 'INVALID_ARGUMENT',
  INVALID_RESUME_TOKEN: 'INVALID_ARGUMENT',
  IMPORT_INCOMPLETE: 'INVALID_ARGUMENT',
  REQUEST_ID_REUSED: 'INVALID_ARGUMENT',
  CREDENTIALS_MISSING: 'UNAUTHENTICATED',
  CREDENTIALS_INVALID: 'UNAUTHENTICATED',
  CREDENTIALS_EXPIRED: 'UNAUTHENTICATED',
  ACCESS_DENIED: 'PERMISSION_DENIED',
  FIELD_FORBIDDEN: 'PERMISSION_DENIED',
  USER_NOT_FOUND: 'NOT_FOUND',
  EMAIL_TAKEN: 'ALREADY_EXISTS',
  ETAG_MISMATCH: 'ABORTED',
  RESUME_TOKEN_EXPIRED: 'OUT_OF_RANGE',
  OVERLOADED: 'RESOURCE_EXHAUSTED',
  RATE_LIMITED: 'RESOURCE_EXHAUSTED',
  WATCHER_TOO_SLOW: 'RESOURCE_EXHAUSTED',
  MESSAGE_TOO_LARGE: 'RESOURCE_EXHAUSTED',
  CALL_CANCELLED: 'CANCELLED',
  DEADLINE_PASSED: 'DEADLINE_EXCEEDED',
  DATABASE_UNAVAILABLE: 'UNAVAILABLE',
  ISSUER_UNAVAILABLE: 'UNAVAILABLE',
  ACCESS_CHANGED: 'UNAVAILABLE',
  SERVER_STOPPING: 'UNAVAILABLE',
  SNAPSHOT_TOO_OLD: 'UNAVAILABLE',
  INTERNAL: 'INTERNAL',
} as const;

export type FaultReason = keyof typeof faultCodes;
export type FaultCode = (typeof faultCodes)[FaultReason];

/** One invalid field: its protobuf path in the request (`users[57].email`) and a description of the allowed values. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

export interface FaultOptions extends ErrorOptions {
  readonly retryMs?: number;
}

// An overload rarely ends sooner.
const retryMsOf: Readonly<Partial<Record<FaultReason, number>>> = { OVERLOADED: 1000, RATE_LIMITED: 1000 };

/** An expected error. It has no stack, because capturing one takes longer than the call, and overload causes many. */
export class Fault extends Error {
  override readonly name = 'Fault';
  /** After how long the client may try again. */
  readonly retryMs: number | undefined;

  constructor(
    readonly reason: FaultReason,
    message: string,
    readonly violations: readonly Violation[] = [],
    options?: FaultOptions,
  ) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
    this.retryMs = options?.retryMs ?? retryMsOf[reason];
  }

  get code(): FaultCode {
    return faultCodes[this.reason];
  }
}

/** An INVALID_ARGUMENT with all invalid fields of a request. */
export function invalid(violations: readonly Violation[], reason: FaultReason = 'INVALID_FIELD'): Fault {
  return new Fault(reason, messageFor(violations), violations);
}

function messageFor(violations: readonly Violation[]): string {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : '';
  return first === undefined ? 'The request is invalid.' : `${first.field}: ${first.description}${more}`;
}

/** An INVALID_ARGUMENT for a request whose invalid field is unknown. The empty path is the request itself. */
export function invalidRequest(description: string): Fault {
  return new Fault('INVALID_FIELD', description, [{ field: '', description }]);
}

export function userNotFound(): Fault {
  return new Fault('USER_NOT_FOUND', 'The user does not exist.');
}

export const emailTakenText = 'Another user has this email.';

/** `field` is the path of the email in the request. */
export function emailTaken(field: string): Fault {
  return new Fault('EMAIL_TAKEN', emailTakenText, [{ field, description: emailTakenText }]);
}

export function etagMismatch(): Fault {
  return new Fault('ETAG_MISMATCH', 'The user has changed since it was read. Read it again.');
}

export function overloaded(): Fault {
  return new Fault('OVERLOADED', 'Too many calls are waiting. Try again later.');
}

/** `retryMs` is the time until the caller is below its limit, if that is known. */
export function rateLimited(message: string, retryMs?: number): Fault {
  return new Fault('RATE_LIMITED', message, [], { retryMs });
}

export function serverStopping(): Fault {
  return new Fault('SERVER_STOPPING', 'The server is stopping.');
}

/** Of a write. The server knows that it cannot reach the primary, so it does not try. */
export function servesOnlyReads(): Fault {
  const message =
    'The server serves only reads, because it cannot reach the primary database. Nothing was written. Try again later.';
  return new Fault('DATABASE_UNAVAILABLE', message);
}

/** For calls that read. The server knows that it cannot reach the primary, so it does not try. */
export function readNeedsPrimary(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The call needs the primary database, which the server cannot reach. The server serves only reads from replicas. Try again later.',
  );
}

export function credentialsMissing(): Fault {
  return new Fault('CREDENTIALS_MISSING', 'This server requires a token, an API key or a client certificate.');
}

/** The caller may not call this method, or not with this request. `field` is the part of the request, such as `users[3]`. */
export function accessDenied(field?: string): Fault {
  const violations = field === undefined ? [] : [{ field, description: 'must be a user that the caller may write' }];
  return new Fault('ACCESS_DENIED', 'The caller may not do this.', violations);
}

/** The caller may not read or write these fields. */
export function fieldForbidden(violations: readonly Violation[]): Fault {
  return new Fault('FIELD_FORBIDDEN', messageFor(violations), violations);
}
