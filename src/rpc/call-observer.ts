/**
 * Observes every call, however it ends: gives it a request id, converts errors into statuses, and logs and counts its
 * end. It does not log the content of requests and responses.
 *
 * Any error that is not a Fault is a bug. The client receives a fixed text and the request id, and the log has the rest.
 */
import { randomBytes } from 'node:crypto';
import { ServerError, Status } from 'nice-grpc';
import { CallError, type CallErrorCause } from '../grpc-server/call-error.js';
import type { CallInfo, CallObserver, CallStatus } from '../grpc-server/observer.js';
import type { Overload } from '../grpc-server/server.js';
import { fieldOf } from '../grpc-server/stream.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { consistencyKey } from '../model/consistency-token.js';
import { Fault, type FaultReason, invalid, invalidRequest, overloaded, serverStopping } from '../model/fault.js';
import { requestBytesMax } from '../model/method-limits.js';
import type { AuditDetails, AuditLog } from '../telemetry/audit-log.js';
import type { Log } from '../telemetry/log.js';
import { type Metrics, otherMethod } from '../telemetry/metrics.js';
import type { CallSpan, Tracing } from '../telemetry/tracing.js';
import { recordBegin, recordCall } from './call-audit.js';
import { callerOfCall } from './caller-gate.js';
import { boundMessage, encodeErrorStatus, errorDetailsKey } from './error-status.js';
import { requestTooLarge, responseTooLarge } from './wire-definition.js';

export const requestIdKey = 'x-request-id';

/** The request ids that a client may choose. */
const requestIdForm = /^[\w.-]{1,64}$/;

/** Returns a function that returns the request id that the client sent, or a new one if that is not valid. */
export function createRequestIds(): (sent: unknown) => string {
  const prefix = randomBytes(4).toString('hex');
  let count = 0;
  return (sent) =>
    typeof sent === 'string' && requestIdForm.test(sent) ? sent : `${prefix}-${(count++).toString(36)}`;
}

// If the server cannot reach the database, every call fails. One line a second is enough then.
const causeLineEveryMs = 1000;

// Clients can cancel thousands of calls a second (CVE-2023-44487), or send as many requests that are not gRPC.
const discardedLinesMax = 100;
const discardedLinesEveryMs = 1000;

export type CreateObserver = (call: CallInfo) => CallObserver;

export interface CallObserverOptions {
  readonly log: Log;
  readonly metrics?: Pick<Metrics, 'call'> | undefined;
  readonly tracing?: Tracing | undefined;
  readonly audit?: AuditLog | undefined;
}

export function createCallObserver({ log, metrics, tracing, audit }: CallObserverOptions): CreateObserver {
  const requestIdOf = createRequestIds();
  const telemetry = { log, metrics, audit, logCause: createCauseLog(log), isFlood: createFloodCheck(log) };
  const observe: CreateObserver = (call) =>
    new ObservedCall(call, requestIdOf(fieldOf(call.fields, requestIdKey)), telemetry);
  if (tracing === undefined) return observe;
  return (call) => {
    // Several probers check the health every few seconds.
    if (call.path.startsWith('/grpc.')) return observe(call);
    const method = call.isKnownMethod ? call.path.slice(1) : otherMethod;
    const span = tracing.startCall(method, (name) => fieldOf(call.fields, name));
    return new TracedCall(call, requestIdOf(fieldOf(call.fields, requestIdKey)), telemetry, span);
  };
}

/** Counts and logs the calls that are refused because the server is overloaded: too many for a line each. */
export function createOverload({ log, metrics }: Pick<CallObserverOptions, 'log' | 'metrics'>): Overload {
  const fault = overloaded();
  let refused = 0;
  let loggedMs = Number.NEGATIVE_INFINITY;
  return {
    status: statusOfFault(fault, ''),
    applies: (path) => !path.startsWith('/grpc.'),
    onRefused(path) {
      metrics?.call(path.slice(1), fault.code, 0);
      refused++;
      const nowMs = performance.now();
      if (nowMs - loggedMs < causeLineEveryMs) return;
      loggedMs = nowMs;
      log.warn({ refused }, 'calls were refused because the server is overloaded');
      refused = 0;
    },
  };
}

/** Returns who makes the call that a handler serves, for the changes that it makes. */
export function authorOf(context: object): ChangeAuthor {
  return observedCall(context) ?? { actor: '', requestId: '' };
}

/** Adds to the audit log's record of the call that a handler serves. */
export function addToRecord(context: object, details: AuditDetails): void {
  observedCall(context)?.addDetails(details);
}

/**
 * Passes the messages of a stream on. The audit log records when the stream begins, and at its end the sum of what
 * `count` returns.
 */
export function recorded<T>(
  context: object,
  messages: AsyncGenerator<T, void, undefined>,
  count: (message: T) => number,
): AsyncGenerator<T, void, undefined> {
  const call = observedCall(context);
  return call?.isAudited ? call.recordStream(messages, count) : messages;
}

function observedCall(context: object): ObservedCall | undefined {
  return 'observer' in context && context.observer instanceof ObservedCall ? context.observer : undefined;
}

type LogCause = (fault: Fault, method: string, requestId: string) => void;

function createCauseLog(log: Log): LogCause {
  const loggedMs = new Map<FaultReason, number>();
  return (fault, method, requestId) => {
    const nowMs = performance.now();
    const isDue = nowMs - (loggedMs.get(fault.reason) ?? Number.NEGATIVE_INFINITY) >= causeLineEveryMs;
    if (isDue) loggedMs.set(fault.reason, nowMs);
    log[isDue ? 'warn' : 'debug']({ error: fault, method, requestId }, 'a call failed');
  };
}

/** Returns whether the log already has enough lines of such calls. */
type FloodCheck = (status: string) => boolean;

function createFloodCheck(log: Log): FloodCheck {
  let sinceMs = 0;
  let lines = 0;
  return (status) => {
    if (status !== 'CANCELLED' && !status.startsWith('HTTP_')) return false;
    const nowMs = performance.now();
    if (nowMs - sinceMs >= discardedLinesEveryMs) {
      sinceMs = nowMs;
      lines = 0;
    }
    lines++;
    if (lines === discardedLinesMax + 1) {
      log.warn(
        {},
        'clients cancel many calls or send many requests that are not gRPC; only the metrics count all of them',
      );
    }
    return lines > discardedLinesMax;
  };
}

interface Telemetry {
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'call'> | undefined;
  readonly audit: AuditLog | undefined;
  readonly logCause: LogCause;
  readonly isFlood: FloodCheck;
}

class ObservedCall implements CallObserver, ChangeAuthor {
  fields: readonly string[];
  readonly onUsers: ChangeAuthor['onUsers'];
  #details: AuditDetails | undefined;
  /** Whether the database may have committed the write or the import, or may still do so. */
  #mayBeWritten = false;
  #reason: FaultReason | undefined;
  #problem: string | undefined;

  constructor(
    private readonly call: CallInfo,
    readonly requestId: string,
    private readonly telemetry: Telemetry,
  ) {
    this.fields = [requestIdKey, requestId];
    if (telemetry.audit !== undefined) {
      this.onUsers = (ids) => {
        this.addDetails({ ids });
        this.#mayBeWritten = ids.length > 0;
      };
    }
  }

  onCommitting(): void {
    this.#mayBeWritten = true;
  }

  onCommitted(token: string): void {
    this.fields = [requestIdKey, this.requestId, consistencyKey, token];
  }

  get isAudited(): boolean {
    return this.telemetry.audit !== undefined;
  }

  addDetails(details: AuditDetails): void {
    this.#details = { ...this.#details, ...details };
  }

  async *recordStream<T>(
    messages: AsyncGenerator<T, void, undefined>,
    count: (message: T) => number,
  ): AsyncGenerator<T, void, undefined> {
    if (this.telemetry.audit !== undefined) recordBegin(this.telemetry.audit, this.call, this.#method, this.requestId);
    let sent = 0;
    this.addDetails({ phase: 'end', sent });
    for await (const message of messages) {
      sent += count(message);
      this.addDetails({ sent });
      yield message;
    }
  }

  get actor(): string {
    return callerOfCall(this.call)?.actor ?? '';
  }

  statusOf(error: unknown): CallStatus {
    const fault = this.#faultOf(error);
    if (fault instanceof ServerError) return { code: fault.code, message: fault.details };
    this.#reason = fault.reason;
    // Several causes have one reason, and the operator must find the cause without the caller's help.
    if (fault.code === 'UNAUTHENTICATED') this.#problem = fault.message;
    if (fault.cause !== undefined) this.telemetry.logCause(fault, this.#method, this.requestId);
    return statusOfFault(fault, this.requestId);
  }

  onLateError(error: unknown): void {
    if (!(error instanceof Fault || error instanceof ServerError || isAbortError(error))) this.#logBug(error);
  }

  onEnd(code: Status, durationMs: number): void {
    this.recordEnd(Status[code], durationMs);
  }

  onNotGrpc(httpStatus: number): void {
    this.recordEnd(`HTTP_${httpStatus}`, 0);
  }

  get #method(): string {
    const { path, isKnownMethod } = this.call;
    // Any other path may contain anything, such as personal data.
    return isKnownMethod || /^\/[\w.]{1,128}\/\w{1,128}$/.test(path) ? path.slice(1) : 'unknown';
  }

  protected recordEnd(status: string, durationMs: number, traceId?: string): void {
    const { isKnownMethod, path, peer, timeoutMs } = this.call;
    const { log, metrics, audit } = this.telemetry;
    const method = this.#method;
    metrics?.call(isKnownMethod ? method : otherMethod, status, durationMs);
    const deadlineMs = timeoutMs === undefined ? undefined : Math.round(timeoutMs);
    // Several probers check the health every few seconds.
    const level = path.startsWith('/grpc.') || this.telemetry.isFlood(status) ? 'debug' : undefined;
    const { requestId, reason } = this;
    log.call(
      { method, status, durationMs, peer, requestId, deadlineMs, reason, problem: this.#problem, traceId },
      level,
    );
    if (audit !== undefined) {
      const end = { method: isKnownMethod ? method : otherMethod, status, reason, requestId, durationMs };
      recordCall(audit, this.call, { ...end, mayBeWritten: this.#mayBeWritten }, this.#details);
    }
  }

  protected get reason(): FaultReason | undefined {
    return this.#reason;
  }

  #faultOf(error: unknown): Fault | ServerError {
    if (error instanceof CallError) return faultOfCause(error, this.call);
    // A status already, such as the health service's NOT_FOUND.
    if (error instanceof Fault || error instanceof ServerError) return error;
    if (isAbortError(error)) return faultOfCause(new CallError('CANCELLED', ''), this.call);
    this.#logBug(error);
    return new Fault(
      'INTERNAL',
      `An internal error occurred. The server's log has it under request id ${this.requestId}.`,
    );
  }

  #logBug(error: unknown): void {
    this.telemetry.log.error({ error, method: this.#method, requestId: this.requestId }, 'a call failed with a bug');
  }
}

function statusOfFault(fault: Fault, requestId: string): CallStatus {
  const { reason, violations, retryMs } = fault;
  const code = Status[fault.code];
  const message = boundMessage(fault.message);
  const details = encodeErrorStatus({ code, message, reason, requestId, violations, retryMs });
  return { code, message, fields: [errorDetailsKey, Buffer.from(details).toString('base64')] };
}

class TracedCall extends ObservedCall {
  constructor(
    call: CallInfo,
    requestId: string,
    telemetry: Telemetry,
    private readonly span: CallSpan,
  ) {
    super(call, requestId, telemetry);
  }

  run(handle: () => void): void {
    this.span.run(handle);
  }

  protected override recordEnd(status: string, durationMs: number): void {
    this.span.end(status, this.reason);
    super.recordEnd(status, durationMs, this.span.traceId);
  }
}

const faults: Readonly<Partial<Record<CallErrorCause, (error: CallError, call: CallInfo) => Fault>>> = {
  DEADLINE: () => new Fault('DEADLINE_PASSED', 'The deadline has passed.'),
  CANCELLED: () => new Fault('CALL_CANCELLED', 'The call was cancelled.'),
  INVALID_TIMEOUT: () =>
    invalid([{ field: 'grpc-timeout', description: 'must be up to eight digits and a unit: H, M, S, m, u or n' }]),
  MESSAGE_TOO_LARGE: (_, { path }) => requestTooLarge(requestBytesMax[path] ?? 0),
  RESPONSE_TOO_LARGE: responseTooLarge,
  MALFORMED_MESSAGE: ({ details }) => invalidRequest(details),
  OVERLOADED: ({ details }) => new Fault('OVERLOADED', `${details} Try again later.`),
  STALLED: (_, { path }) =>
    path.endsWith('/WatchUsers')
      ? new Fault('WATCHER_TOO_SLOW', 'The client did not read the changes in time. Resume from the last token.')
      : new Fault('CALL_CANCELLED', 'The client sent or read too slowly.'),
  SHUTDOWN: serverStopping,
};

/** Errors of the protocol, such as an unknown method, have no reason. */
function faultOfCause(error: CallError, call: CallInfo): Fault | CallError {
  return faults[error.cause]?.(error, call) ?? error;
}

function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
