/**
 * What a failed call looks like to a program: one class, with everything the server said about it.
 *
 * Never holds what the caller sent; the server's texts do not either.
 */
import { type ClientError, Status } from 'nice-grpc';
import { type BadRequest, type ErrorInfo, type RequestInfo, RichClientError } from 'nice-grpc-error-details';

/** The name of a gRPC status other than OK, such as 'NOT_FOUND'. */
export type StatusName = Exclude<keyof typeof Status, 'OK'>;

/** One bad field: its path in the request as protobuf names it (`users[57].email`) and what is allowed there. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** Every failure of a call, whether the server or this side found it. A caller's own abort is not one: it stays an AbortError. */
export class RosterError extends Error {
  override readonly name = 'RosterError';

  /** What to branch on first. DEADLINE_EXCEEDED also where this side stopped waiting, UNAVAILABLE where nobody answers. */
  readonly code: StatusName;

  /** The number of `code` on the wire, 1 to 16. */
  readonly status: number;

  /** The server's stable word for what went wrong, such as 'EMAIL_TAKEN'. Unset where no server of this contract said it. */
  readonly reason: string | undefined;

  /** Bad fields, all of them at once where the server could; most errors have none. */
  readonly violations: readonly FieldViolation[];

  /** Further facts that the server gave with the reason. */
  readonly metadata: Readonly<Record<string, string>>;

  /** The server's name for this call; its log has the same one. */
  readonly requestId: string | undefined;

  /** The called method, such as 'users.v1.UserService/GetUser'. */
  readonly method: string;

  constructor(method: string, code: StatusName, message: string, details: RosterErrorDetails = {}) {
    super(message === '' ? code : message, details.cause === undefined ? undefined : { cause: details.cause });
    this.method = method;
    this.code = code;
    this.status = Status[code];
    this.reason = details.reason;
    this.violations = details.violations ?? [];
    this.metadata = details.metadata ?? {};
    this.requestId = details.requestId;
  }
}

export interface RosterErrorDetails {
  reason?: string;
  violations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  requestId?: string;
  cause?: unknown;
}

/** `requestId` is what the response's metadata named it; a RequestInfo in the error itself goes before. */
export function toRosterError(error: ClientError, requestId: string | undefined): RosterError {
  const details: RosterErrorDetails = { cause: error, requestId };
  for (const detail of error instanceof RichClientError ? error.extra : []) {
    if (isDetail<ErrorInfo>(detail, 'google.rpc.ErrorInfo')) {
      details.reason = detail.reason;
      details.metadata = detail.metadata;
    } else if (isDetail<BadRequest>(detail, 'google.rpc.BadRequest')) {
      details.violations = detail.fieldViolations.map(({ field, description }) => ({ field, description }));
    } else if (isDetail<RequestInfo>(detail, 'google.rpc.RequestInfo')) {
      details.requestId = detail.requestId;
    }
  }
  return new RosterError(methodOf(error.path), nameOf(error.code), error.details, details);
}

/** `/users.v1.UserService/GetUser` without its first character. */
export function methodOf(path: string): string {
  return path.replace(/^\//, '');
}

function nameOf(status: Status): StatusName {
  const name = Status[status] as keyof typeof Status | undefined;
  return name === undefined || name === 'OK' ? 'UNKNOWN' : name;
}

function isDetail<T extends { $type: string }>(detail: { $type: string }, type: T['$type']): detail is T {
  return detail.$type === type;
}
