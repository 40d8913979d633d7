/** One stream of node:http2 as a stream of gRPC. */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { type Connection, type HeaderFields, noError, type StreamAcceptor, type TransportStream } from './stream.js';

const withTrailers = { waitForTrailers: true, sendDate: false };
const headerOnly = { endStream: true, sendDate: false };
// Most clients stop sending when they receive the trailers.
const stopSendingMs = 100;
// Node reports only that a whole write was sent. A client that reads a large message slowly would seem to have stalled.
const pieceBytes = 64 * 1024;

export class Http2Stream implements TransportStream {
  #trailers: HeaderFields | undefined;
  #onSent: (() => void) | undefined;
  /** The part of the last data that was not written yet. */
  #rest: Uint8Array | undefined;

  constructor(
    private readonly stream: ServerHttp2Stream,
    readonly connection: Connection,
    private isRequestEnded: boolean,
  ) {}

  get isOpen(): boolean {
    return !this.stream.closed && !this.stream.destroyed;
  }

  get unsentBytes(): number {
    return this.stream.writableLength + (this.#rest?.length ?? 0);
  }

  start(accept: StreamAcceptor, fields: HeaderFields, onClosed: () => void): void {
    const { stream } = this;
    stream.on('error', ignore);
    // Otherwise Node keeps the stream if the client has reset it with NO_ERROR, until all its data is sent: never.
    stream.on('aborted', () => stream.destroy());
    stream.on('wantTrailers', () => this.#sendTrailers());
    const receiver = accept(this, fields);
    stream.on('close', () => {
      this.#rest = undefined;
      // A stream whose response was sent completely has the code of its request's end, which may be any.
      receiver?.onClose(stream.writableFinished && !stream.aborted && isHarmless(stream.rstCode));
      onClosed();
    });
    if (receiver === undefined) {
      stream.resume();
      return;
    }
    stream.on('data', (bytes: Buffer) => receiver.onData(bytes));
    stream.on('end', () => {
      this.isRequestEnded = true;
      receiver.onEnd();
    });
    this.#onSent = () => receiver.onSent();
    stream.on('drain', () => {
      if (this.#writeRest()) receiver.onDrain();
    });
  }

  sendHeaders(fields: HeaderFields): void {
    if (this.#canRespond) this.stream.respond(toHeaders(fields), withTrailers);
  }

  sendData(bytes: Uint8Array): boolean {
    if (!this.isOpen) return true;
    const isWhole = bytes.length <= pieceBytes;
    const isTaken = this.stream.write(isWhole ? bytes : bytes.subarray(0, pieceBytes), this.#onSent);
    this.#rest = isWhole ? undefined : bytes.subarray(pieceBytes);
    return isWhole && isTaken;
  }

  /** Returns whether more data can be sent. */
  #writeRest(): boolean {
    const isTaken = this.#rest === undefined || this.sendData(this.#rest);
    if (this.#trailers !== undefined) this.#end();
    return isTaken;
  }

  #end(): void {
    if (this.isOpen && this.#rest === undefined) this.stream.end();
  }

  sendTrailers(fields: HeaderFields): void {
    this.#trailers = fields;
    this.#end();
  }

  sendResponse(header: HeaderFields, data: Uint8Array, trailers: HeaderFields): void {
    if (!this.#canRespond) return;
    if (data.length > pieceBytes) {
      this.sendHeaders(header);
      this.sendData(data);
      this.sendTrailers(trailers);
      return;
    }
    this.#trailers = trailers;
    this.stream.respond(toHeaders(header), withTrailers);
    this.stream.end(data);
  }

  sendOnly(fields: HeaderFields): void {
    if (!this.#canRespond) return;
    this.stream.respond(toHeaders(fields), headerOnly);
    this.#discardRequest();
  }

  reset(code: number): void {
    this.#rest = undefined;
    if (this.isOpen) this.stream.close(code);
    else this.stream.destroy();
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  get #canRespond(): boolean {
    return this.isOpen && !this.stream.headersSent;
  }

  #sendTrailers(): void {
    if (!this.isOpen || this.stream.sentTrailers !== undefined) return;
    this.stream.sendTrailers(toHeaders(this.#trailers ?? []));
    this.#discardRequest();
  }

  /** After the response, tells a client that is still sending to stop (RFC 9113, 8.1). */
  #discardRequest(): void {
    if (this.isRequestEnded) return;
    this.stream.resume();
    // Node sends the trailers later, and not at all after RST_STREAM.
    const timer = setTimeout(() => this.reset(noError), stopSendingMs).unref();
    this.stream.once('close', () => clearTimeout(timer));
  }
}

function ignore(): void {}

function isHarmless(code: number | undefined): boolean {
  return code === undefined || code === noError;
}

function toHeaders(fields: HeaderFields): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    // Not the object's own `constructor`, which is a valid name of metadata too.
    const previous = Object.hasOwn(headers, name) ? headers[name] : undefined;
    headers[name] = previous === undefined ? value : [previous, value].flat();
  }
  return headers;
}
