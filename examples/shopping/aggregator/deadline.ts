/** Gives handlers their caller's deadline, which nice-grpc does not expose. */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import type { Metadata } from 'nice-grpc';

// Set for every call, so it replaces a value that a caller sends.
const deadlineKey = 'x-deadline-at-ms';

export const tellDeadline: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata(metadata, forward) {
          metadata.set(deadlineKey, String(Number(call.getDeadline())));
          forward(metadata);
        },
      }),
  });

/** Infinity if the caller has no deadline. */
export function deadlineMsIn(metadata: Metadata): number {
  return Number(metadata.get(deadlineKey) ?? Number.POSITIVE_INFINITY) - Date.now();
}
