/** Errors for calls that the gateway refuses itself, with the same details as the errors of the server behind it. */
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Registry } from '@bufbuild/protobuf';
import { type Code, ConnectError } from '@connectrpc/connect';
import { Status } from 'nice-grpc';
import { Fault } from '../model/fault.js';
import { requestIdForm, requestIdKey } from '../rpc/call-observer.js';
import { errorDetails } from '../rpc/error-status.js';
import { readableDetails } from './error-details.js';

/** A client's violation of its protocol. It has no reason and no details, and its message is fixed. */
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

/** The name of the status for the log. */
export function statusOf(refusal: Refusal): string {
  return refusal instanceof Fault ? refusal.code : (Status[refusal.code] ?? 'UNKNOWN');
}

export function toConnectError(refusal: Refusal, requestId: string, registry: Registry): ConnectError {
  const headers = new Headers({ [requestIdKey]: requestId });
  if (!(refusal instanceof Fault)) {
    for (const [name, value] of Object.entries(refusal.headers)) headers.set(name, value);
    return new ConnectError(refusal.message, refusal.code, headers);
  }
  const { message, code, reason, violations } = refusal;
  const error = new ConnectError(message, codeOf(Status[code]), headers);
  error.details = readableDetails(errorDetails({ reason, requestId, violations }), registry);
  return error;
}

/** Both enums use gRPC's numbers. */
function codeOf(status: number): Code {
  return status;
}

const idPrefix = randomBytes(4).toString('hex');
let idCount = 0;

/** The request id that the client sent, or a new one. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const sent = String(headers[requestIdKey] ?? '');
  return requestIdForm.test(sent) ? sent : `${idPrefix}-${(idCount++).toString(36)}`;
}
