/**
 * What every call has around it, whatever becomes of it: a request id, a deadline, one line in the log, and an end.
 *
 * The outermost layer. It sees what grpc-js itself answers below the handlers as well: deadlines, messages that are too
 * large. It logs nothing of requests and replies.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import {
  type Metadata as GrpcMetadata,
  Metadata,
  type ServerInterceptingCall,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { type Metadata as CallMetadata, Status } from 'nice-grpc';
import { type Fault, type FaultReason, serverStopping } from '../model/fault.js';
import type { CallLine, Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { boundMessage, encodeErrorStatus, errorDetailsKey } from './error-status.js';
import { limitReceivedBytes, ownDetails } from './receive-limit.js';
import { takeEncodingError } from './wire-definition.js';

export const requestIdKey = 'x-request-id';
// How the middleware, which sees converted metadata only, finds the call. What a caller sends under it is overwritten.
const callKey = 'roster-call';

const forwardedForKey = 'x-forwarded-for';

/** What a client may choose as the id of its request. */
export const saneRequestId = /^[\w.-]{1,64}$/;
// A caller gives up at its own deadline, which comes before ours by what the request took on its way.
const deadlineSlackMs = 20;

// How long the system may take to take an answer that has been sent.
const leavingMsMax = 1000;

/** A call that has not ended. */
export interface OpenCall {
  readonly method: string;
  readonly requestId: string;
  /** Whether it is over because its deadline is, and not because the caller has gone. */
  deadlinePassed(): boolean;
  /** The reason in its log line; set by whoever knows why the call fails. */
  reason: FaultReason | undefined;
  /** Answers it behind what has been sent already, whatever its handler does. */
  end(fault: Fault): void;
}

export interface CallObserver {
  readonly interceptor: ServerInterceptor;
  /** For calls that somebody in this process passes on, who says under `x-forwarded-for` whose they are. */
  readonly forwardedInterceptor: ServerInterceptor;
  /** The call that a handler's or a middleware's metadata is of. */
  find(metadata: CallMetadata): OpenCall | undefined;
  /** Logs a stream for which grpc-js has no handler, so that no interceptor sees it. */
  streamOpened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  /** Answers every open call with UNAVAILABLE, which a caller may try again elsewhere. */
  endAll(): void;
}

/** `paths` are those of all methods that are served. */
export function createCallObserver(
  log: Log,
  paths: ReadonlySet<string>,
  metrics?: Pick<Metrics, 'call'>,
): CallObserver {
  const open = new Map<string, OpenCall>();
  const idPrefix = randomBytes(4).toString('hex');
  let callCount = 0;
  const requestIdFrom = (sent: unknown, key: string): string =>
    typeof sent === 'string' && saneRequestId.test(sent) ? sent : `${idPrefix}-${key}`;
  const logCall = (path: string, line: CallLine): void => {
    metrics?.call(paths.has(path) ? line.method : 'unknown', line.status, line.durationMs);
    // Probes come every few seconds, from several sides.
    log.call(line, path.startsWith('/grpc.') ? 'debug' : undefined);
  };

  const intercept =
    (isForwarded: boolean): ServerInterceptor =>
    ({ path, responseStream }, call) => {
      const startedMs = performance.now();
      limitReceivedBytes(call, path);
      const key = (callCount++).toString(36);
      const method = path.slice(1);
      // Read when the call began: a socket that has closed has forgotten it.
      const { remoteAddress, remotePort } = call.getConnectionInfo();
      let peer = remoteAddress === undefined ? 'unknown' : `${remoteAddress}:${remotePort}`;
      call.getPeer = () => peer;
      const deadline = Number(call.getDeadline());
      const deadlineMs = Number.isFinite(deadline) ? Math.max(0, deadline - Date.now()) : undefined;
      const observed = {
        method,
        requestId: '',
        deadlinePassed: () => Date.now() >= deadline - deadlineSlackMs,
        reason: undefined as FaultReason | undefined,
        end: ({ code, reason, message }: Fault) => {
          observed.reason = reason;
          // What still waits in the handler's stream would be written behind the end, which breaks the HTTP/2 stream.
          call.sendMessage = (_message, sent) => sent();
          call.sendStatus({ code: Status[code], details: message });
        },
      };
      open.set(key, observed);

      const finish = (code: Status, endedMs = performance.now()): void => {
        if (!open.delete(key)) return;
        const durationMs = endedMs - startedMs;
        const { requestId, reason } = observed;
        logCall(path, { method, status: Status[code], durationMs, peer, requestId, deadlineMs, reason });
      };

      // grpc-js ends calls of its own accord through this method, which is below all interceptors; where it should stop
      // doing so, onCancel still ends the call here.
      const sendStatus = call.sendStatus.bind(call);
      call.sendStatus = (status) => {
        if (!open.has(key)) {
          sendStatus(status);
          return;
        }
        const code: Status = status.code ?? Status.UNKNOWN;
        const { requestId } = observed;
        observed.reason ??= reasonOfCode(code);
        let details = ownDetails(path, status.details ?? '');
        const bug = code === Status.INTERNAL ? takeEncodingError() : undefined;
        if (bug !== undefined) {
          logBug(log, bug, observed);
          details = bugText(requestId);
        }
        sendStatus(completeStatus(code, details, status.metadata, observed.reason, requestId));
        if (!(code === Status.OK && isLeaving)) finish(code);
      };

      // Of a unary answer: the status is on its way, the message has not left.
      let isLeaving = false;
      if (!responseStream) {
        // grpc-js sends the status once the message has left, in packets of its own; at once they leave together.
        const sendMessage = call.sendMessage.bind(call);
        call.sendMessage = (message, sent) => {
          isLeaving = true;
          sendMessage(message, () => {
            isLeaving = false;
            finish(Status.OK);
          });
          sent();
        };
      }

      const start = call.start.bind(call);
      call.start = (listener) => {
        let received = false;
        const ended = (): void => {
          const passed = observed.deadlinePassed();
          const endedMs = performance.now();
          const end = () => {
            if (!open.has(key)) return;
            observed.reason ??= passed ? 'DEADLINE_PASSED' : 'CALL_CANCELLED';
            finish(passed ? Status.DEADLINE_EXCEEDED : Status.CANCELLED, endedMs);
          };
          // grpc-js says the same where all has been sent, and where somebody has gone. Then nothing more leaves.
          if (isLeaving) setTimeout(end, leavingMsMax).unref();
          else end();
        };
        start({
          onReceiveMetadata(sent) {
            received = true;
            observed.requestId = requestIdFrom(sent.get(requestIdKey)[0], key);
            if (isForwarded) peer = String(sent.get(forwardedForKey)[0] ?? 'unknown');
            // Nobody behind this asks for more, and nice-grpc converts all that there is.
            const metadata = new Metadata();
            metadata.set(callKey, key);
            listener.onReceiveMetadata(metadata);
          },
          onReceiveMessage: (message) => listener.onReceiveMessage(message),
          onReceiveHalfClose: () => listener.onReceiveHalfClose(),
          onCancel() {
            ended();
            listener.onCancel();
          },
        });
        // A stream that closed before it was looked at says nothing more.
        if (!received) ended();
      };
      // Not wrapped: what a ServerInterceptingCall does for each event costs more than all that is done here.
      return call as ServerInterceptingCall;
    };

  return {
    interceptor: intercept(false),
    forwardedInterceptor: intercept(true),

    find: (metadata) => open.get(metadata.get(callKey) ?? ''),

    streamOpened(stream, headers) {
      const path = headers[':path'] ?? '';
      const isGrpc = headers['content-type']?.startsWith('application/grpc') === true;
      if (isGrpc && paths.has(path)) return;
      const socket = stream.session?.socket;
      logCall(path, {
        // Whatever is not like a method's name may hold anything.
        method: /^\/[\w.]{1,128}\/\w{1,128}$/.test(path) ? path.slice(1) : 'unknown',
        status: isGrpc ? 'UNIMPLEMENTED' : 'HTTP_415',
        durationMs: 0,
        peer: socket === undefined ? 'unknown' : `${socket.remoteAddress}:${socket.remotePort}`,
        requestId: requestIdFrom(headers[requestIdKey], (callCount++).toString(36)),
      });
    },

    endAll() {
      const stopping = serverStopping();
      for (const call of [...open.values()]) call.end(stopping);
    },
  };
}

/** What the caller of a call that failed with a bug may know. */
export function bugText(requestId: string): string {
  return `An internal error; the server's log has it under request id ${requestId}.`;
}

export function logBug(log: Log, error: unknown, call: Pick<OpenCall, 'method' | 'requestId'> | undefined): void {
  log.error({ error, method: call?.method, requestId: call?.requestId }, 'a call failed with a bug');
}

/** Why grpc-js ended a call by itself. */
function reasonOfCode(code: Status): FaultReason | undefined {
  switch (code) {
    case Status.DEADLINE_EXCEEDED:
      return 'DEADLINE_PASSED';
    case Status.CANCELLED:
      return 'CALL_CANCELLED';
    case Status.RESOURCE_EXHAUSTED:
      return 'MESSAGE_TOO_LARGE';
    case Status.INTERNAL:
    case Status.UNKNOWN:
      return 'INTERNAL';
    default:
      return undefined;
  }
}

function completeStatus(
  code: Status,
  details: string,
  sent: GrpcMetadata | null | undefined,
  reason: FaultReason | undefined,
  requestId: string,
) {
  // Strict clients take a message beside OK for an error; grpc-js leaves no way to send none but an empty one.
  const message = code === Status.OK ? '' : boundMessage(details);
  const metadata = sent ?? new Metadata();
  if (code !== Status.OK && reason !== undefined && metadata.get(errorDetailsKey).length === 0) {
    metadata.set(errorDetailsKey, Buffer.from(encodeErrorStatus({ code, message, reason, requestId })));
  }
  metadata.set(requestIdKey, requestId);
  return { code, details: message, metadata };
}
