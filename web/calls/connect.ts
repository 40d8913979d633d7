/**
 * Sends calls by the Connect protocol (https://connectrpc.com/docs/protocol); connect-streams.ts sends those with streams.
 * Servers may compress their answers, which browsers decompress.
 *
 * Rejects with a CallError, or with an AbortError if the signal was aborted.
 */
import type { DeepPartial } from '../../generated/users/v1/user_service.js';
import { answerError, incompleteAnswer, textError, unreadableAnswer } from './answer-error.js';
import { CallError, isAborted } from './call-error.js';

export interface Method<Request, Response> {
  /** Such as `/users.v1.UserService/GetUser`. */
  readonly path: string;
  /** The format of both messages. */
  readonly type: 'application/json' | 'application/proto';
  encode(message: DeepPartial<Request>): Bytes;
  /** Throws if the bytes are not such a message. */
  decode(bytes: Bytes): Response;
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
  { path, type, encode, decode }: Method<Request, Response>,
  message: DeepPartial<Request>,
  { query, ...options }: UnaryOptions,
): Promise<Response> {
  const body = encode(message);
  const call = new Call(options);
  try {
    return await call.run(async () => {
      const answer =
        query === undefined
          ? await call.post(origin + path, type, body, {})
          : await call.fetch(origin + path + query, type, {});
      return decoded(decode, new Uint8Array(await answer.arrayBuffer()));
    });
  } finally {
    call.close();
  }
}

/** One request, with its deadline. */
export class Call {
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
    throw (isJson ? answerError(tryParseJson(await response.arrayBuffer())) : undefined) ?? textError(response.status);
  }
}

export function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

export function decoded<T>(decode: (bytes: Bytes) => T, bytes: Bytes): T {
  try {
    return decode(bytes);
  } catch {
    throw unreadableAnswer();
  }
}

export function tryParseJson(bytes: Bytes | ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
