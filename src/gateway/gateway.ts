/**
 * Serves gRPC-Web, the Connect protocol and JSON in front of a gRPC server. The server's descriptors define the
 * methods, so a new method needs no code here. connect-node implements the protocols.
 *
 * Streams are forwarded message by message, at the speed of the slower side.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { createFileRegistry, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { ByteBudget } from '../concurrency/byte-budget.js';
import { Fault, overloaded } from '../model/fault.js';
import type { CallLine } from '../telemetry/log.js';
import { callKey, createHandlers, type GatewayCall } from './forward.js';
import { type ByteRequest, fromWebText, isWebText, toWebText } from './grpc-web-text.js';
import { end, type Pace, paceAnswer, receive } from './pace.js';
import { ProtocolError, requestIdOf, statusOf, toConnectError } from './refusal.js';
import {
  binaryHeaders,
  checkHeaders,
  isJsonRequest,
  jsonHeaders,
  messageOfGet,
  requestFormat,
  typeOfGet,
} from './request-format.js';
import { readMessages, streamsRequests } from './request-messages.js';
import { createUpstream, type UpstreamOptions } from './upstream.js';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface Gateway {
  /** Whether a method has this path. */
  serves(path: string): boolean;
  /** Answers a request for such a path. The Host header must be valid. */
  handle(request: HttpRequest, response: HttpResponse): void;
  /** Such as `users.v1.UserService`. */
  readonly serviceNames: ReadonlySet<string>;
  /** Whether the server behind answers. */
  isReachable(): Promise<boolean>;
  /** Ends the remaining calls. */
  close(): void;
}

export interface GatewayOptions extends UpstreamOptions {
  /** A serialized google.protobuf.FileDescriptorSet with all imports, as `buf build` writes it. */
  readonly descriptors: Uint8Array;
  /** How long a client may take to send the next part of a message, or to read the next part of an answer. */
  readonly stallTimeoutMs: number;
  /** Limits the bytes of incomplete requests and of answers that clients have not read. */
  readonly budget: ByteBudget;
  /** Called at the end of each call that was not forwarded, so that it is logged and counted. */
  onUnforwarded(line: CallLine): void;
  /** Called with errors that no client caused. */
  onError(error: unknown): void;
}

/** Throws if the descriptors are invalid, or lack a file that they import. */
export function createGateway(options: GatewayOptions): Gateway {
  const { descriptors, stallTimeoutMs, budget, onUnforwarded, onError, ...upstreamOptions } = options;
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  const upstream = createUpstream(upstreamOptions);
  const services = [...registry].filter((type) => type.kind === 'service');
  const methods = new Map(
    services.flatMap((service) => service.methods.map((method) => [`/${service.typeName}/${method.name}`, method])),
  );
  const handlers = createHandlers(services, { registry, upstream });

  /** Reads the messages into `call`. Yields an empty message for each to connect-node, or throws the refusal. */
  async function* readRequest(
    method: DescMethod,
    { header, body }: { header: Headers; body: AsyncIterable<Uint8Array> },
    { call, pace }: OpenCall,
  ): AsyncGenerator<Uint8Array> {
    const format = requestFormat(method, header);
    try {
      if (!budget.admits()) throw overloaded();
      checkHeaders(header);
      for await (const bytes of readMessages(body, format, pace.hold, registry)) {
        call.messages.push(bytes);
        yield format.isEnveloped ? emptyEnvelope : noBytes;
      }
    } catch (error) {
      if (!(error instanceof Fault) && !(error instanceof ProtocolError)) throw error;
      call.refusal = error;
      throw toConnectError(error, call.requestId, registry);
    }
  }

  async function answer(method: DescMethod, path: string, open: OpenCall, response: HttpResponse): Promise<void> {
    const { request, call, pace } = open;
    const values = createContextValues().set(callKey, call);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const isText = isWebText(universal.header);
    const received = { ...universal, body: receive(request, streamsRequests(method), pace) };
    const sent = isText ? fromWebText(received) : asPost(received, method);
    call.isJson = isJsonRequest(sent.header);
    const handler = handlers.get(path);
    if (handler === undefined) throw new TypeError('This method does not exist.');
    const handled = await handler({
      ...sent,
      header: binaryHeaders(sent.header),
      body: readRequest(method, sent, open),
    });
    const answered = call.isJson ? { ...handled, header: jsonHeaders(handled.header) } : handled;
    const { body, ...head } = isText ? toWebText(answered) : answered;
    const isStream = method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming';
    const paced = body && paceAnswer(body, response, isStream, { ...pace, hold: open.answerHold });
    await universalResponseToNodeResponse({ ...head, body: paced }, response);
  }

  /** Begins a call. It ends when its response closes, which always happens. */
  function openCall(path: string, request: HttpRequest, response: HttpResponse): OpenCall {
    const startedMs = performance.now();
    const call: GatewayCall = {
      peer: request.socket.remoteAddress,
      requestId: requestIdOf(request.headers),
      messages: [],
      isJson: false,
      refusal: undefined,
      isForwarded: false,
    };
    const giveUp = (fault: Fault) => {
      call.refusal ??= fault;
      end(request);
    };
    const onStall = () => giveUp(new Fault('CALL_CANCELLED', 'The client sent or read too slowly.'));
    const hold = budget.open(() => giveUp(overloaded()));
    const answerHold = budget.open(() => giveUp(overloaded()));
    response.once('close', () => {
      hold.release();
      answerHold.release();
      if (call.isForwarded) return;
      const { status, reason } = outcomeOf(call, response);
      const durationMs = performance.now() - startedMs;
      const { requestId, peer = 'unknown' } = call;
      onUnforwarded({ method: path.slice(1), status, durationMs, peer, requestId, reason });
    });
    // A client may still be sending after a refusal. Discard its body for a while, then disconnect.
    response.once('finish', () => {
      if (request.complete) return;
      request.resume();
      const timer = setTimeout(() => {
        if (!request.complete) end(request);
      }, stallTimeoutMs);
      request.once('close', () => clearTimeout(timer));
    });
    return { request, call, answerHold, pace: { hold, timeoutMs: stallTimeoutMs, onStall } };
  }

  return {
    serves: (path) => methods.has(path),
    handle(request, response) {
      const [path = ''] = (request.url ?? '').split('?');
      const method = methods.get(path);
      if (method === undefined) throw new TypeError('This method does not exist.');
      answer(method, path, openCall(path, request, response), response).catch((error: unknown) => {
        const { code, cause } = ConnectError.from(error);
        // The client disconnected, before or during a write.
        const isDisconnected =
          code === Code.Canceled || code === Code.Aborted || (cause instanceof Error && 'syscall' in cause);
        if (!isDisconnected) onError(error);
        // A normal end would make the answer look complete.
        if (response.headersSent) response.destroy();
        else {
          response.statusCode = isDisconnected ? 400 : 500;
          response.end();
        }
      });
    },
    serviceNames: new Set(services.map(({ typeName }) => typeName)),
    isReachable: upstream.isReachable,
    close: upstream.close,
  };
}

interface OpenCall {
  readonly request: HttpRequest;
  readonly call: GatewayCall;
  /** The pace of the request. */
  readonly pace: Pace;
  readonly answerHold: Pace['hold'];
}

/** Converts a Connect GET to the equivalent POST, if the method allows GET. */
function asPost(request: ByteRequest, method: DescMethod): ByteRequest {
  if (request.method !== 'GET' || method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) return request;
  const header = new Headers(request.header);
  header.delete('content-length');
  header.delete('content-encoding');
  header.set('content-type', typeOfGet(request.url));
  return { ...request, method: 'POST', header, body: messageOfGet(request.url) };
}

const noBytes = new Uint8Array();
// Flags and a length of 0.
const emptyEnvelope = Buffer.alloc(5);

function outcomeOf({ refusal }: GatewayCall, { statusCode, headersSent }: HttpResponse) {
  if (refusal !== undefined) {
    return { status: statusOf(refusal), reason: refusal instanceof Fault ? refusal.reason : undefined };
  }
  // connect-node answered with only a status, because the HTTP method or the content type is wrong.
  if (headersSent && statusCode >= 400) return { status: `HTTP_${statusCode}`, reason: undefined };
  return { status: 'CANCELLED', reason: 'CALL_CANCELLED' };
}
