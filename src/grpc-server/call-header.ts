/** Refuses calls by their header. */
import { type CallError, callError } from './call-error.js';
import { acceptedEncodings, isKnownEncoding } from './framing.js';
import type { CallInfo } from './observer.js';
import { fieldOf } from './stream.js';

export function headerError({ isKnownMethod, fields, timeoutMs }: CallInfo): CallError | undefined {
  if (!isKnownMethod) return callError('UNKNOWN_METHOD', 'The server has no such method.');
  if (timeoutMs === undefined && fieldOf(fields, 'grpc-timeout') !== undefined) {
    return callError('INVALID_TIMEOUT', 'grpc-timeout must be one to eight digits and a unit.');
  }
  if (isKnownEncoding(fieldOf(fields, 'grpc-encoding') ?? 'identity')) return undefined;
  return callError('UNKNOWN_ENCODING', `The server can read only these encodings: ${acceptedEncodings}.`);
}
