/** The error of a failed call, with all details from the server. It never contains the caller's request. */
import { type ClientError, Status } from 'nice-grpc';
import {
  detailsOf,
  type FieldViolation,
  type ServerErrorDetails,
  type StatusName,
  statusName,
} from './error-details.js';

/** The server or the client failed the call. A call that the caller aborts throws the abort's reason instead. */
export class RosterError extends Error {
  override readonly name = 'RosterError';

  /** Check this first. The client sets DEADLINE_EXCEEDED after the timeout, and UNAVAILABLE if it cannot reach a server. */
  readonly code: StatusName;

  /** The number of `code` on the wire, 1 to 16. */
  readonly status: number;

  /** The stable reason of the error, such as 'EMAIL_TAKEN'. Unset if the error is not from a server of this contract. */
  readonly reason: string | undefined;

  /** The invalid fields, if the error is about fields. */
  readonly violations: readonly FieldViolation[];

  /** Further details of the reason. */
  readonly metadata: Readonly<Record<string, string>>;

  /** The server's id of this call, which its log contains too. */
  readonly requestId: string | undefined;

  /** How long the server asks to wait before the next attempt, for example after RATE_LIMITED. */
  readonly retryDelayMs: number | undefined;

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
    this.retryDelayMs = details.retryDelayMs;
  }
}

export interface RosterErrorDetails extends ServerErrorDetails {
  cause?: unknown;
}

/** `requestId` is from the response's metadata. A RequestInfo in the error takes precedence. */
export function toRosterError(error: ClientError, requestId: string | undefined): RosterError {
  const details = { cause: error, requestId, ...detailsOf(error) };
  return new RosterError(methodOf(error.path), statusName(error.code), messageOf(error.details), details);
}

/** Shortens grpc-js's text about a connection, which repeats itself and names internals, to the cause. */
function messageOf(details: string): string {
  const [, text] = /.*Last error: (?:Error(?: \[\w+\])?: )?(.*?)\s*Resolution note:/s.exec(details) ?? [];
  if (text === undefined) return details;
  // OpenSSL's errors are an address, a number, the library, the function, the reason, the file and the line.
  const [, reason] = /:error:[\dA-F]+:[^:]*:[^:]*:([^:]+):/.exec(text) ?? [];
  const cause = reason === undefined ? text.replace(/ \([-\d]+T[\d:.]+Z\)/, '').replace(/\.$/, '') : `TLS: ${reason}`;
  return `Cannot connect to the server: ${cause}.`;
}

/** Removes the leading slash of `/users.v1.UserService/GetUser`. */
export function methodOf(path: string): string {
  return path.replace(/^\//, '');
}
