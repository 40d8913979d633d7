/**
 * Adds the deadline, the token and the retries to a call, and converts its errors to RosterErrors.
 *
 * Callers of this file decide which methods may run twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, type ClientMiddleware, Metadata, Status } from 'nice-grpc';
import { type Consistency, rememberToken, sendToken } from './consistency.js';
import { methodOf, RosterError, toRosterError } from './roster-error.js';

// Above 2^31 - 1 ms, Node's timers fire at once. So does a grpc-timeout in a grpc-js server, which uses 32 bits.
const deadlineMsMax = 2 ** 31 - 1;

// The first wait is short because the retry may go to another address. Half of each wait is random, so that the clients of a
// restarted server do not all return at once. docs/decisions/0010 explains why nice-grpc's retry middleware is not used.
const backoffMs = 100;
const backoffMsMax = 1_000;

const requestIdKey = 'x-request-id';

/** Errors of calls that certainly did not run, because no server has accepted them. */
const unsentErrors = new WeakSet<RosterError>();

/** When a call must end, on the clock of performance.now(), and the timeout that it had at its start. */
export interface Deadline {
  readonly atMs: number;
  readonly totalMs: number;
}

/** 0 and Infinity mean no deadline. Caps the deadline at 24 days. Throws a RangeError for an invalid duration. */
export function deadlineIn(totalMs: number): Deadline | undefined {
  if (Number.isNaN(totalMs) || totalMs < 0) throw new RangeError('deadlineMs must be 0 or more.');
  if (totalMs === 0 || totalMs === Number.POSITIVE_INFINITY) return undefined;
  return { atMs: performance.now() + Math.min(totalMs, deadlineMsMax), totalMs };
}

/** Throws a RangeError for a number of attempts that is not a positive integer. */
export function parseAttemptsMax(attemptsMax: number): number {
  if (!Number.isInteger(attemptsMax) || attemptsMax < 1)
    throw new RangeError('attemptsMax must be an integer of at least 1.');
  return attemptsMax;
}

/** The `grpc-timeout` header: at most 8 digits and a unit. Long timeouts are rounded down to seconds. */
export function grpcTimeout(leftMs: number): string {
  const wholeMs = Math.max(1, Math.ceil(leftMs));
  return wholeMs < 1e8 ? `${wholeMs}m` : `${Math.floor(wholeMs / 1000)}S`;
}

export interface AttemptOptions {
  deadline?: Deadline;
}

export type Token = string | (() => string | Promise<string>);

/**
 * Wraps every attempt of every call. `closing` ends streams, because a closed channel keeps them open until the server ends
 * them.
 */
export function createAttempts(
  token: Token | undefined,
  closing: AbortSignal,
  consistency?: Consistency,
): ClientMiddleware<AttemptOptions> {
  return async function* attempt(call, { deadline, ...options }) {
    const method = methodOf(call.method.path);
    const streamClosing = call.requestStream || call.responseStream ? closing : undefined;
    const linked = linkDeadline(deadline, options.signal, streamClosing);
    // The server uses the caller's request id if it is valid; the trailer has the id that it used.
    let requestId = options.metadata?.get(requestIdKey);
    let isAnswered = false;
    try {
      const metadata = Metadata(options.metadata);
      if (token !== undefined && !metadata.has('authorization')) {
        metadata.set('authorization', `Bearer ${await linked.race(readToken(token, method))}`);
      }
      if (consistency !== undefined) sendToken(consistency, metadata);
      if (closing.aborted) throw new RosterError(method, 'CANCELLED', 'This client is closed.');
      if (deadline !== undefined) metadata.set('grpc-timeout', grpcTimeout(deadline.atMs - performance.now()));
      return yield* call.next(call.request, {
        ...options,
        metadata,
        signal: linked.signal,
        onHeader: (header) => {
          isAnswered = true;
          options.onHeader?.(header);
        },
        onTrailer: (trailer) => {
          isAnswered ||= [...trailer].length > 0;
          requestId = trailer.get(requestIdKey) ?? requestId;
          if (consistency !== undefined) rememberToken(consistency, trailer);
          options.onTrailer?.(trailer);
        },
      });
    } catch (error) {
      // The error does not show whether the caller's signal, `closing` or the deadline aborted the call.
      options.signal?.throwIfAborted();
      streamClosing?.throwIfAborted();
      if (linked.hasTimedOut()) {
        const message = `The call did not finish within ${deadline?.totalMs} ms.`;
        throw new RosterError(method, 'DEADLINE_EXCEEDED', message, { requestId });
      }
      if (!(error instanceof ClientError)) throw error;
      const rosterError = toRosterError(error, requestId);
      if (!isAnswered && isUnsent(error)) unsentErrors.add(rosterError);
      throw rosterError;
    } finally {
      linked.release();
    }
  };
}

/**
 * grpc-js says so only in its text: there was no connection, or the server refused the stream before it read the call
 * (RFC 9113, section 8.7), as a server that stops does.
 */
function isUnsent({ code, details }: ClientError): boolean {
  return code === Status.UNAVAILABLE && /\bNo connection established\b|^Stream refused by server$/.test(details);
}

async function readToken(token: Token, method: string): Promise<string> {
  if (typeof token === 'string') return token;
  try {
    return await token();
  } catch (cause) {
    throw new RosterError(method, 'UNAUTHENTICATED', 'The token function failed.', { cause });
  }
}

/** A controller that aborts when any of the signals aborts, until it is disposed. */
export interface LinkedController extends Disposable {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

/** Not AbortSignal.any(), which leaks on a signal that outlives its calls. */
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

/** Combines the deadline and the signals that end a call into one signal. */
function linkDeadline(deadline: Deadline | undefined, ...signals: readonly (AbortSignal | undefined)[]) {
  const controller = linkAborts(...signals);
  let timedOut = false;
  const timer =
    deadline &&
    setTimeout(
      () => {
        timedOut = true;
        controller.abort();
      },
      Math.max(0, deadline.atMs - performance.now()),
    );
  return {
    signal: controller.signal,
    hasTimedOut: () => timedOut,
    race: <T>(promise: Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        const stop = () => reject(controller.signal.reason);
        if (controller.signal.aborted) stop();
        controller.signal.addEventListener('abort', stop, { once: true });
        promise.then(resolve, reject);
      }),
    release: () => {
      clearTimeout(timer);
      controller[Symbol.dispose]();
    },
  };
}

/** The wait before the next attempt, after `failures` failures in a row. */
export function backoffAfter(failures: number, waitMsMax = backoffMsMax): number {
  return Math.min(waitMsMax, backoffMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}

/** Rejects with the signal's reason if the signal aborts during the wait. */
export async function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(waitMs, undefined, { signal });
  } catch {
    // The timer's own AbortError would hide the caller's reason.
    signal?.throwIfAborted();
  }
}

export interface Retries {
  /** Whether the call may run twice. Default: true. A call that certainly did not run is repeated anyway. */
  mayRunTwice?: boolean;
  /** The number of failures in a row after which the last failure is thrown. */
  attemptsMax: number;
  deadline: Deadline | undefined;
  signal: AbortSignal | undefined;
  waitMsMax?: number;
  /** Whether the next attempt may help if the token has expired, because it was valid when this attempt began. */
  renewsToken?: boolean;
}

/** Whether the server has ended a call because its token has expired. A token that is a function may return a new one. */
export function hasExpiredToken(error: unknown): error is RosterError {
  return error instanceof RosterError && error.reason === 'CREDENTIALS_EXPIRED';
}

/**
 * Waits until the next attempt. Throws `error` if the call must not be repeated, if the error is not UNAVAILABLE,
 * RATE_LIMITED or an expired token, if `attemptsMax` is reached, or if the wait would pass the deadline, because `error`
 * says more than DEADLINE_EXCEEDED would.
 */
export async function waitToRetry(error: unknown, failures: number, retries: Retries): Promise<void> {
  const { mayRunTwice = true, attemptsMax, deadline, signal, waitMsMax, renewsToken } = retries;
  if (failures >= attemptsMax || !(error instanceof RosterError)) throw error;
  if (!mayRunTwice && !unsentErrors.has(error)) throw error;
  const isTransient = error.code === 'UNAVAILABLE' || error.reason === 'RATE_LIMITED';
  if (!isTransient && !(renewsToken === true && hasExpiredToken(error))) throw error;
  // The random part keeps the calls that the server has refused together from returning together.
  const askedMs = (error.retryDelayMs ?? 0) * (1 + Math.random() / 4);
  const waitMs = Math.max(askedMs, backoffAfter(failures, waitMsMax));
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
