/** Refuses calls by their header. */
import { type CallError, callError } from './call-error.js';
import { acceptedEncodings, isKnownEncoding } from './framing.js';
import type { CallInfo } from './observer.js';
import { fieldOf, type HeaderFields } from './stream.js';

export function headerError({ isKnownMethod, fields, timeoutMs }: CallInfo): CallError | undefined {
  if (!isKnownMethod) return callError('UNKNOWN_METHOD', 'The server has no such method.');
  if (timeoutMs === undefined && fieldOf(fields, 'grpc-timeout') !== undefined) {
    return callError('INVALID_TIMEOUT', 'grpc-timeout must be one to eight digits and a unit.');
  }
  if (isKnownEncoding(fieldOf(fields, 'grpc-encoding') ?? 'identity')) return undefined;
  return callError('UNKNOWN_ENCODING', `The server can read only these encodings: ${acceptedEncodings}.`);
}

/** As HTTP/2 counts them, which is at least what short fields take in memory (RFC 9113, section 6.5.2). */
export function headerBytesOf(fields: HeaderFields): number {
  let bytes = 16 * fields.length;
  for (const text of fields) bytes += text.length;
  return bytes;
}
