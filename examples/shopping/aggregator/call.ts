/** What a call inside of an answer has to keep to: until when, for whom, and whether it may be tried again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, ServerError, Status } from 'nice-grpc';
import { RosterError } from 'roster/client';

export interface Call {
  /** On the clock of `performance.now()`. */
  readonly endMs: number;
  /** Aborted when that has come, or the caller has gone. */
  readonly signal: AbortSignal;
  /** Of the span that calls. */
  readonly traceparent: string;
}

const attemptsMax = 3;
const backoffMs = 50;

export function leftMs({ endMs }: { readonly endMs: number }): number {
  return Math.max(0, endMs - performance.now());
}

/** The metadata that passes on the caller's deadline, as gRPC has it on the wire, and its span. */
export function metadataOf(call: Call): Record<string, string> {
  return { 'grpc-timeout': `${Math.ceil(leftMs(call))}m`, traceparent: call.traceparent };
}

/** Runs `work` as a call that must be over after this share of the time that is left. */
export async function within<T>(outer: Call, share: number, work: (call: Call) => Promise<T>): Promise<T> {
  // By hand, as AbortSignal.timeout() stays until its time has come, however soon the work is done.
  const controller = new AbortController();
  const shareMs = leftMs(outer) * share;
  const abort = () => controller.abort();
  const timer = setTimeout(abort, shareMs);
  outer.signal.addEventListener('abort', abort);
  if (outer.signal.aborted) abort();
  try {
    return await work({ ...outer, endMs: performance.now() + shareMs, signal: controller.signal });
  } finally {
    clearTimeout(timer);
    outer.signal.removeEventListener('abort', abort);
  }
}

/**
 * Tries again what nobody took, while there is time. For calls that may run twice only: UNAVAILABLE can also mean that
 * the call was done and its answer lost. Every other failure would come again.
 */
export async function withRetries<T>(call: Call, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      // Half of it random, so that the callers of a service that restarts do not come back in step.
      const waitMs = backoffMs * 2 ** (failures - 1) * (0.5 + Math.random() / 2);
      if (failures === attemptsMax || statusOf(error) !== 'UNAVAILABLE' || leftMs(call) <= waitMs) throw error;
      await sleep(waitMs, undefined, { signal: call.signal });
    }
  }
}

/** The name of the gRPC status that a failure is. */
export function statusOf(error: unknown): string {
  if (error instanceof RosterError) return error.code;
  if (error instanceof ClientError || error instanceof ServerError) return Status[error.code] ?? 'UNKNOWN';
  // Its deadline has passed, or its caller has gone, who will not hear of it.
  return error instanceof Error && error.name === 'AbortError' ? 'DEADLINE_EXCEEDED' : 'INTERNAL';
}
