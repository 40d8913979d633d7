/** Unary calls to the server behind the gateway, in bytes. They take fewer steps than connect's transports. */
import type { DescMethod, DescMethodBiDiStreaming, Message } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { frame, prefixBytes } from '../grpc-server/framing.js';
import { type ClientStream, StreamReset } from '../grpc-server/memory-stream.js';
import { type Connection, fieldOf, type HeaderFields } from '../grpc-server/stream.js';
import { opaqueBytes, opaqueMethod, toOpaque } from './opaque-message.js';

export interface UnaryRequest {
  readonly method: DescMethod;
  /** Such as `/users.v1.UserService/GetUser`. */
  readonly path: string;
  /** That of the client. */
  readonly connection: Connection;
  readonly metadata: HeaderFields;
  readonly timeoutMs: number | undefined;
  /** Undefined for a call that the server refuses at its header. */
  readonly message: Uint8Array | undefined;
}

export interface UnaryAnswer {
  /** The header and the trailer of the server, which include fields of the protocol. */
  readonly header: HeaderFields;
  readonly trailer: HeaderFields;
  readonly result: Uint8Array | ConnectError;
}

export interface UnaryExchange {
  /** Contains the error of a call that has failed. Rejects only if the server breaks the protocol. */
  readonly answer: Promise<UnaryAnswer>;
  /** Has no effect after the answer. */
  cancel(): void;
}

/** The header of a request to a gRPC server of this process. */
export function ownRequestFields({ path, metadata, timeoutMs }: UnaryRequest): HeaderFields {
  const fields = [':method', 'POST', ':path', path, 'content-type', 'application/grpc+proto', 'te', 'trailers'];
  if (timeoutMs !== undefined) fields.push('grpc-timeout', `${timeoutMs}m`);
  fields.push(...metadata);
  return fields;
}

/** Sends the request, and reads the answer. */
export async function exchangeOwn(stream: ClientStream, message: Uint8Array | undefined): Promise<UnaryAnswer> {
  if (message !== undefined) void stream.send(frame(message));
  stream.endRequest();
  let header: HeaderFields = [];
  try {
    header = await stream.header;
    const bytes = await readToEnd(stream);
    const trailer = stream.trailers ?? [];
    // An answer without a message may be only a header, which is its trailer too.
    const hasTrailer = stream.trailers !== undefined;
    const status = hasTrailer ? trailer : header;
    const result = fieldOf(status, 'grpc-status') === '0' ? onlyMessage(bytes) : errorOf(header, status);
    return hasTrailer ? { header, trailer, result } : { header: [], trailer: header, result };
  } catch (error) {
    if (!(error instanceof StreamReset)) throw error;
    return { header, trailer: [], result: new ConnectError('The server has reset the stream.', Code.Canceled) };
  }
}

async function readToEnd(stream: ClientStream): Promise<Uint8Array> {
  const first = await stream.read();
  if (first === undefined) return Buffer.alloc(0);
  let chunks: Uint8Array[] | undefined;
  for (let next = await stream.read(); next !== undefined; next = await stream.read()) {
    chunks ??= [first];
    chunks.push(next);
  }
  return chunks === undefined ? first : Buffer.concat(chunks);
}

/** The server is Roster's own, so it sends complete messages. */
function onlyMessage(bytes: Uint8Array): Uint8Array | ConnectError {
  if (bytes.length === 0) return new ConnectError('The server sent no response.', Code.Internal);
  const length = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32BE(1);
  if (bytes[0] !== 0 || bytes.length !== prefixBytes + length) {
    return new ConnectError('The server sent more than one response, or a compressed one.', Code.Internal);
  }
  return bytes.subarray(prefixBytes);
}

function errorOf(header: HeaderFields, status: HeaderFields): ConnectError {
  const httpStatus = fieldOf(header, ':status');
  if (httpStatus !== '200') return new ConnectError(`HTTP ${httpStatus}`, Code.Unknown);
  const statusHeaders = new Headers();
  for (let index = 0; index < status.length; index += 2) {
    const name = status[index] ?? '';
    if (name.startsWith('grpc-')) statusHeaders.append(name, status[index + 1] ?? '');
  }
  return findTrailerError(statusHeaders) ?? new ConnectError('The server sent no status.', Code.Internal);
}

/** Sends the request over the network, and reads the answer. */
export async function exchangeOver(
  transport: Transport,
  { method, metadata, connection, timeoutMs, message }: UnaryRequest,
  signal: AbortSignal,
): Promise<UnaryAnswer> {
  const headers = new Headers({ 'x-forwarded-for': connection.peer });
  for (let index = 0; index < metadata.length; index += 2) {
    headers.append(metadata[index] ?? '', metadata[index + 1] ?? '');
  }
  // All kinds are equal on the wire, but only this one separates headers from trailers if a call fails.
  const asStream = opaqueMethod(method) as DescMethodBiDiStreaming;
  let header: Headers | undefined;
  let trailer: Headers | undefined;
  try {
    const response = await transport.stream(
      asStream,
      signal,
      timeoutMs,
      headers,
      just(toOpaque(message ?? new Uint8Array())),
    );
    ({ header, trailer } = response);
    const messages: Message[] = [];
    for await (const each of response.message) messages.push(each);
    return { header: fieldsOf(header), trailer: fieldsOf(trailer), result: onlyOne(messages) };
  } catch (error) {
    const result = ConnectError.from(error);
    // Without a trailer the server sent one block of headers, or nothing.
    return { header: fieldsOf(header), trailer: fieldsOf(trailer ?? result.metadata), result };
  }
}

function onlyOne([only, ...more]: readonly Message[]): Uint8Array | ConnectError {
  if (more.length > 0) return new ConnectError('The server sent more than one response.', Code.Internal);
  if (only === undefined) return new ConnectError('The server sent no response.', Code.Internal);
  return opaqueBytes(only);
}

async function* just(message: Message): AsyncGenerator<Message> {
  yield message;
}

function fieldsOf(headers: Headers | undefined): HeaderFields {
  return [...(headers ?? [])].flat();
}
