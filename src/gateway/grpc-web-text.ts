/**
 * gRPC-Web as text, for browsers and proxies that spoil bytes: the same as binary gRPC-Web, in base64. connect-node has the
 * binary form only.
 */
import type { UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol';
import type { Fault } from '../model/fault.js';
import { invalidRequest } from './json-message.js';

const textType = /^application\/grpc-web-text(?=[+;]|$)/i;
const binaryType = 'application/grpc-web';

export interface ByteRequest extends UniversalServerRequest {
  readonly body: AsyncIterable<Uint8Array>;
}

export function isWebText(headers: Headers): boolean {
  return textType.test(headers.get('content-type') ?? '');
}

/** The request as binary gRPC-Web. */
export function fromWebText(request: ByteRequest): ByteRequest {
  const header = new Headers(request.header);
  header.set('content-type', (header.get('content-type') ?? '').replace(textType, binaryType));
  return { ...request, header, body: decodeBase64(request.body) };
}

/** The response of binary gRPC-Web as text. */
export function toWebText(response: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(response.header);
  header.set('content-type', (header.get('content-type') ?? '').replace(binaryType, 'application/grpc-web-text'));
  return { ...response, header, body: response.body && encodeBase64(response.body) };
}

/** Several texts one behind the other, each with padding of its own, may be one body. Throws where it is no base64. */
async function* decodeBase64(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = '';
  for await (const chunk of chunks) {
    const text = rest + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    const end = text.length - (text.length % 4);
    rest = text.slice(end);
    if (end > 0) yield decodeQuads(text.slice(0, end));
  }
  if (rest !== '') throw noBase64();
}

function decodeQuads(text: string): Uint8Array {
  if (!/^[A-Za-z\d+/=]*$/.test(text)) throw noBase64();
  // Padding may stand between two texts, where Node would take it for the end.
  return Buffer.concat((text.match(/[^=]+={0,2}/g) ?? []).map((part) => Buffer.from(part, 'base64')));
}

/** Each chunk is a text of its own, as waiting for three bytes to be full would hold a message back. */
async function* encodeBase64(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield Buffer.from(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('base64'), 'latin1');
  }
}

function noBase64(): Fault {
  return invalidRequest('The body is not valid base64.');
}
