/**
 * Serves a gRPC server's methods as gRPC-Web, as the Connect protocol and as JSON. The server's descriptors define the
 * methods, so a new method needs no code here. connect-node implements the protocols, except for unary Connect calls.
 *
 * The gateway forwards streams message by message, at the speed of the slower side.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { createFileRegistry, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { Fault, overloaded } from '../model/fault.js';
import { type CallerCheck, createCallerCheck } from './caller-check.js';
import { callKey, createHandlers } from './forward.js';
import { type ByteRequest, fromWebText, isWebText, toWebText } from './grpc-web-text.js';
import { requestMetadataFields } from './metadata.js';
import { type CallOptions, type OpenCall, openCall } from './open-call.js';
import { paceRequest, paceResponse } from './pace.js';
import { ProtocolError, toConnectError } from './refusal.js';
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
import { isUnaryConnect, serveUnary } from './unary-call.js';
import { createUpstream, type UpstreamOptions } from './upstream.js';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface Gateway {
  /** Whether a method has this path. */
  serves(path: string): boolean;
  /** Handles a request for such a path. The Host header must be valid. */
  handle(request: HttpRequest, response: HttpResponse): void;
  /** Such as `users.v1.UserService`. */
  readonly serviceNames: ReadonlySet<string>;
  /** Whether the server knows who sends a request for something other than a call. */
  readonly checkCaller: CallerCheck;
  /** Whether the gateway can reach the gRPC server. */
  isReachable(): Promise<boolean>;
  /** Ends the remaining calls. */
  close(): void;
}

export type GatewayOptions = UpstreamOptions & ServingOptions;

export interface ServingOptions extends CallOptions {
  /** A serialized google.protobuf.FileDescriptorSet with all imports, as `buf build` writes it. */
  readonly descriptors: Uint8Array;
  /** Called with errors that were not caused by a client. */
  onError(error: unknown): void;
}

/** Throws if the descriptors are invalid, or lack a file that they import. */
export function createGateway(options: GatewayOptions): Gateway {
  const { descriptors, budget, onError } = options;
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  const upstream = createUpstream(options);
  const services = [...registry].filter((type) => type.kind === 'service');
  const methods = new Map(
    services.flatMap((service) => service.methods.map((method) => [`/${service.typeName}/${method.name}`, method])),
  );
  const handlers = createHandlers(services, { registry, upstream });

  /**
   * Reads the messages into `call.messages`. For each of them it yields an empty message to connect-node. Throws a
   * ConnectError if it refuses the request.
   */
  async function* readRequest(
    method: DescMethod,
    { header, body }: { header: Headers; body: AsyncIterable<Uint8Array> },
    { request, call, pace }: OpenCall,
  ): AsyncGenerator<Uint8Array> {
    const format = requestFormat(method, header);
    try {
      if (!budget.admits()) throw overloaded();
      checkHeaders(header);
      // The server refuses the call, and gets no message.
      if (!(await upstream.knowsCaller(requestMetadataFields(request.headers), call.connection))) {
        yield format.isEnveloped ? emptyEnvelope : noBytes;
        return;
      }
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

  async function serveCall(
    method: DescMethod,
    handler: UniversalHandler,
    open: OpenCall,
    response: HttpResponse,
  ): Promise<void> {
    const { request, call, pace } = open;
    const values = createContextValues().set(callKey, call);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const isText = isWebText(universal.header);
    const body = paceRequest(request, streamsRequests(method), pace);
    // Otherwise the rest of a request that is refused early would stop the next one on its connection.
    response.once('finish', () => void body.return(undefined).then(() => request.resume(), onError));
    const received = { ...universal, body };
    const sent = isText ? fromWebText(received) : asPost(received, method);
    call.isJson = isJsonRequest(sent.header);
    const handled = await handler({
      ...sent,
      header: binaryHeaders(sent.header),
      body: readRequest(method, sent, open),
    });
    const binaryOrJson = call.isJson ? { ...handled, header: jsonHeaders(handled.header) } : handled;
    const { body: answer, ...head } = isText ? toWebText(binaryOrJson) : binaryOrJson;
    const isStream = method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming';
    const paced = answer && paceResponse(answer, response, isStream, { ...pace, hold: open.answerHold });
    await universalResponseToNodeResponse({ ...head, body: paced }, response);
  }

  return {
    serves: (path) => methods.has(path),
    handle(request, response) {
      const [path = ''] = (request.url ?? '').split('?');
      const method = methods.get(path);
      const handler = handlers.get(path);
      if (method === undefined || handler === undefined) throw new TypeError('This method does not exist.');
      const open = openCall(path, request, response, options);
      const served = isUnaryConnect(method, request)
        ? serveUnary(method, open, response, { registry, upstream, budget, onError })
        : serveCall(method, handler, open, response);
      served.catch((error: unknown) => fail(error, response, onError));
    },
    serviceNames: new Set(services.map(({ typeName }) => typeName)),
    checkCaller: createCallerCheck(registry, upstream),
    isReachable: upstream.isReachable,
    close: upstream.close,
  };
}

/** Ends a response that has failed. Does not call `onError` if the client disconnected, before or during a write. */
function fail(error: unknown, response: HttpResponse, onError: (error: unknown) => void): void {
  const { code, cause } = ConnectError.from(error);
  const isDisconnected =
    code === Code.Canceled || code === Code.Aborted || (cause instanceof Error && 'syscall' in cause);
  if (!isDisconnected) onError(error);
  // A normal end would make the response look complete.
  if (response.headersSent) response.destroy();
  else {
    response.statusCode = isDisconnected ? 400 : 500;
    response.end();
  }
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
// An envelope has one byte of flags and four bytes of length, which are all 0 here.
const emptyEnvelope = Buffer.alloc(5);
