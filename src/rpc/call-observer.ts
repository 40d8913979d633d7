/**
 * Observes every call from its start to its end: assigns the request id, tracks the deadline, and writes the log line.
 *
 * It is the outermost layer, so it also handles statuses that grpc-js sends itself, such as for deadlines and oversized
 * messages. It does not log the content of requests and responses.
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
// Identifies the call for the middleware, which sees only converted metadata. Overwrites a value from the client.
const callKey = 'roster-call';

const forwardedForKey = 'x-forwarded-for';

/** The request ids that a client may choose. */
const requestIdForm = /^[\w.-]{1,64}$/;
// The client's deadline is earlier than the server's, by the time that the request takes on the network.
const deadlineSlackMs = 20;

// How long the operating system may take to accept a response.
const flushTimeoutMs = 1000;

/** A call that has not ended. */
export interface OpenCall {
  readonly method: string;
  readonly requestId: string;
  /** Whether the call ended at its deadline and not because the client cancelled it. */
  deadlinePassed(): boolean;
  /** The reason for the log line. The code that knows why the call fails sets it. */
  reason: FaultReason | undefined;
  /** Ends the call after the messages already sent, regardless of its handler. */
  end(fault: Fault): void;
}

export interface CallObserver {
  readonly interceptor: ServerInterceptor;
  /** For calls that the gateway in this process forwards. Reads the client's address from `x-forwarded-for`. */
  readonly forwardedInterceptor: ServerInterceptor;
  /** Returns the call to which the metadata of a handler or a middleware belongs. */
  find(metadata: CallMetadata): OpenCall | undefined;
  /** Logs a stream for which grpc-js has no handler. Interceptors do not see it. */
  streamOpened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  /** Ends every open call with UNAVAILABLE, so clients may retry it on another server. */
  endAll(): void;
}

/** Returns a function that returns the id that a client sent, or a new one if that is missing or invalid. */
export function createRequestIds(): (sent: unknown) => string {
  const prefix = randomBytes(4).toString('hex');
  let count = 0;
  return (sent) =>
    typeof sent === 'string' && requestIdForm.test(sent) ? sent : `${prefix}-${(count++).toString(36)}`;
}

/** `paths` are the paths of all methods. */
export function createCallObserver(
  log: Log,
  paths: ReadonlySet<string>,
  metrics?: Pick<Metrics, 'call'>,
): CallObserver {
  const open = new Map<string, ObservedCall>();
  const requestIdOf = createRequestIds();
  let callCount = 0;
  const logCall = (path: string, line: CallLine): void => {
    metrics?.call(paths.has(path) ? line.method : 'unknown', line.status, line.durationMs);
    // Health checks arrive every few seconds.
    log.call(line, path.startsWith('/grpc.') ? 'debug' : undefined);
  };

  const intercept =
    (isForwarded: boolean): ServerInterceptor =>
    ({ path, responseStream }, call) => {
      limitReceivedBytes(call, path);
      const key = String(callCount++);
      const observed = new ObservedCall(call, path, log, (line) => {
        open.delete(key);
        logCall(path, line);
      });
      open.set(key, observed);
      if (!responseStream) observed.finishWhenFlushed();
      observed.onMetadata((sent) => {
        observed.requestId = requestIdOf(sent.get(requestIdKey)[0]);
        if (isForwarded) observed.peer = String(sent.get(forwardedForKey)[0] ?? 'unknown');
        // No later layer needs other metadata, and nice-grpc would convert all of it.
        const metadata = new Metadata();
        metadata.set(callKey, key);
        return metadata;
      });
      // A ServerInterceptingCall around the call would miss statuses that grpc-js sends itself, below all interceptors.
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
        // Any other path may contain anything, such as personal data.
        method: /^\/[\w.]{1,128}\/\w{1,128}$/.test(path) ? path.slice(1) : 'unknown',
        status: isGrpc ? 'UNIMPLEMENTED' : 'HTTP_415',
        durationMs: 0,
        peer: socket === undefined ? 'unknown' : `${socket.remoteAddress}:${socket.remotePort}`,
        requestId: requestIdOf(headers[requestIdKey]),
      });
    },

    endAll() {
      const stopping = serverStopping();
      for (const call of [...open.values()]) call.end(stopping);
    },
  };
}

type GrpcCall = Parameters<ServerInterceptor>[1];

/** Replaces methods of grpc-js's call, to observe how it starts and ends. */
class ObservedCall implements OpenCall {
  readonly method: string;
  requestId = '';
  reason: FaultReason | undefined;
  peer: string;
  private readonly startedMs = performance.now();
  private readonly deadline: number;
  private readonly deadlineMs: number | undefined;
  private isOpen = true;
  /** Only for a unary response: the message has been sent, but not flushed. */
  private isFlushing = false;

  constructor(
    private readonly call: GrpcCall,
    private readonly path: string,
    private readonly log: Log,
    private readonly onFinish: (line: CallLine) => void,
  ) {
    this.method = path.slice(1);
    // Read it at the start, because a closed socket has no address.
    const { remoteAddress, remotePort } = call.getConnectionInfo();
    this.peer = remoteAddress === undefined ? 'unknown' : `${remoteAddress}:${remotePort}`;
    call.getPeer = () => this.peer;
    this.deadline = Number(call.getDeadline());
    this.deadlineMs = Number.isFinite(this.deadline) ? Math.max(0, this.deadline - Date.now()) : undefined;
    this.observeStatus();
  }

  deadlinePassed(): boolean {
    return Date.now() >= this.deadline - deadlineSlackMs;
  }

  end({ code, reason, message }: Fault): void {
    this.reason = reason;
    // Messages still queued in the handler's stream would be written after the end and break the HTTP/2 stream.
    this.call.sendMessage = (_message, sent) => sent();
    this.call.sendStatus({ code: Status[code], details: message });
  }

  /** Only for a unary response: finishes the call when the message has been flushed. */
  finishWhenFlushed(): void {
    // grpc-js would call `sent` after the message has been flushed, and send the status in a separate packet. Calling
    // `sent` immediately sends both together.
    const sendMessage = this.call.sendMessage.bind(this.call);
    this.call.sendMessage = (message, sent) => {
      this.isFlushing = true;
      sendMessage(message, () => {
        this.isFlushing = false;
        this.finish(Status.OK);
      });
      sent();
    };
  }

  /** `convert` receives the client's metadata and returns the metadata for the later layers. */
  onMetadata(convert: (sent: GrpcMetadata) => GrpcMetadata): void {
    const start = this.call.start.bind(this.call);
    this.call.start = (listener) => {
      let received = false;
      start({
        onReceiveMetadata(sent) {
          received = true;
          listener.onReceiveMetadata(convert(sent));
        },
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveHalfClose: () => listener.onReceiveHalfClose(),
        onCancel: () => {
          this.onEnd();
          listener.onCancel();
        },
      });
      // A stream that closed before this emits no events.
      if (!received) this.onEnd();
    };
  }

  private observeStatus(): void {
    // grpc-js calls this method when it ends a call itself, below all interceptors. If a later version does not,
    // onCancel still finishes the call.
    const sendStatus = this.call.sendStatus.bind(this.call);
    this.call.sendStatus = (status) => {
      if (!this.isOpen) {
        sendStatus(status);
        return;
      }
      const code: Status = status.code ?? Status.UNKNOWN;
      this.reason ??= reasonOfCode(code);
      let details = ownDetails(this.path, status.details ?? '');
      const bug = code === Status.INTERNAL ? takeEncodingError() : undefined;
      if (bug !== undefined) {
        logBug(this.log, bug, this);
        details = bugText(this.requestId);
      }
      sendStatus(completeStatus(code, details, status.metadata, this.reason, this.requestId));
      if (!(code === Status.OK && this.isFlushing)) this.finish(code);
    };
  }

  /** grpc-js reports the end both after everything was sent and after the client disconnected. */
  private onEnd(): void {
    const passed = this.deadlinePassed();
    const endedMs = performance.now();
    const end = () => {
      if (!this.isOpen) return;
      this.reason ??= passed ? 'DEADLINE_PASSED' : 'CALL_CANCELLED';
      this.finish(passed ? Status.DEADLINE_EXCEEDED : Status.CANCELLED, endedMs);
    };
    // After a disconnect, the message is never flushed.
    if (this.isFlushing) setTimeout(end, flushTimeoutMs).unref();
    else end();
  }

  private finish(code: Status, endedMs = performance.now()): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const { method, peer, requestId, deadlineMs, reason } = this;
    const durationMs = endedMs - this.startedMs;
    this.onFinish({ method, status: Status[code], durationMs, peer, requestId, deadlineMs, reason });
  }
}

/** The text that the client receives if a call failed because of a bug. */
export function bugText(requestId: string): string {
  return `An internal error occurred. The server's log has it under request id ${requestId}.`;
}

export function logBug(log: Log, error: unknown, call: Pick<OpenCall, 'method' | 'requestId'> | undefined): void {
  log.error({ error, method: call?.method, requestId: call?.requestId }, 'a call failed with a bug');
}

/** Returns the reason for a status that grpc-js sends itself. */
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
  // Strict clients treat a status message with OK as an error. grpc-js always sends one, so it must be empty.
  const message = code === Status.OK ? '' : boundMessage(details);
  const metadata = sent ?? new Metadata();
  if (code !== Status.OK && reason !== undefined && metadata.get(errorDetailsKey).length === 0) {
    metadata.set(errorDetailsKey, Buffer.from(encodeErrorStatus({ code, message, reason, requestId })));
  }
  metadata.set(requestIdKey, requestId);
  return { code, details: message, metadata };
}
