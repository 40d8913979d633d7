/** Tells handlers their caller's deadline, which nice-grpc keeps to itself. */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import type { Metadata } from 'nice-grpc';

// Set for every call, so whatever a caller sends under this name is gone.
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

/** Infinity where the caller has none. */
export function deadlineMsIn(metadata: Metadata): number {
  return Number(metadata.get(deadlineKey) ?? Number.POSITIVE_INFINITY) - Date.now();
}
