/**
 * What a server says with an error, as programs want it, whichever library has read it from the wire. The web page uses
 * this too: nothing of Node may come in.
 */
import { type ClientError, Status } from 'nice-grpc-common';
import { type BadRequest, type ErrorInfo, type RequestInfo, RichClientError } from 'nice-grpc-error-details';

/** The name of a gRPC status other than OK, such as 'NOT_FOUND'. */
export type StatusName = Exclude<keyof typeof Status, 'OK'>;

/** One bad field: its path in the request as protobuf names it (`users[57].email`) and what is allowed there. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface SaidDetails {
  reason?: string;
  violations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  requestId?: string;
}

/** Each is unset where nobody said it. */
export function detailsOf(error: ClientError): SaidDetails {
  const details: SaidDetails = {};
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
  return details;
}

/** UNKNOWN for a number that is no error's. */
export function statusName(status: Status): StatusName {
  const name = Status[status] as keyof typeof Status | undefined;
  return name === undefined || name === 'OK' ? 'UNKNOWN' : name;
}

function isDetail<T extends { $type: string }>(detail: { $type: string }, type: T['$type']): detail is T {
  return detail.$type === type;
}
