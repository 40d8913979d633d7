/**
 * Converts the errors of handlers into gRPC statuses.
 *
 * An error that is not a Fault is a bug. The client receives a fixed text with the request id, and the log contains the
 * error.
 */
import { type CallContext, ServerError, type ServerMiddleware, Status } from 'nice-grpc';
import { unlessAborted } from '../concurrency/abort.js';
import { Fault, type FaultReason, serverStopping } from '../model/fault.js';
import type { Log } from '../telemetry/log.js';
import { bugText, type CallObserver, logBug, type OpenCall } from './call-observer.js';
import { boundMessage, encodeErrorStatus, errorDetailsKey } from './error-status.js';

// If the server cannot reach the database, every call fails, and one warning a second is enough.
const causeLineEveryMs = 1000;

export interface FaultMiddlewareOptions {
  /** Ends streams of responses, which could otherwise delay a shutdown indefinitely. */
  stopping: AbortSignal;
  /** The paths of methods whose clients must keep reading, and the time that they may pause. */
  stalls: { paths: ReadonlySet<string>; timeoutMs: number };
}

export function createFaultMiddleware(
  log: Log,
  calls: CallObserver,
  { stopping, stalls }: FaultMiddlewareOptions,
): ServerMiddleware {
  const causeLoggedMs = new Map<FaultReason, number>();

  function faultOf(thrown: unknown, { signal }: CallContext, call: OpenCall | undefined): Fault {
    if (!signal.aborted) {
      if (thrown instanceof Fault) return thrown;
      if (isAbortError(thrown)) return stopping.aborted ? serverStopping() : callEnded(call);
    } else if (thrown instanceof Fault || isAbortError(thrown)) {
      return callEnded(call);
    }
    logBug(log, thrown, call);
    return new Fault('INTERNAL', bugText(call?.requestId ?? 'unknown'));
  }

  function logCause(fault: Fault, call: OpenCall | undefined): void {
    const nowMs = performance.now();
    const isDue = nowMs - (causeLoggedMs.get(fault.reason) ?? Number.NEGATIVE_INFINITY) >= causeLineEveryMs;
    if (isDue) causeLoggedMs.set(fault.reason, nowMs);
    const fields = { error: fault, method: call?.method, requestId: call?.requestId };
    log[isDue ? 'warn' : 'debug'](fields, 'a call failed');
  }

  function serverErrorOf(thrown: unknown, context: CallContext): ServerError {
    // The handler threw a status, such as the health service's NOT_FOUND.
    if (thrown instanceof ServerError) return thrown;
    const call = calls.find(context.metadata);
    const fault = faultOf(thrown, context, call);
    if (fault.cause !== undefined) logCause(fault, call);
    const { reason, violations } = fault;
    if (call !== undefined) call.reason = reason;
    const code = Status[fault.code];
    const message = boundMessage(fault.message);
    const requestId = call?.requestId ?? '';
    context.trailer.set(errorDetailsKey, encodeErrorStatus({ code, message, reason, requestId, violations }));
    return serverError(code, message);
  }

  return async function* faultMiddleware(call, context) {
    try {
      if (!call.requestStream && call.request instanceof Fault) throw call.request;
      const request = call.requestStream ? throwingFaults(call.request) : call.request;
      if (!call.responseStream) return yield* call.next(request, context);
      const signal = AbortSignal.any([context.signal, stopping]);
      const messages = untilAborted(call.next(request, { ...context, signal }), signal);
      if (!stalls.paths.has(call.method.path)) return yield* messages;
      return yield* unlessStalled(messages, stalls.timeoutMs, () =>
        calls.find(context.metadata)?.end(watcherTooSlow()),
      );
    } catch (thrown) {
      throw serverErrorOf(thrown, context);
    }
  };
}

/** Creates an error without a stack, because reading the stack takes longer than the call. */
function serverError(code: Status, message: string): ServerError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new ServerError(code, message);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Yields the requests. Throws the Fault that replaces a request that could not be decoded. */
async function* throwingFaults<T>(requests: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  for await (const request of requests) {
    if (request instanceof Fault) throw request;
    yield request;
  }
}

/**
 * Yields the messages until the signal aborts. Then it does not wait for the generator, which may take long to end.
 */
async function* untilAborted<T>(messages: AsyncGenerator<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  let isDone = false;
  try {
    while (true) {
      signal.throwIfAborted();
      const result = await unlessAborted(messages.next(), signal);
      if (result.done) {
        isDone = true;
        return;
      }
      yield result.value;
    }
  } finally {
    if (!isDone) messages.return(undefined).catch(() => {});
  }
}

/**
 * Yields the messages. If the client does not read one within the timeout, it ends the generator and calls `onStall`,
 * which must end the call, because a generator that waits at a yield cannot throw.
 */
async function* unlessStalled<T>(
  messages: AsyncGenerator<T>,
  timeoutMs: number,
  onStall: () => void,
): AsyncGenerator<T, void, undefined> {
  let isStalled = false;
  for await (const message of messages) {
    const timer = setTimeout(() => {
      isStalled = true;
      messages.return(undefined).catch(() => {});
      onStall();
    }, timeoutMs);
    try {
      yield message;
    } finally {
      clearTimeout(timer);
    }
    if (isStalled) return;
  }
}

function isAbortError(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError';
}

function callEnded(call: OpenCall | undefined): Fault {
  return call?.deadlinePassed()
    ? new Fault('DEADLINE_PASSED', 'The deadline has passed.')
    : new Fault('CALL_CANCELLED', 'The call was cancelled.');
}

function watcherTooSlow(): Fault {
  return new Fault('WATCHER_TOO_SLOW', 'The client did not read the changes in time. Resume from the last token.');
}
