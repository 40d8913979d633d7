/**
 * Converts gRPC-Web text, which is binary gRPC-Web in base64 for browsers and proxies that corrupt bytes. connect-node
 * supports only the binary form.
 */
import type { UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { type Fault, invalidRequest } from '../model/fault.js';

const textType = /^application\/grpc-web-text(?=[+;]|$)/i;
const binaryType = 'application/grpc-web';

export interface ByteRequest extends UniversalServerRequest {
  readonly body: AsyncIterable<Uint8Array>;
}

export function isWebText(headers: Headers): boolean {
  return textType.test(headers.get('content-type') ?? '');
}

/** Converts a request to binary gRPC-Web. */
export function fromWebText(request: ByteRequest): ByteRequest {
  const header = new Headers(request.header);
  header.set('content-type', (header.get('content-type') ?? '').replace(textType, binaryType));
  return { ...request, header, body: decodeBase64(request.body) };
}

/** Converts a binary gRPC-Web response to text. */
export function toWebText(response: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(response.header);
  header.set('content-type', (header.get('content-type') ?? '').replace(binaryType, 'application/grpc-web-text'));
  return { ...response, header, body: response.body && encodeBase64(response.body) };
}

/** Decodes a body, which may consist of several base64 texts, each with padding. Throws if it is not valid base64. */
async function* decodeBase64(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = '';
  for await (const chunk of chunks) {
    const text = rest + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    const end = text.length - (text.length % 4);
    rest = text.slice(end);
    if (end > 0) yield decodeQuads(text.slice(0, end));
  }
  if (rest !== '') throw invalidBase64();
}

function decodeQuads(text: string): Uint8Array {
  if (!/^[A-Za-z\d+/=]*$/.test(text)) throw invalidBase64();
  // Node's decoder would stop at the padding between two texts.
  return Buffer.concat((text.match(/[^=]+={0,2}/g) ?? []).map((part) => Buffer.from(part, 'base64')));
}

/** Encodes each chunk separately, because waiting for a multiple of three bytes would delay messages. */
async function* encodeBase64(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield Buffer.from(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('base64'), 'latin1');
  }
}

function invalidBase64(): Fault {
  return invalidRequest('The body is not valid base64.');
}
