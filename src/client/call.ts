/**
 * What happens around one call: its deadline, its token, its retries, and its failure as a RosterError.
 *
 * Knows nothing of the methods' meaning: whether a call may run twice is for its caller to say.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, type ClientMiddleware, Metadata, Status } from 'nice-grpc';
import { methodOf, RosterError, toRosterError } from './roster-error.js';

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

/** Wraps every attempt of every call, streams included. */
export function createAttempts(token: Token | undefined, isClosed: () => boolean): ClientMiddleware<AttemptOptions> {
  return async function* attempt(call, { deadline, ...options }) {
    const method = methodOf(call.method.path);
    const ending = endingOf(options.signal, deadline);
    // What the caller names a call is what the server names it, where it can be told; the server's trailer says.
    let requestId = options.metadata?.get(requestIdKey);
    try {
      const metadata = Metadata(options.metadata);
      if (token !== undefined && !metadata.has('authorization')) {
        metadata.set('authorization', `Bearer ${await ending.race(readToken(token, method))}`);
      }
      if (isClosed()) throw new RosterError(method, 'CANCELLED', 'This client is closed.');
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
      // Both end the call in the same way; only here is it known who did.
      options.signal?.throwIfAborted();
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

/** One signal for the caller's abort and the deadline. By hand: AbortSignal.any() leaks on a signal that outlives its calls. */
function endingOf(signal: AbortSignal | undefined, deadline: Deadline | undefined) {
  if (deadline === undefined && signal === undefined) {
    return { signal, isLate: () => false, race: <T>(promise: Promise<T>) => promise, forget: () => {} };
  }
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
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
      signal?.removeEventListener('abort', abort);
    },
  };
}

/**
 * Runs attempts until one is answered with anything but UNAVAILABLE, `attemptsMax` are used up, or the deadline leaves
 * no time to wait for another: then the failure that there was is worth more than the deadline's.
 */
export async function withRetries<Response>(
  attemptsMax: number,
  deadline: Deadline | undefined,
  signal: AbortSignal | undefined,
  attempt: () => Promise<Response>,
): Promise<Response> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      if (attempts >= attemptsMax || !(error instanceof RosterError) || error.status !== Status.UNAVAILABLE)
        throw error;
      const waitMs = Math.min(backoffMsMax, backoffMs * 2 ** (attempts - 1)) * (0.5 + Math.random() / 2);
      if (deadline !== undefined && performance.now() + waitMs >= deadline.atMs) throw error;
      await sleep(waitMs, undefined, { signal });
    }
  }
}
