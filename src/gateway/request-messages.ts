/**
 * Reads the messages of a request from its body: counts their bytes, decompresses them up to the limit of the method,
 * and returns them as protobuf bytes. It checks the size of a message before it parses it.
 *
 * Binary messages are not decoded here. The server behind the gateway decodes them and limits the cost.
 */
import { promisify } from 'node:util';
import { brotliDecompress, gunzip } from 'node:zlib';
import type { DescMethod, Registry } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Code } from '@connectrpc/connect';
import type { ByteHold } from '../grpc-server/byte-budget.js';
import { ByteCollector } from '../grpc-server/byte-collector.js';
import { CallError } from '../grpc-server/call-error.js';
import { type Frame, FrameReader, prefixBytes } from '../grpc-server/framing.js';
import { invalidRequest } from '../model/fault.js';
import { malformed } from '../rpc/message-reader.js';
import { requestTooLarge } from '../rpc/wire-definition.js';
import { readJsonMessage } from './json-message.js';
import { ProtocolError } from './refusal.js';

type Bytes = AsyncIterable<Uint8Array>;

export interface RequestFormat {
  readonly method: DescMethod;
  readonly isJson: boolean;
  /** Whether flags and a length precede each message, as in gRPC-Web and in Connect streams. */
  readonly isEnveloped: boolean;
  /** The compression of compressed messages, or of the whole body. */
  readonly encoding: string | null;
  /** The maximum size of one decompressed message. */
  readonly bytesMax: number;
  /** The Content-Length of a body that is one message, otherwise 0. */
  readonly announcedBytes: number;
}

/** The maximum number of top-level fields of a binary request. Each item of a repeated field counts. */
const fieldsMax = 50_000;

const decompressors: Readonly<
  Record<string, (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>>
> = {
  gzip: promisify(gunzip),
  br: promisify(brotliDecompress),
};

export const encodings = Object.keys(decompressors);

/** Throws a Fault or a ProtocolError if it refuses a message. */
export async function* readMessages(
  body: Bytes,
  format: RequestFormat,
  hold: ByteHold,
  registry: Registry,
): AsyncGenerator<Uint8Array> {
  const { method, isEnveloped, encoding, bytesMax, announcedBytes } = format;
  if (announcedBytes > bytesMax) throw requestTooLarge(bytesMax);
  const isOne = !streamsRequests(method);
  let count = 0;
  for await (const { isCompressed, bytes: sent } of isEnveloped
    ? readEnvelopes(body, bytesMax, hold)
    : readWhole(body, { bytesMax, isCompressed: encoding !== null, hold })) {
    if (isOne && count++ > 0) throw new ProtocolError(Code.Unimplemented, 'This method takes exactly one message.');
    const bytes = isCompressed ? await decompress(sent, encoding, bytesMax) : sent;
    if (bytes.length > bytesMax) throw requestTooLarge(bytesMax);
    hold.add(bytes.length);
    yield await toProtobuf(bytes, format, registry);
    hold.remove(bytes.length);
  }
  if (isOne && count === 0) throw new ProtocolError(Code.Unimplemented, 'This method takes exactly one message.');
}

/** Returns the message of a body that is one message, as protobuf bytes. Throws a Fault or a ProtocolError. */
export async function readOnlyMessage(
  body: Buffer,
  format: RequestFormat,
  hold: ByteHold,
  registry: Registry,
): Promise<Uint8Array> {
  const { encoding, bytesMax } = format;
  const bytes = encoding !== null && body.length > 0 ? await decompress(body, encoding, bytesMax) : body;
  hold.add(bytes.length);
  const message = await toProtobuf(bytes, format, registry);
  hold.remove(bytes.length);
  return message;
}

function toProtobuf(bytes: Buffer, { method, isJson }: RequestFormat, registry: Registry) {
  if (isJson) return readJsonMessage(method.input, bytes, registry);
  checkBinary(bytes);
  return bytes;
}

export function streamsRequests({ methodKind }: DescMethod): boolean {
  return methodKind === 'client_streaming' || methodKind === 'bidi_streaming';
}

async function* readWhole(
  body: Bytes,
  { bytesMax, isCompressed, hold }: { bytesMax: number; isCompressed: boolean; hold: ByteHold },
): AsyncGenerator<Frame> {
  const collected = new ByteCollector();
  for await (const chunk of body) {
    collected.push(chunk);
    hold.add(chunk.length);
    if (collected.length > bytesMax) throw requestTooLarge(bytesMax);
  }
  hold.remove(collected.length);
  yield { isCompressed: isCompressed && collected.length > 0, bytes: collected.take(collected.length) };
}

async function* readEnvelopes(body: Bytes, bytesMax: number, hold: ByteHold): AsyncGenerator<Frame> {
  const reader = new FrameReader(bytesMax);
  for await (const chunk of body) {
    reader.push(chunk);
    hold.add(chunk.length);
    for (let next = nextFrame(reader, bytesMax); next !== undefined; next = nextFrame(reader, bytesMax)) {
      hold.remove(prefixBytes + next.bytes.length);
      yield next;
    }
  }
  if (reader.bufferedBytes > 0) {
    throw new ProtocolError(Code.InvalidArgument, 'The request ends in the middle of a message.');
  }
}

function nextFrame(reader: FrameReader, bytesMax: number): Frame | undefined {
  try {
    return reader.next();
  } catch (error) {
    if (error instanceof CallError && error.cause === 'MESSAGE_TOO_LARGE') throw requestTooLarge(bytesMax);
    throw new ProtocolError(Code.InvalidArgument, 'The request has a message with unknown flags.');
  }
}

async function decompress(bytes: Buffer, encoding: string | null, bytesMax: number): Promise<Buffer> {
  const decompressor = decompressors[encoding ?? ''];
  if (decompressor === undefined) {
    throw new ProtocolError(
      Code.Internal,
      'The request has a compressed message, but no header names the compression.',
    );
  }
  if (bytes.length === 0) return bytes;
  try {
    return await decompressor(bytes, { maxOutputLength: bytesMax });
  } catch (error) {
    const isTooLarge = error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    throw isTooLarge ? requestTooLarge(bytesMax) : invalidRequest('The request cannot be decompressed.');
  }
}

/** Skips over the fields of a message without decoding them. */
function checkBinary(bytes: Uint8Array): void {
  const reader = new BinaryReader(bytes);
  let count = 0;
  try {
    while (reader.pos < reader.len && count <= fieldsMax) {
      const [number, wireType] = reader.tag();
      reader.skip(wireType, number);
      count++;
    }
  } catch {
    throw malformed();
  }
  if (count > fieldsMax) throw invalidRequest(`The request must have at most ${fieldsMax} fields and items.`);
}
