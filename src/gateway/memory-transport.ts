/**
 * Calls the gRPC server of this process without a socket. connect implements the client's side of gRPC, as it does over
 * the network, and this carries its headers and bytes.
 */
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import type { UniversalClientFn } from '@connectrpc/connect/protocol';
import { createTransport } from '@connectrpc/connect/protocol-grpc';
import { type ClientStream, StreamReset } from '../grpc-server/memory-stream.js';
import type { GrpcServer } from '../grpc-server/server.js';
import { type Connection, fieldOf, type HeaderFields } from '../grpc-server/stream.js';

export interface OwnServer {
  /** Starts a call on the gRPC server of this process. May throw a Fault. */
  readonly call: GrpcServer['call'];
  /** Whether the server accepts the credentials in these fields, or on this connection. The default is that it does. */
  knowsCaller?(fields: HeaderFields, connection: Connection): boolean | Promise<boolean>;
}

// connect needs a URL, of which only the path is used.
const baseUrl = 'http://roster';

// The server limits messages.
const bytesMax = 0xffffffff;

/** Returns a transport for the calls of the client with this connection. */
export function createMemoryTransport(call: OwnServer['call'], connection: Connection): Transport {
  return createTransport({
    httpClient: createMemoryClient(call, connection),
    baseUrl,
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: bytesMax,
    readMaxBytes: bytesMax,
    writeMaxBytes: bytesMax,
  });
}

function createMemoryClient(call: OwnServer['call'], connection: Connection): UniversalClientFn {
  return async ({ url, header, body, signal }) => {
    signal?.throwIfAborted();
    const stream = call(requestFields(url.slice(baseUrl.length), header), connection);
    const exchange: Exchange = { stream, signal, sendError: undefined };
    signal?.addEventListener('abort', () => stream.cancel(), { once: true });
    void sendAll(exchange, body);
    const fields = await received(exchange, stream.header);
    // A response that is only a header has to be read to its end too. Its status is in the header.
    if (fieldOf(fields, 'grpc-status') !== undefined) await stream.read();
    const trailer = new Headers();
    return {
      status: Number(fieldOf(fields, ':status')),
      header: headersOf(fields),
      body: readAll(exchange, trailer),
      trailer,
    };
  };
}

interface Exchange {
  readonly stream: ClientStream;
  readonly signal: AbortSignal | undefined;
  /** Why the request has no end. */
  sendError: unknown;
}

/** Sends the request at the speed of the server. Cancels the call if the request fails. */
async function sendAll(exchange: Exchange, body: AsyncIterable<Uint8Array> | undefined): Promise<void> {
  const { stream, signal } = exchange;
  try {
    for await (const chunk of body ?? []) {
      if (signal?.aborted) return;
      await stream.send(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    }
    stream.endRequest();
  } catch (error) {
    exchange.sendError = error;
    stream.cancel();
  }
}

async function* readAll(exchange: Exchange, trailer: Headers): AsyncGenerator<Uint8Array> {
  const { stream } = exchange;
  try {
    while (true) {
      const chunk = await received(exchange, stream.read());
      if (chunk === undefined) break;
      yield chunk;
    }
    appendFields(trailer, stream.trailers ?? []);
  } finally {
    stream.cancel();
  }
}

/** Awaits a part of the response. Throws the reason if the call has been reset. */
async function received<T>(exchange: Exchange, part: Promise<T>): Promise<T> {
  try {
    return await part;
  } catch (error) {
    if (!(error instanceof StreamReset)) throw error;
    if (exchange.signal?.aborted) throw exchange.signal.reason;
    throw exchange.sendError ?? new ConnectError('The server has reset the stream.', Code.Canceled);
  }
}

function requestFields(path: string, header: Headers): HeaderFields {
  const fields = [':method', 'POST', ':path', path];
  for (const [name, value] of header) fields.push(name, value);
  return fields;
}

function headersOf(fields: HeaderFields): Headers {
  const headers = new Headers();
  appendFields(headers, fields);
  return headers;
}

function appendFields(headers: Headers, fields: HeaderFields): void {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    if (!name.startsWith(':')) headers.append(name, fields[index + 1] ?? '');
  }
}
