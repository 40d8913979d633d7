/**
 * gRPC-Web, the Connect protocol and its JSON in front of a gRPC server, driven by the descriptors of what that serves: a
 * new method needs no line here. connect-node speaks the protocols; this passes on what comes, and adds nothing to it.
 *
 * Streams go through message by message, as fast as the slower side takes them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Http2ServerRequest, type Http2ServerResponse, constants as http2 } from 'node:http2';
import { promisify } from 'node:util';
import { brotliCompress as brotliCompressed, constants } from 'node:zlib';
import {
  createFileRegistry,
  type DescMethod,
  type DescMethodBiDiStreaming,
  fromBinary,
  type Message,
  type Registry,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import {
  Code,
  ConnectError,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { readableDetails } from './error-details.js';
import { fromWebText, isWebText, toWebText } from './grpc-web-text.js';
import { addResponseMetadata, requestMetadata } from './metadata.js';
import { createUpstream, type UpstreamOptions } from './upstream.js';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface Gateway {
  /** Whether it is the path of a method. */
  serves(path: string): boolean;
  /** Answers a request for such a path, whose Host is one. */
  handle(request: HttpRequest, response: HttpResponse): void;
  /** As in `users.v1.UserService`. */
  readonly serviceNames: ReadonlySet<string>;
  /** Whether the server behind answers. */
  isReachable(): Promise<boolean>;
  /** Ends calls that are still there. */
  close(): void;
}

export interface GatewayOptions extends UpstreamOptions {
  /** A serialized google.protobuf.FileDescriptorSet with all imports, as `buf build` writes it. */
  readonly descriptors: Uint8Array;
  /** How long the body of a request that is one message may stand still. */
  readonly stallTimeoutMs: number;
  /** What is no fault of a caller. */
  onError(error: unknown): void;
}

// The server behind says how large a message may be; this is for what never gets there. Twice Roster's 4 MiB, because JSON
// takes more room than what it becomes.
const messageBytesMax = 8 * 1024 * 1024;

// The most that gRPC's eight digits of milliseconds hold, 27 hours. Connect takes more, at which Node's timers overflow.
const timeoutMsMax = 99_999_999;

// For bytes that are made once and sent once: Node's own 11 takes fifty times as long.
const brotliQuality = 4;
const brotliCompress = promisify(brotliCompressed);
const brotli: typeof compressionBrotli = {
  ...compressionBrotli,
  compress: async (bytes) =>
    new Uint8Array(await brotliCompress(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } })),
};

// A request of these that stands still is broken; a stream of messages may have nothing to say for as long as it likes.
const oneMessageKinds: ReadonlySet<string> = new Set(['unary', 'server_streaming']);

/** The address of whoever calls. */
const peerKey = createContextKey<string | undefined>(undefined);

/** Throws where the descriptors are none, or lack a file that they import. */
export function createGateway({ descriptors, stallTimeoutMs, onError, ...upstreamOptions }: GatewayOptions): Gateway {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  const upstream = createUpstream(upstreamOptions);
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, brotli],
    readMaxBytes: messageBytesMax,
    jsonOptions: { registry },
  });
  const serviceNames = new Set<string>();
  for (const type of registry) {
    if (type.kind !== 'service') continue;
    serviceNames.add(type.typeName);
    for (const method of type.methods) addMethod(method);
  }
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  function addMethod(method: DescMethod): void {
    const forward = (messages: AsyncIterable<Message>, context: HandlerContext) =>
      forwardCall({ method, messages, context, registry, upstream });
    // By hand, as the router's types are for methods that are known when this is compiled.
    const kinds = {
      unary: async (message: Message, context: HandlerContext) => onlyOne(forward(just(message), context)),
      client_streaming: async (messages: AsyncIterable<Message>, context: HandlerContext) =>
        onlyOne(forward(messages, context)),
      server_streaming: (message: Message, context: HandlerContext) => forward(just(message), context),
      bidi_streaming: forward,
    };
    router.rpc(method, kinds[method.methodKind] as never);
  }

  async function answer(handler: UniversalHandler, request: HttpRequest, response: HttpResponse): Promise<void> {
    const values = createContextValues().set(peerKey, request.socket.remoteAddress);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const bounded = { ...universal, header: withBoundTimeout(universal.header) };
    const isText = isWebText(universal.header);
    const answered = isText ? toWebText(await handler(fromWebText(bounded))) : await handler(bounded);
    await universalResponseToNodeResponse(answered, response);
  }

  return {
    serves: (path) => handlers.has(path),
    handle(request, response) {
      const [path = ''] = (request.url ?? '').split('?');
      const handler = handlers.get(path);
      if (handler === undefined) throw new TypeError('There is no such method.');
      if (oneMessageKinds.has(handler.method.methodKind)) {
        request.setTimeout(stallTimeoutMs, () => end(request));
        request.once('end', () => request.setTimeout(0));
      }
      answer(handler, request, response).catch((error: unknown) => {
        const { code, cause } = ConnectError.from(error);
        // While nothing or something was being written.
        const hasGone =
          code === Code.Canceled || code === Code.Aborted || (cause instanceof Error && 'syscall' in cause);
        if (!hasGone) onError(error);
        // An end without what belongs there would pass for all there is.
        if (response.headersSent) response.destroy();
        else {
          response.statusCode = hasGone ? 400 : 500;
          response.end();
        }
      });
    },
    serviceNames,
    isReachable: upstream.isReachable,
    close: upstream.close,
  };
}

/** At once; of a connection that others share, this request only. */
function end(request: HttpRequest): void {
  if ('stream' in request) request.stream.close(http2.NGHTTP2_CANCEL);
  else request.destroy();
}

interface Call {
  readonly method: DescMethod;
  readonly messages: AsyncIterable<Message>;
  readonly context: HandlerContext;
  readonly registry: Registry;
  readonly upstream: ReturnType<typeof createUpstream>;
}

/** The call as it came, to the server behind, and back what that answers. */
async function* forwardCall({ method, messages, context, registry, upstream }: Call): AsyncGenerator<Message> {
  const { transport, release } = upstream.lend();
  let trailer: Headers | undefined;
  let isWhole = false;
  try {
    const timeoutMs = context.timeoutMs();
    // The transport takes this for no deadline at all.
    if (timeoutMs !== undefined && timeoutMs <= 0) {
      throw new ConnectError('the operation timed out', Code.DeadlineExceeded);
    }
    const metadata = requestMetadata(context.requestHeader, context.values.get(peerKey));
    // Whatever its kind, which is the same on the wire: only so headers and trailers are told apart where a call fails.
    const asStream = method as DescMethodBiDiStreaming;
    const response = await transport.stream(asStream, context.signal, timeoutMs, metadata, messages);
    trailer = response.trailer;
    addResponseMetadata(context.responseHeader, response.header);
    yield* response.message;
    isWhole = true;
    addResponseMetadata(context.responseTrailer, trailer);
  } catch (error) {
    throw passedOn(ConnectError.from(error), trailer, registry);
  } finally {
    release(isWhole);
  }
}

/** What the server behind said, as if it had been said to the caller at once. */
function passedOn(error: ConnectError, trailer: Headers | undefined, registry: Registry): ConnectError {
  // The system's words for what went wrong with the connection; they tell where the server is.
  if (error.cause instanceof Error && 'code' in error.cause) {
    return new ConnectError(
      'the server cannot be reached, or went away',
      Code.Unavailable,
      undefined,
      undefined,
      error,
    );
  }
  const metadata = new Headers();
  // Without a trailer there was one block of headers, or nothing.
  addResponseMetadata(metadata, trailer ?? error.metadata);
  const passed = new ConnectError(error.rawMessage, error.code, metadata, undefined, error);
  passed.details = readableDetails(error.details, registry);
  return passed;
}

async function* just(message: Message): AsyncGenerator<Message> {
  yield message;
}

async function onlyOne(messages: AsyncIterable<Message>): Promise<Message> {
  let only: Message | undefined;
  for await (const message of messages) {
    if (only !== undefined) throw new ConnectError('the server answered with several messages', Code.Internal);
    only = message;
  }
  if (only === undefined) throw new ConnectError('the server answered without a message', Code.Internal);
  return only;
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };

/** As long a timeout as all parts on the way can count. */
function withBoundTimeout(header: Headers): Headers {
  // With more digits than these they are none, and refused.
  const [, digits, unit = ''] = /^(\d{1,8})([HMS])$/.exec(header.get('grpc-timeout') ?? '') ?? [];
  const isLongGrpc = Number(digits) * (unitMs[unit] ?? 1) > timeoutMsMax;
  const [connectMs] = /^\d{1,10}$/.exec(header.get('connect-timeout-ms') ?? '') ?? [];
  const isLongConnect = Number(connectMs) > timeoutMsMax;
  if (!isLongGrpc && !isLongConnect) return header;
  const bounded = new Headers(header);
  if (isLongGrpc) bounded.set('grpc-timeout', `${timeoutMsMax}m`);
  if (isLongConnect) bounded.set('connect-timeout-ms', String(timeoutMsMax));
  return bounded;
}
