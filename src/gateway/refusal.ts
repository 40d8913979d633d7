/** The errors of calls that the gateway refuses itself. They have the same details as the gRPC server's errors. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Registry } from '@bufbuild/protobuf';
import { type Code, ConnectError } from '@connectrpc/connect';
import { Status } from 'nice-grpc';
import { Fault } from '../model/fault.js';
import { createRequestIds, requestIdKey } from '../rpc/call-observer.js';
import { errorDetails } from '../rpc/error-status.js';
import { readableDetails } from './error-details.js';
import { errorHeaders } from './error-headers.js';

/** Thrown if a client violates its protocol. It has no reason and no details. Its text never quotes the request. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';

  constructor(
    readonly code: Code,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

export type Refusal = Fault | ProtocolError;

/** Returns the name of the status for the log. */
export function statusOf(refusal: Refusal): string {
  return refusal instanceof Fault ? refusal.code : (Status[refusal.code] ?? 'UNKNOWN');
}

export function toConnectError(refusal: Refusal, requestId: string, registry: Registry): ConnectError {
  const headers = new Headers({ [requestIdKey]: requestId });
  if (!(refusal instanceof Fault)) {
    for (const [name, value] of Object.entries(refusal.headers)) headers.set(name, value);
    return new ConnectError(refusal.message, refusal.code, headers);
  }
  const { message, code, reason, violations, retryMs } = refusal;
  // Both enums have gRPC's numbers.
  const status: number = Status[code];
  const error = new ConnectError(message, status, headers);
  error.details = readableDetails(errorDetails({ reason, requestId, violations, retryMs }), registry);
  for (const [name, value] of errorHeaders(error)) error.metadata.set(name, value);
  return error;
}

const idOf = createRequestIds();

/** Returns the request id that the client sent, or a new one if it is missing or invalid. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  return idOf(headers[requestIdKey]);
}
