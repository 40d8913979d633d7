/**
 * Sends calls with streams by the Connect protocol, in protobuf's binary format, and decompresses the messages of answers.
 *
 * Rejects with a CallError, or with an AbortError if the signal was aborted.
 */
import type { DeepPartial, MessageFns } from '../../generated/users/v1/user_service.js';
import { answerError, incompleteAnswer, unreadableAnswer } from './answer-error.js';
import { type Bytes, Call, decoded, type Method, type SendOptions, tryParseJson } from './connect.js';

const contentType = 'application/connect+proto';

export async function* sendStream<Request, Response>(
  origin: string,
  { path, encode, decode }: Method<Request, Response>,
  message: DeepPartial<Request>,
  options: SendOptions,
): AsyncGenerator<Response, void> {
  const body = frameOf(encode(message));
  const call = new Call(options);
  try {
    const frames = await call.run(async () => {
      const headers = { 'connect-accept-encoding': 'gzip' };
      const answer = await call.post(origin + path, contentType, body, headers);
      if (answer.body === null) throw incompleteAnswer();
      return framesOf(answer.body);
    });
    while (true) {
      const bytes = await call.run(() => nextMessage(frames));
      if (bytes === undefined) return;
      yield decoded(decode, bytes);
    }
  } finally {
    // Closes the connection, because the caller may have stopped reading.
    call.close();
  }
}

/**
 * Sends all messages of a client stream in one body, because browsers cannot stream a request over HTTP/1.1. A Blob can be
 * on disk.
 */
export async function sendMessages<Response>(
  origin: string,
  { path, decode }: Pick<Method<never, Response>, 'path' | 'decode'>,
  messages: Blob,
  options: SendOptions,
): Promise<Response> {
  const call = new Call(options);
  try {
    return await call.run(async () => {
      const headers = { 'connect-accept-encoding': 'gzip' };
      const answer = await call.post(origin + path, contentType, messages, headers);
      if (answer.body === null) throw incompleteAnswer();
      const frames = framesOf(answer.body);
      const bytes = await nextMessage(frames);
      if (bytes === undefined) throw unreadableAnswer();
      // The status follows the message.
      await nextMessage(frames);
      return decoded(decode, bytes);
    });
  } finally {
    call.close();
  }
}

export function bytesOf<T>(type: MessageFns<T>, message: DeepPartial<T>): Bytes {
  return new Uint8Array(type.encode(type.fromPartial(message)).finish());
}

/** Joins the parts of a message to the message of a stream. */
export function framedBlob(parts: readonly Bytes[]): Blob {
  const prefix = new DataView(new ArrayBuffer(prefixBytes));
  prefix.setUint32(
    1,
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  return new Blob([prefix, ...parts]);
}

/** In streams each message has a prefix: a byte with flags, and four bytes with the length. */
interface Frame {
  readonly flags: number;
  readonly bytes: Bytes;
}

/** Returns undefined at the end of the stream. */
async function nextMessage(frames: AsyncGenerator<Frame, undefined>): Promise<Bytes | undefined> {
  const { value } = await frames.next();
  if (value === undefined) throw incompleteAnswer();
  const { flags } = value;
  const bytes = (flags & compressedFlag) === 0 ? value.bytes : await decompress(value.bytes);
  if ((flags & endFlag) === 0) return bytes;
  const end = tryParseJson(bytes);
  if (typeof end !== 'object' || end === null) throw unreadableAnswer();
  if ('error' in end) throw answerError(end.error) ?? unreadableAnswer();
  return undefined;
}

const prefixBytes = 5;
const compressedFlag = 1;
const endFlag = 2;

function frameOf(message: Bytes): Bytes {
  const bytes = new Uint8Array(prefixBytes + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, prefixBytes);
  return bytes;
}

async function* framesOf(body: ReadableStream<Bytes>): AsyncGenerator<Frame, undefined> {
  const reader = body.getReader();
  let rest: Bytes = new Uint8Array();
  while (true) {
    const length = rest.length < prefixBytes ? Number.POSITIVE_INFINITY : new DataView(rest.buffer).getUint32(1);
    const end = prefixBytes + length;
    if (rest.length >= end) {
      yield { flags: rest[0] ?? 0, bytes: rest.slice(prefixBytes, end) };
      rest = rest.slice(end);
      continue;
    }
    const { value } = await reader.read();
    if (value === undefined) return undefined;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
  }
}

async function decompress(bytes: Bytes): Promise<Bytes> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
