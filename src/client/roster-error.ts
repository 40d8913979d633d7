/**
 * What a failed call looks like to a program: one class, with everything the server said about it.
 *
 * Never holds what the caller sent; the server's texts do not either.
 */
import { type ClientError, Status } from 'nice-grpc';
import { detailsOf, type FieldViolation, type SaidDetails, type StatusName, statusName } from './error-details.js';

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

export interface RosterErrorDetails extends SaidDetails {
  cause?: unknown;
}

/** `requestId` is what the response's metadata named it; a RequestInfo in the error itself goes before. */
export function toRosterError(error: ClientError, requestId: string | undefined): RosterError {
  const details = { cause: error, requestId, ...detailsOf(error) };
  return new RosterError(methodOf(error.path), statusName(error.code), error.details, details);
}

// What grpc-js says for ENHANCE_YOUR_CALM of HTTP/2.
const refusalText = 'Bandwidth exhausted or memory limit exceeded';

/**
 * Whether the server's HTTP/2 refused the call before anybody read it. Node's does so from 24.21 on where a connection is
 * full: it still counts the calls that were cancelled in the same bytes in which new ones come.
 */
export function isRefusedByHttp2(error: RosterError): boolean {
  return error.code === 'RESOURCE_EXHAUSTED' && error.reason === undefined && error.message === refusalText;
}

/** `/users.v1.UserService/GetUser` without its first character. */
export function methodOf(path: string): string {
  return path.replace(/^\//, '');
}
