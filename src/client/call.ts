/**
 * What happens around one call: its deadline, its token, its retries, and its failure as a RosterError.
 *
 * Knows nothing of the methods' meaning: whether a call may run twice is for its caller to say.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, type ClientMiddleware, Metadata } from 'nice-grpc';
import { isRefusedByHttp2, methodOf, RosterError, toRosterError } from './roster-error.js';

// A timer of Node ends at once above 2^31 - 1, and so does a grpc-timeout in a server on grpc-js, which counts in 32 bits.
const deadlineMsMax = 2 ** 31 - 1;

// The first retry is soon, because it may go to another address; half of each wait is random, so that the callers of a
// server that restarts do not come back in step. (nice-grpc's retry middleware would wait past the deadline, and cannot
// choose another address.)
const backoffMs = 100;
const backoffMsMax = 1_000;

const requestIdKey = 'x-request-id';

/** When a call must be over, on this machine's clock, and how long that was from its start. */
export interface Deadline {
  readonly atMs: number;
  readonly totalMs: number;
}

/** 0 and Infinity are no deadline; whatever is above 24 days is read as 24 days. Throws a RangeError for what is no duration. */
export function deadlineIn(totalMs: number): Deadline | undefined {
  if (Number.isNaN(totalMs) || totalMs < 0) throw new RangeError('deadlineMs must be 0 or more.');
  if (totalMs === 0 || totalMs === Number.POSITIVE_INFINITY) return undefined;
  return { atMs: performance.now() + Math.min(totalMs, deadlineMsMax), totalMs };
}

/** As `grpc-timeout` wants it: at most 8 digits and a unit. Rounded down where seconds are too coarse to stay in bounds. */
export function grpcTimeout(leftMs: number): string {
  const wholeMs = Math.max(1, Math.ceil(leftMs));
  return wholeMs < 1e8 ? `${wholeMs}m` : `${Math.floor(wholeMs / 1000)}S`;
}

export interface AttemptOptions {
  deadline?: Deadline;
}

export type Token = string | (() => string | Promise<string>);

/**
 * Wraps every attempt of every call. Streams end with `closing`, which their channel would leave open for as long as the
 * other side likes.
 */
export function createAttempts(token: Token | undefined, closing: AbortSignal): ClientMiddleware<AttemptOptions> {
  return async function* attempt(call, { deadline, ...options }) {
    const method = methodOf(call.method.path);
    const closingOfStream = call.requestStream || call.responseStream ? closing : undefined;
    const ending = endingOf(deadline, options.signal, closingOfStream);
    // What the caller names a call is what the server names it, where it can be told; the server's trailer says.
    let requestId = options.metadata?.get(requestIdKey);
    try {
      const metadata = Metadata(options.metadata);
      if (token !== undefined && !metadata.has('authorization')) {
        metadata.set('authorization', `Bearer ${await ending.race(readToken(token, method))}`);
      }
      if (closing.aborted) throw new RosterError(method, 'CANCELLED', 'This client is closed.');
      if (deadline !== undefined) metadata.set('grpc-timeout', grpcTimeout(deadline.atMs - performance.now()));
      return yield* call.next(call.request, {
        ...options,
        metadata,
        signal: ending.signal,
        onTrailer: (trailer) => {
          requestId = trailer.get(requestIdKey) ?? requestId;
          options.onTrailer?.(trailer);
        },
      });
    } catch (error) {
      // All end the call in the same way; only here is it known who did.
      options.signal?.throwIfAborted();
      closingOfStream?.throwIfAborted();
      if (ending.isLate()) {
        throw new RosterError(method, 'DEADLINE_EXCEEDED', `No answer within ${deadline?.totalMs} ms.`, { requestId });
      }
      throw error instanceof ClientError ? toRosterError(error, requestId) : error;
    } finally {
      ending.forget();
    }
  };
}

async function readToken(token: Token, method: string): Promise<string> {
  if (typeof token === 'string') return token;
  try {
    return await token();
  } catch (cause) {
    throw new RosterError(method, 'UNAUTHENTICATED', 'The token could not be read.', { cause });
  }
}

/** A controller that an abort of any of the signals aborts too, until it is disposed of. */
export interface LinkedController extends Disposable {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

/** By hand: AbortSignal.any() leaks on a signal that outlives its calls. */
export function linkAborts(...signals: readonly (AbortSignal | undefined)[]): LinkedController {
  const controller = new AbortController();
  const links = signals.flatMap((signal) => {
    if (signal === undefined) return [];
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    return () => signal.removeEventListener('abort', abort);
  });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]() {
      for (const unlink of links) unlink();
    },
  };
}

/** One signal for the deadline and whatever else ends a call. */
function endingOf(deadline: Deadline | undefined, ...signals: readonly (AbortSignal | undefined)[]) {
  if (deadline === undefined && signals.every((signal) => signal === undefined)) {
    return { signal: undefined, isLate: () => false, race: <T>(promise: Promise<T>) => promise, forget: () => {} };
  }
  const controller = linkAborts(...signals);
  let late = false;
  const timer =
    deadline &&
    setTimeout(
      () => {
        late = true;
        controller.abort();
      },
      Math.max(0, deadline.atMs - performance.now()),
    );
  return {
    signal: controller.signal,
    isLate: () => late,
    race: <T>(promise: Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        const stop = () => reject(controller.signal.reason);
        if (controller.signal.aborted) stop();
        controller.signal.addEventListener('abort', stop, { once: true });
        promise.then(resolve, reject);
      }),
    forget: () => {
      clearTimeout(timer);
      controller[Symbol.dispose]();
    },
  };
}

/** How long to wait after so many failures in a row, before the next attempt. */
export function backoffAfter(failures: number, waitMsMax = backoffMsMax): number {
  return Math.min(waitMsMax, backoffMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}

/** Rejects with the signal's reason where that is aborted before. */
export async function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(waitMs, undefined, { signal });
  } catch {
    // The timer's own AbortError would hide what the caller gave as the reason.
    signal?.throwIfAborted();
  }
}

export interface Retries {
  /** How many failures in a row are too many. */
  attemptsMax: number;
  deadline: Deadline | undefined;
  signal: AbortSignal | undefined;
  waitMsMax?: number;
}

/**
 * Waits until the next attempt may begin. Throws the failure where there is none: where it is neither UNAVAILABLE nor a
 * refusal of HTTP/2, `attemptsMax` are used up, or the deadline leaves no time to wait: then it is worth more than the
 * deadline's.
 */
export async function waitToRetry(error: unknown, failures: number, retries: Retries): Promise<void> {
  const { attemptsMax, deadline, signal, waitMsMax } = retries;
  const isPassing = error instanceof RosterError && (error.code === 'UNAVAILABLE' || isRefusedByHttp2(error));
  if (failures >= attemptsMax || !isPassing) throw error;
  const waitMs = backoffAfter(failures, waitMsMax);
  if (deadline !== undefined && performance.now() + waitMs >= deadline.atMs) throw error;
  await pause(waitMs, signal);
}

/** Runs attempts until one succeeds or `waitToRetry` throws. */
export async function withRetries<Response>(retries: Retries, attempt: () => Promise<Response>): Promise<Response> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      await waitToRetry(error, failures, retries);
    }
  }
}
