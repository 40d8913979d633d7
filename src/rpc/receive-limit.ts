/**
 * Sets the byte limit of each method on a grpc-js server, which has only one limit for all methods.
 *
 * It sets private fields of a grpc-js call before the first byte is read. If grpc-js renames them, requestReader still
 * enforces the limit, but a compressed message first inflates up to the server's limit. A test would then fail.
 */
import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { requestBytesMax } from '../model/method-limits.js';
import { requestTooLarge } from './wire-definition.js';

export function limitReceivedBytes(call: ServerInterceptingCallInterface, path: string): void {
  const bytesMax = requestBytesMax[path] ?? 0;
  Object.assign(call, { maxReceiveMessageSize: bytesMax });
  if ('decoder' in call && typeof call.decoder === 'object') {
    Object.assign(call.decoder ?? {}, { maxReadMessageLength: bytesMax });
  }
}

/** Returns the text for a status that grpc-js sends itself. Replaces its text if the request is too large. */
export function ownDetails(path: string, details: string): string {
  return details.startsWith('Received message ') ? requestTooLarge(requestBytesMax[path] ?? 0).message : details;
}
