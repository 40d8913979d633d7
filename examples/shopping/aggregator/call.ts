/** The limits of a call within an answer: its deadline, its signal, its trace, and its retries. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RosterError } from '@roster-directory/client';
import { ClientError, ServerError, Status } from 'nice-grpc';

export interface Call {
  /** The deadline on the clock of `performance.now()`. */
  readonly endMs: number;
  /** Aborts at the deadline, or when the caller cancels. */
  readonly signal: AbortSignal;
  /** The span that makes the call. */
  readonly traceparent: string;
}

const attemptsMax = 3;
const backoffMs = 50;

export function leftMs({ endMs }: { readonly endMs: number }): number {
  return Math.max(0, endMs - performance.now());
}

/** Metadata with the caller's deadline in gRPC's wire format, and its span. */
export function metadataOf(call: Call): Record<string, string> {
  return { 'grpc-timeout': `${Math.ceil(leftMs(call))}m`, traceparent: call.traceparent };
}

/** Runs `work` with this share of the remaining time as its deadline. */
export async function within<T>(outer: Call, share: number, work: (call: Call) => Promise<T>): Promise<T> {
  // Not AbortSignal.timeout(), whose timer stays until it fires, even if the work is done.
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
 * Retries a call that is UNAVAILABLE, while there is time. Only for calls that may run twice, because UNAVAILABLE can also
 * mean that only the answer was lost. Other failures would repeat.
 */
export async function withRetries<T>(call: Call, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      // Half of the wait is random, so that the callers of a restarting service do not return all at once.
      const waitMs = backoffMs * 2 ** (failures - 1) * (0.5 + Math.random() / 2);
      if (failures === attemptsMax || statusOf(error) !== 'UNAVAILABLE' || leftMs(call) <= waitMs) throw error;
      await sleep(waitMs, undefined, { signal: call.signal });
    }
  }
}

/** The name of the failure's gRPC status. */
export function statusOf(error: unknown): string {
  if (error instanceof RosterError) return error.code;
  if (error instanceof ClientError || error instanceof ServerError) return Status[error.code] ?? 'UNKNOWN';
  // Either the deadline has passed, or the caller has cancelled and will not see the status.
  return error instanceof Error && error.name === 'AbortError' ? 'DEADLINE_EXCEEDED' : 'INTERNAL';
}
