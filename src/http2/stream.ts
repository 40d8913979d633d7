/** The server's side of one stream (RFC 9113, sections 5.1 and 8.1). */
import type { Application, StreamReceiver } from './application.js';
import type { Http2Connection } from './connection.js';
import { errorCode, frameType, windowBytesDefault } from './frames.js';
import type { HeaderFields } from './header-decoder.js';

// A writer should wait while more than this waits.
const unsentBytesMax = 64 * 1024;
// The window of a stream grows after the application has read a part of the request.
const grownWindowBytes = 256 * 1024;
const noBytes = Buffer.alloc(0);

export class Http2Stream<Connection> {
  readonly connection: Connection;
  sendWindow: number;
  /** The bytes of data that were not sent yet. */
  unsentBytes = 0;
  #receiver: StreamReceiver | undefined;
  readonly #unsent: Uint8Array[] = [];
  #trailers: HeaderFields | undefined;
  #isHeaderSent = false;
  /** Whether the response has been sent completely. */
  #isAnswered = false;
  #isClosed = false;
  #mustDrain = false;
  #isPaused = false;
  /** The bytes that the client may send before it gets permission for more, and those of them that it has sent. */
  #windowBytes = windowBytesDefault;
  #receivedBytes = 0;

  constructor(
    readonly id: number,
    private readonly http2: Http2Connection<Connection>,
    private isRequestEnded: boolean,
    /** The bytes of the request that must still arrive. Undefined if it has no content-length. */
    private missingBytes: number | undefined,
  ) {
    this.connection = http2.context;
    this.sendWindow = http2.initialSendWindow;
  }

  start(application: Application<Connection>, fields: HeaderFields): void {
    const receiver = application.onStream(this, fields);
    if (this.#isClosed) receiver?.onClose(this.#isAnswered);
    else {
      this.#receiver = receiver;
      if (this.isRequestEnded) receiver?.onEnd();
    }
  }

  /** Has no effect after the first header, and after the end of the stream. */
  sendHeaders(fields: HeaderFields): void {
    if (this.#isHeaderSent || this.#isClosed) return;
    this.#isHeaderSent = true;
    this.http2.writer.writeHeaders(fields, this.id, false);
  }

  /** Keeps the bytes until they are sent. Returns false if `onDrain` follows when less data waits. */
  sendData(bytes: Uint8Array): boolean {
    if (this.#isClosed || bytes.length === 0) return true;
    this.#unsent.push(bytes);
    this.unsentBytes += bytes.length;
    this.http2.sender.send(this);
    this.#mustDrain = this.unsentBytes >= unsentBytesMax;
    return !this.#mustDrain;
  }

  /** Ends the response, when all data is sent. The header must have been sent. */
  sendTrailers(fields: HeaderFields): void {
    if (this.#isClosed) return;
    this.#trailers = fields;
    this.#endIfSent();
  }

  sendResponse(header: HeaderFields, data: Uint8Array, trailers: HeaderFields): void {
    this.sendHeaders(header);
    this.sendData(data);
    this.sendTrailers(trailers);
  }

  /** Sends a response that has only a header. */
  sendOnly(fields: HeaderFields): void {
    if (this.#isHeaderSent || this.#isClosed) return;
    this.#isHeaderSent = true;
    this.#end(fields);
  }

  /** Ends the stream in both directions, and drops data that was not sent. `code` is one of section 7. */
  reset(code: number): void {
    if (this.#isClosed) return;
    this.http2.streams.reset(this.id, code);
    this.close();
  }

  /** Does not extend the window. The application still receives what the window permits. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#extendWindow();
  }

  /** `frameBytes` includes padding, which counts in the window. */
  receiveData(bytes: Buffer, frameBytes: number, isEndOfStream: boolean): void {
    this.#receivedBytes += frameBytes;
    if (this.missingBytes !== undefined) this.missingBytes -= bytes.length;
    if (this.isRequestEnded) this.#fail(errorCode.streamClosed);
    else if (this.#receivedBytes > this.#windowBytes) this.#fail(errorCode.flowControlError);
    else if ((this.missingBytes ?? 0) < 0) this.#fail(errorCode.protocolError);
    else if (bytes.length > 0) this.#receiver?.onData(bytes);
    if (isEndOfStream) this.receiveEnd();
    else this.#extendWindow();
  }

  receiveEnd(): void {
    if (this.#isClosed) return;
    if (this.isRequestEnded) this.#fail(errorCode.streamClosed);
    else if ((this.missingBytes ?? 0) > 0) this.#fail(errorCode.protocolError);
    else {
      this.isRequestEnded = true;
      this.#receiver?.onEnd();
    }
  }

  /** Ends the stream without a frame, because the client has reset it or the connection has ended. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unsent.length = 0;
    this.unsentBytes = 0;
    this.#trailers = undefined;
    this.http2.removeStream(this);
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onClose(this.#isAnswered);
  }

  take(bytesMax: number): Uint8Array {
    const [first = noBytes] = this.#unsent;
    const taken = first.length > bytesMax ? first.subarray(0, bytesMax) : first;
    if (first.length > bytesMax) this.#unsent[0] = first.subarray(bytesMax);
    else {
      this.#unsent.shift();
      // Clients measure the network with a PING in each round trip, also while they receive small messages.
      this.http2.guard.earn();
    }
    this.unsentBytes -= taken.length;
    return taken;
  }

  onProgress(): void {
    this.#endIfSent();
    this.#receiver?.onSent();
    if (!this.#mustDrain || this.unsentBytes >= unsentBytesMax) return;
    this.#mustDrain = false;
    this.#receiver?.onDrain();
  }

  #endIfSent(): void {
    if (this.#trailers !== undefined && this.unsentBytes === 0) this.#end(this.#trailers);
  }

  #end(trailers: HeaderFields): void {
    this.http2.writer.writeHeaders(trailers, this.id, true);
    this.http2.guard.earn();
    this.#isAnswered = true;
    if (!this.isRequestEnded) this.http2.streams.noteAnswered(this.id);
    this.close();
  }

  /** The client has broken a rule of the protocol that concerns only this stream (section 5.4.2). */
  #fail(code: number): void {
    this.http2.guard.spend();
    this.reset(code);
  }

  /** Lets the client send as much again as it has sent, in few frames. */
  #extendWindow(): void {
    if (this.#isPaused || this.#isClosed || this.isRequestEnded) return;
    if (this.#receivedBytes < this.#windowBytes / 2) return;
    const bytes = this.#receivedBytes + grownWindowBytes - this.#windowBytes;
    this.http2.writer.writeNumber(frameType.windowUpdate, this.id, bytes);
    this.#windowBytes = grownWindowBytes;
    this.#receivedBytes = 0;
  }
}
