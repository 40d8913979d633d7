/**
 * Sends calls by the Connect protocol, in protobuf's binary format (https://connectrpc.com/docs/protocol). Servers may
 * compress their answers: browsers decompress those of unary calls, and this file decompresses the messages of streams.
 *
 * Rejects with a CallError, or with an AbortError if the signal was aborted.
 */
import type { DeepPartial, MessageFns } from '../generated/users/v1/user_service.js';
import { answerError, incompleteAnswer, textError, unreadableAnswer } from './answer-error.js';
import { CallError, isAborted } from './call-error.js';

export interface Method<Request, Response> {
  /** Such as `/users.v1.UserService/GetUser`. */
  readonly path: string;
  readonly request: MessageFns<Request>;
  readonly response: MessageFns<Response>;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** 0 means no deadline. */
  readonly deadlineMs?: number | undefined;
}

export interface SendOptions extends CallOptions {
  readonly deadlineMs: number;
  readonly token: string | undefined;
}

export interface UnaryOptions extends SendOptions {
  /** Sends the message in this query of the address, by GET. */
  readonly query?: string | undefined;
}

export type Bytes = Uint8Array<ArrayBuffer>;

export async function sendUnary<Request, Response>(
  origin: string,
  { path, request, response }: Method<Request, Response>,
  message: DeepPartial<Request>,
  { query, ...options }: UnaryOptions,
): Promise<Response> {
  const body = bytesOf(request, message);
  const call = new Call(options);
  try {
    return await call.run(async () => {
      const type = 'application/proto';
      const answer =
        query === undefined
          ? await call.post(origin + path, type, body, {})
          : await call.fetch(origin + path + query, type, {});
      return decode(response, new Uint8Array(await answer.arrayBuffer()));
    });
  } finally {
    call.close();
  }
}

export async function* sendStream<Request, Response>(
  origin: string,
  { path, request, response }: Method<Request, Response>,
  message: DeepPartial<Request>,
  options: SendOptions,
): AsyncGenerator<Response, void> {
  const body = frameOf(bytesOf(request, message));
  const call = new Call(options);
  try {
    const frames = await call.run(async () => {
      const headers = { 'connect-accept-encoding': 'gzip' };
      const answer = await call.post(origin + path, 'application/connect+proto', body, headers);
      if (answer.body === null) throw incompleteAnswer();
      return framesOf(answer.body);
    });
    while (true) {
      const bytes = await call.run(() => nextMessage(frames));
      if (bytes === undefined) return;
      yield decode(response, bytes);
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
  { path, response }: Omit<Method<never, Response>, 'request'>,
  messages: Blob,
  options: SendOptions,
): Promise<Response> {
  const call = new Call(options);
  try {
    return await call.run(async () => {
      const headers = { 'connect-accept-encoding': 'gzip' };
      const answer = await call.post(origin + path, 'application/connect+proto', messages, headers);
      if (answer.body === null) throw incompleteAnswer();
      const frames = framesOf(answer.body);
      const bytes = await nextMessage(frames);
      if (bytes === undefined) throw unreadableAnswer();
      // The status follows the message.
      await nextMessage(frames);
      return decode(response, bytes);
    });
  } finally {
    call.close();
  }
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

/** One request, with its deadline. */
class Call {
  readonly #options: SendOptions;
  readonly #controller = new AbortController();
  readonly #abort = () => this.#controller.abort();
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #isTimedOut = false;

  constructor(options: SendOptions) {
    const { signal, deadlineMs } = options;
    this.#options = options;
    if (signal?.aborted) this.#abort();
    signal?.addEventListener('abort', this.#abort);
    if (deadlineMs === 0) return;
    this.#timer = setTimeout(() => {
      this.#isTimedOut = true;
      this.#abort();
    }, deadlineMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#abort();
  }

  /** Converts the errors of a step. */
  async run<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (this.#isTimedOut) throw new CallError('DEADLINE_EXCEEDED', 'The server did not respond in time.');
      if (error instanceof CallError || isAborted(error)) throw error;
      // There was no response, or the connection broke.
      throw incompleteAnswer();
    }
  }

  post(url: string, contentType: string, body: Bytes | Blob, headers: Record<string, string>): Promise<Response> {
    const { token, deadlineMs } = this.#options;
    return this.fetch(url, contentType, {
      method: 'POST',
      cache: 'no-store',
      headers: {
        ...headers,
        ...authorization(token),
        ...(deadlineMs === 0 ? {} : { 'connect-timeout-ms': String(Math.ceil(deadlineMs)) }),
        'connect-protocol-version': '1',
        // The page compares what it reads with the changes that it watches, which replicas of the database may lack.
        'x-roster-consistency': 'latest',
        'content-type': contentType,
      },
      body,
    });
  }

  /** Resolves if the response has this content type. */
  async fetch(url: string, contentType: string, init: RequestInit): Promise<Response> {
    const response = await fetch(url, { ...init, signal: this.#controller.signal });
    const type = response.headers.get('content-type') ?? '';
    if (response.status === 200 && type === contentType) return response;
    const isJson = type.startsWith('application/json');
    throw (isJson ? answerError(parseJson(await response.arrayBuffer())) : undefined) ?? textError(response.status);
  }
}

export function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

export function bytesOf<T>(type: MessageFns<T>, message: DeepPartial<T>): Bytes {
  return new Uint8Array(type.encode(type.fromPartial(message)).finish());
}

function decode<T>(type: MessageFns<T>, bytes: Bytes): T {
  try {
    return type.decode(bytes);
  } catch {
    throw unreadableAnswer();
  }
}

function parseJson(bytes: Bytes | ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
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
  const end = parseJson(bytes);
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
