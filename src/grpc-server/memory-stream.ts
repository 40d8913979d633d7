/** Streams within this process: a client calls the server without a socket. */
import type { StreamReceiver } from '../http2/application.js';
import type { Connection, HeaderFields, StreamAcceptor, TransportStream } from './stream.js';

// As much as HTTP/2 has in flight with its default window.
const unsentBytesMax = 64 * 1024;

/** The client's side of a stream. */
export interface ClientStream {
  /** Resolves when the server can take more. */
  send(bytes: Buffer): Promise<void>;
  /** The client sends no more. */
  endRequest(): void;
  /** Has no effect after the response has been read. */
  cancel(): void;
  /** The header of the response, which is its trailer too if `trailers` stays undefined. */
  readonly header: Promise<HeaderFields>;
  /** Waits for the next data. Returns undefined at the end of the response. */
  read(): Promise<Uint8Array | undefined>;
  /** Set when `read` has returned undefined, if the response has trailers. */
  readonly trailers: HeaderFields | undefined;
}

/** The server has reset the stream, so that its response is incomplete. */
export class StreamReset extends Error {
  override readonly name = 'StreamReset';
}

/** Starts a call. `fields` is its header, including `:path` and `:method`. */
export function openMemoryStream(
  acceptor: Pick<StreamAcceptor, 'accept'>,
  fields: HeaderFields,
  connection: Connection,
): ClientStream {
  const stream = new MemoryStream(connection);
  stream.accept(acceptor.accept(stream, fields));
  return stream;
}

class MemoryStream implements TransportStream, ClientStream {
  trailers: HeaderFields | undefined;
  unsentBytes = 0;
  readonly #header = Promise.withResolvers<HeaderFields>();
  readonly #chunks: Uint8Array[] = [];
  #receiver: StreamReceiver | undefined;
  #isResponseEnded = false;
  #isClosed = false;
  #isReset = false;
  #isPaused = false;
  #isEndDue = false;
  #wakeReader: (() => void) | undefined;
  #wakeSender: (() => void) | undefined;

  constructor(readonly connection: Connection) {
    // A client that has cancelled does not wait for the header.
    this.#header.promise.catch(() => {});
  }

  get header(): Promise<HeaderFields> {
    return this.#header.promise;
  }

  accept(receiver: StreamReceiver | undefined): void {
    this.#receiver = receiver;
    if (this.#isClosed) receiver?.onClose(!this.#isReset);
  }

  async send(bytes: Buffer): Promise<void> {
    while (this.#isPaused && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#wakeSender = resolve;
      });
    }
    this.#wakeSender = undefined;
    if (!this.#isClosed) this.#receiver?.onData(bytes);
    if (this.#isEndDue) this.endRequest();
  }

  endRequest(): void {
    // The last data waits until the server can take it.
    this.#isEndDue = this.#wakeSender !== undefined;
    if (!this.#isClosed && !this.#isEndDue) this.#receiver?.onEnd();
  }

  cancel(): void {
    this.#close(false);
  }

  async read(): Promise<Uint8Array | undefined> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        const wasFull = this.unsentBytes >= unsentBytesMax;
        this.unsentBytes -= chunk.length;
        this.#receiver?.onSent();
        if (wasFull && this.unsentBytes < unsentBytesMax) this.#receiver?.onDrain();
        return chunk;
      }
      if (this.#isReset) throw new StreamReset('The stream was reset.');
      if (this.#isResponseEnded) {
        this.#close(true);
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  sendHeaders(fields: HeaderFields): void {
    this.#header.resolve(fields);
  }

  sendData(bytes: Uint8Array): boolean {
    if (this.#isClosed) return true;
    this.#chunks.push(bytes);
    this.unsentBytes += bytes.length;
    this.#wakeReader?.();
    return this.unsentBytes < unsentBytesMax;
  }

  sendTrailers(fields: HeaderFields): void {
    this.trailers = fields;
    this.#isResponseEnded = true;
    this.#wakeReader?.();
  }

  sendResponse(header: HeaderFields, data: Uint8Array, trailers: HeaderFields): void {
    this.sendHeaders(header);
    this.sendData(data);
    this.sendTrailers(trailers);
  }

  sendOnly(fields: HeaderFields): void {
    this.#header.resolve(fields);
    this.#isResponseEnded = true;
    this.#wakeReader?.();
  }

  reset(): void {
    this.#close(false);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#wakeSender?.();
  }

  #close(isComplete: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!isComplete) {
      this.#isReset = true;
      this.#chunks.length = 0;
      this.unsentBytes = 0;
      this.#header.reject(new StreamReset('The stream was reset.'));
    }
    this.#wakeReader?.();
    this.#wakeSender?.();
    this.#receiver?.onClose(isComplete);
  }
}
