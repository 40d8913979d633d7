/**
 * The byte limit of each method on a grpc-js server, which has one setting for all methods only.
 *
 * It sets the fields in which a call of grpc-js keeps that setting, before the first byte of the request is read. Both
 * are private to grpc-js: if they are ever renamed, the limit still holds, because requestReader checks it again, but
 * then a compressed message inflates up to the limit of the whole server first. A test checks that it does not.
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

/** The text of a status that grpc-js sends by itself, in this service's words if it is about the size of a request. */
export function ownDetails(path: string, details: string): string {
  return details.startsWith('Received message ') ? requestTooLarge(requestBytesMax[path] ?? 0).message : details;
}
