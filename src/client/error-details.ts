/** Reads the details of an error from the server. */
import { type ClientError, Status } from 'nice-grpc-common';
import {
  type BadRequest,
  type ErrorInfo,
  type RequestInfo,
  type RetryInfo,
  RichClientError,
} from 'nice-grpc-error-details';

/** The name of a gRPC status other than OK, such as 'NOT_FOUND'. */
export type StatusName = Exclude<keyof typeof Status, 'OK'>;

/** One invalid field: its path in the request in protobuf's names (`users[57].email`), and what is allowed. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface ServerErrorDetails {
  reason?: string;
  violations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  requestId?: string;
  retryDelayMs?: number;
}

/** A field is unset if the error does not contain it. */
export function detailsOf(error: ClientError): ServerErrorDetails {
  const details: ServerErrorDetails = {};
  for (const detail of error instanceof RichClientError ? error.extra : []) {
    if (isDetail<ErrorInfo>(detail, 'google.rpc.ErrorInfo')) {
      details.reason = detail.reason;
      details.metadata = detail.metadata;
    } else if (isDetail<BadRequest>(detail, 'google.rpc.BadRequest')) {
      details.violations = detail.fieldViolations.map(({ field, description }) => ({ field, description }));
    } else if (isDetail<RequestInfo>(detail, 'google.rpc.RequestInfo')) {
      details.requestId = detail.requestId;
    } else if (isDetail<RetryInfo>(detail, 'google.rpc.RetryInfo') && detail.retryDelay !== undefined) {
      details.retryDelayMs = detail.retryDelay.seconds * 1000 + detail.retryDelay.nanos / 1e6;
    }
  }
  return details;
}

/** Returns UNKNOWN if the number is not an error status. */
export function statusName(status: Status): StatusName {
  const name = Status[status] as keyof typeof Status | undefined;
  return name === undefined || name === 'OK' ? 'UNKNOWN' : name;
}

function isDetail<T extends { $type: string }>(detail: { $type: string }, type: T['$type']): detail is T {
  return detail.$type === type;
}
