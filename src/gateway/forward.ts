/**
 * Forwards calls to the server behind the gateway, and its answers to the client. connect-node implements the
 * protocols, but request messages bypass it (see GatewayCall).
 */
import type { DescMethod, DescMethodBiDiStreaming, DescService, Message, Registry } from '@bufbuild/protobuf';
import { Code, ConnectError, createConnectRouter, createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import type { Connection } from '../grpc-server/stream.js';
import { Fault } from '../model/fault.js';
import { compressions } from './compressions.js';
import { passedOn } from './error-details.js';
import { errorHeaders } from './error-headers.js';
import { jsonOfAnswer } from './json-answer.js';
import { addResponseMetadata, requestMetadata } from './metadata.js';
import { opaqueMethod, toOpaque } from './opaque-message.js';
import { type Refusal, toConnectError } from './refusal.js';
import type { Upstream } from './upstream.js';

export interface GatewayCall {
  readonly connection: Connection;
  readonly requestId: string;
  /**
   * The next messages, as protobuf bytes. connect-node gets an empty message for each of them, because its own reader
   * limits only bytes, and its errors repeat what was sent.
   */
  readonly messages: Uint8Array[];
  /** Whether to convert answers to JSON. Otherwise they are forwarded unchanged. */
  isJson: boolean;
  /** Why the gateway does not forward the call, or only part of it. */
  refusal: Refusal | undefined;
  isForwarded: boolean;
}

export const callKey = createContextKey<GatewayCall | undefined>(undefined);

export interface ForwardOptions {
  readonly registry: Registry;
  readonly upstream: Upstream;
}

/** A handler for each method, by its path. It reads and writes only binary protocols. */
export function createHandlers(
  services: readonly DescService[],
  options: ForwardOptions,
): ReadonlyMap<string, UniversalHandler> {
  const { registry } = options;
  const router = createConnectRouter({ acceptCompression: [...compressions], jsonOptions: { registry } });
  for (const method of services.flatMap(({ methods }) => methods)) {
    const forward = (messages: AsyncIterable<Message>, context: HandlerContext) =>
      forwardCall(method, messages, context, options);
    // Without the router's types, which need methods that are known at compile time.
    const kinds = {
      unary: async (message: Message, context: HandlerContext) => onlyOne(forward(just(message), context)),
      client_streaming: async (messages: AsyncIterable<Message>, context: HandlerContext) =>
        onlyOne(forward(messages, context)),
      server_streaming: (message: Message, context: HandlerContext) => forward(just(message), context),
      bidi_streaming: forward,
    };
    router.rpc(opaqueMethod(method), kinds[method.methodKind] as never);
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** Forwards a call unchanged, and yields the server's answers. */
async function* forwardCall(
  method: DescMethod,
  messages: AsyncIterable<Message>,
  context: HandlerContext,
  { registry, upstream }: ForwardOptions,
): AsyncGenerator<Message> {
  const call = context.values.get(callKey);
  if (call === undefined) throw new TypeError('The context has no call.');
  const timeoutMs = context.timeoutMs();
  // The transport treats such a timeout as no deadline.
  if (timeoutMs !== undefined && timeoutMs <= 0) {
    call.refusal = new Fault('DEADLINE_PASSED', 'The deadline has passed.');
    throw toConnectError(call.refusal, call.requestId, registry);
  }
  const { transport, release } = upstream.lend(call.connection);
  let trailer: Headers | undefined;
  let isWhole = false;
  try {
    const metadata = requestMetadata(
      context.requestHeader,
      upstream.carriesConnection ? undefined : call.connection.peer,
    );
    // All kinds are equal on the wire, but only this one separates headers from trailers if a call fails.
    const asStream = opaqueMethod(method) as DescMethodBiDiStreaming;
    call.isForwarded = true;
    const sent = sentMessages(messages, call);
    const response = await transport.stream(asStream, context.signal, timeoutMs, metadata, sent);
    trailer = response.trailer;
    addResponseMetadata(context.responseHeader, response.header);
    for await (const message of response.message) {
      yield call.isJson ? toOpaque(await jsonOfAnswer(method.output, message, registry)) : message;
    }
    isWhole = true;
    addResponseMetadata(context.responseTrailer, trailer);
  } catch (error) {
    if (call.refusal !== undefined) throw toConnectError(call.refusal, call.requestId, registry);
    const sent = ConnectError.from(error);
    if (sent.cause instanceof Fault) {
      // The server of this process has not started the call, so it does not log it.
      call.isForwarded = false;
      call.refusal = sent.cause;
      throw toConnectError(sent.cause, call.requestId, registry);
    }
    const passed = passedOn(sent, registry);
    // Without a trailer the server sent one block of headers, or nothing.
    addResponseMetadata(passed.metadata, trailer ?? sent.metadata);
    for (const [name, value] of errorHeaders(passed)) {
      if (!passed.metadata.has(name)) passed.metadata.set(name, value);
    }
    throw passed;
  } finally {
    release(isWhole);
  }
}

/** Replaces the empty messages by the real ones. */
async function* sentMessages(messages: AsyncIterable<Message>, call: GatewayCall): AsyncGenerator<Message> {
  for await (const _ of messages) {
    const bytes = call.messages.shift();
    if (bytes !== undefined) yield toOpaque(bytes);
  }
}

async function* just(message: Message): AsyncGenerator<Message> {
  yield message;
}

async function onlyOne(messages: AsyncIterable<Message>): Promise<Message> {
  let only: Message | undefined;
  for await (const message of messages) {
    if (only !== undefined) throw new ConnectError('The server sent more than one response.', Code.Internal);
    only = message;
  }
  if (only === undefined) throw new ConnectError('The server sent no response.', Code.Internal);
  return only;
}
