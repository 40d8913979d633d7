/** The lifetime of a call: its bytes in the budget, its timeouts, and its log line if it was not forwarded. */
import type { ByteBudget } from '../grpc-server/byte-budget.js';
import { Fault, overloaded } from '../model/fault.js';
import type { CallLine } from '../telemetry/log.js';
import type { RequestSpan, Tracing } from '../telemetry/tracing.js';
import type { GatewayCall } from './forward.js';
import type { HttpRequest, HttpResponse } from './gateway.js';
import { connectionOf } from './http-connection.js';
import { abortRequest, type Pace } from './pace.js';
import { requestIdOf, statusOf } from './refusal.js';

export interface OpenCall {
  /** Such as `/users.v1.UserService/GetUser`. */
  readonly path: string;
  readonly request: HttpRequest;
  readonly call: GatewayCall;
  /** The pace of the request. */
  readonly pace: Pace;
  readonly answerHold: Pace['hold'];
}

export interface CallOptions {
  /** How long a client may take to send the next part of a message, or to read the next part of an answer. */
  readonly stallTimeoutMs: number;
  /** Limits the bytes of incomplete requests and of answers that clients have not read. */
  readonly budget: ByteBudget;
  /** Called at the end of each call that was not forwarded, so that it is logged and counted. */
  onUnforwarded(line: CallLine): void;
  readonly tracing?: Tracing;
}

/** Begins a call. It ends when its response closes, which always happens. */
export function openCall(
  path: string,
  request: HttpRequest,
  response: HttpResponse,
  { stallTimeoutMs, budget, onUnforwarded, tracing }: CallOptions,
): OpenCall {
  const startedMs = performance.now();
  const span = tracing && startSpan(tracing, path, request);
  const call: GatewayCall = {
    connection: connectionOf(request),
    requestId: requestIdOf(request.headers),
    messages: [],
    isJson: false,
    refusal: undefined,
    isForwarded: false,
  };
  const giveUp = (fault: Fault) => {
    call.refusal ??= fault;
    abortRequest(request);
  };
  const onStall = () => giveUp(new Fault('CALL_CANCELLED', 'The client sent or read too slowly.'));
  const hold = budget.open(() => giveUp(overloaded()));
  const answerHold = budget.open(() => giveUp(overloaded()));
  response.once('close', () => {
    hold.release();
    answerHold.release();
    const outcome = call.isForwarded ? undefined : outcomeOf(call, response);
    span?.end({ httpStatus: response.headersSent ? response.statusCode : undefined, ...outcome });
    if (outcome === undefined) return;
    const durationMs = performance.now() - startedMs;
    const { requestId, connection } = call;
    onUnforwarded({
      method: path.slice(1),
      ...outcome,
      durationMs,
      peer: connection.peer,
      requestId,
      traceId: span?.traceId,
    });
  });
  response.once('finish', () => discardRest(request, stallTimeoutMs));
  return { path, request, call, answerHold, pace: { hold, timeoutMs: stallTimeoutMs, onStall } };
}

/** Starts the span of a request, and makes it the parent of the span of the server that gets the request's metadata. */
function startSpan(tracing: Tracing, path: string, { method = '', headers }: HttpRequest): RequestSpan | undefined {
  // Several probers check the health every few seconds.
  if (path.startsWith('/grpc.')) return undefined;
  const span = tracing.startRequest({ method, path, header: (name) => headers[name]?.toString() });
  // It belongs to the client's context, which may have been invalid.
  delete headers.tracestate;
  Object.assign(headers, span.headers);
  return span;
}

/** A client may still be sending after a refusal. Discards its body for a while, then disconnects. */
function discardRest(request: HttpRequest, timeoutMs: number): void {
  if (request.complete) return;
  request.resume();
  const timer = setTimeout(() => {
    if (!request.complete) abortRequest(request);
  }, timeoutMs);
  request.once('close', () => clearTimeout(timer));
}

function outcomeOf(
  { refusal }: GatewayCall,
  { statusCode, headersSent }: HttpResponse,
): { readonly status: string; readonly reason: string | undefined } {
  if (refusal !== undefined) {
    return { status: statusOf(refusal), reason: refusal instanceof Fault ? refusal.reason : undefined };
  }
  // connect-node answered with only a status, because the HTTP method or the content type is wrong.
  if (headersSent && statusCode >= 400) return { status: `HTTP_${statusCode}`, reason: undefined };
  return { status: 'CANCELLED', reason: 'CALL_CANCELLED' };
}
