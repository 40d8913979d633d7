/**
 * Calls on their way to the server behind the gateway, and its answers on their way back. connect-node speaks the protocols;
 * the messages of requests do not pass through it, see GatewayCall.
 */
import { promisify } from 'node:util';
import { brotliCompress as brotliCompressed, constants } from 'node:zlib';
import type { DescMethod, DescMethodBiDiStreaming, DescService, Message, Registry } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createConnectRouter, createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { Fault } from '../model/fault.js';
import { readableDetails } from './error-details.js';
import { addResponseMetadata, requestMetadata } from './metadata.js';
import { fromOpaque, opaqueMethod, toOpaque } from './opaque-message.js';
import { type Refusal, toConnectError } from './refusal.js';
import type { Upstream } from './upstream.js';

/** One call, from its first byte to its last. */
export interface GatewayCall {
  /** The address of the client. */
  readonly peer: string | undefined;
  readonly requestId: string;
  /**
   * The next messages, as protobuf bytes. For each of them connect-node gets an empty message: its own way to read messages
   * has no limits but for bytes, and errors that repeat what was sent.
   */
  readonly messages: Uint8Array[];
  /** Why the gateway does not pass on the call, or not all of it. */
  refusal: Refusal | undefined;
  isForwarded: boolean;
}

export const callKey = createContextKey<GatewayCall | undefined>(undefined);

export interface ForwardOptions {
  readonly registry: Registry;
  readonly upstream: Upstream;
  /** Whether answers are to be JSON. Binary ones are passed on as they are. */
  readonly isJson: boolean;
}

// For bytes that are made once and sent once: Node's own 11 takes fifty times as long.
const brotliQuality = 4;
const brotliCompress = promisify(brotliCompressed);
const brotli: typeof compressionBrotli = {
  ...compressionBrotli,
  compress: async (bytes) =>
    new Uint8Array(await brotliCompress(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } })),
};

/** A handler for each method, by its path. */
export function createHandlers(
  services: readonly DescService[],
  options: ForwardOptions,
): ReadonlyMap<string, UniversalHandler> {
  const { registry, isJson } = options;
  const router = createConnectRouter({ acceptCompression: [compressionGzip, brotli], jsonOptions: { registry } });
  for (const method of services.flatMap(({ methods }) => methods)) {
    const forward = (messages: AsyncIterable<Message>, context: HandlerContext) =>
      forwardCall(method, messages, context, options);
    // By hand, as the router's types are for methods that are known when this is compiled.
    const kinds = {
      unary: async (message: Message, context: HandlerContext) => onlyOne(forward(just(message), context)),
      client_streaming: async (messages: AsyncIterable<Message>, context: HandlerContext) =>
        onlyOne(forward(messages, context)),
      server_streaming: (message: Message, context: HandlerContext) => forward(just(message), context),
      bidi_streaming: forward,
    };
    const seen = isJson ? { ...method, input: EmptySchema } : opaqueMethod(method);
    router.rpc(seen as DescMethod, kinds[method.methodKind] as never);
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** The call as it came, to the server behind, and back what that answers. */
async function* forwardCall(
  method: DescMethod,
  messages: AsyncIterable<Message>,
  context: HandlerContext,
  { registry, upstream, isJson }: ForwardOptions,
): AsyncGenerator<Message> {
  const call = context.values.get(callKey);
  if (call === undefined) throw new TypeError('The context has no call.');
  const timeoutMs = context.timeoutMs();
  // The transport takes this for no deadline at all.
  if (timeoutMs !== undefined && timeoutMs <= 0) {
    call.refusal = new Fault('DEADLINE_PASSED', 'The deadline has passed.');
    throw toConnectError(call.refusal, call.requestId, registry);
  }
  const { transport, release } = upstream.lend();
  let trailer: Headers | undefined;
  let isWhole = false;
  try {
    const metadata = requestMetadata(context.requestHeader, call.peer);
    // Whatever its kind, which is the same on the wire: only so headers and trailers are told apart where a call fails.
    const asStream = opaqueMethod(method) as DescMethodBiDiStreaming;
    call.isForwarded = true;
    const sent = sentMessages(messages, call);
    const response = await transport.stream(asStream, context.signal, timeoutMs, metadata, sent);
    trailer = response.trailer;
    addResponseMetadata(context.responseHeader, response.header);
    for await (const message of response.message) yield isJson ? await fromOpaque(method.output, message) : message;
    isWhole = true;
    addResponseMetadata(context.responseTrailer, trailer);
  } catch (error) {
    if (call.refusal !== undefined) throw toConnectError(call.refusal, call.requestId, registry);
    throw passedOn(ConnectError.from(error), trailer, registry);
  } finally {
    release(isWhole);
  }
}

/** The real messages in the place of the empty ones. */
async function* sentMessages(messages: AsyncIterable<Message>, call: GatewayCall): AsyncGenerator<Message> {
  for await (const _ of messages) {
    const bytes = call.messages.shift();
    if (bytes !== undefined) yield toOpaque(bytes);
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
