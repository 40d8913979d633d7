/** One stream of node:http2 as a stream of gRPC. */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { StreamReceiver } from '../http2/application.js';
import { type Connection, type HeaderFields, noError, type StreamAcceptor, type TransportStream } from './stream.js';

const withTrailers = { waitForTrailers: true, sendDate: false };
const headerOnly = { endStream: true, sendDate: false };
// Most clients stop sending when they receive the trailers.
const stopSendingMs = 100;
// Node reports only that a whole write was sent. A client that reads a large message slowly would seem to have stalled.
const pieceBytes = 64 * 1024;

export class NodeStream implements TransportStream {
  #trailers: HeaderFields | undefined;
  #receiver: StreamReceiver | undefined;
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

  start(acceptor: StreamAcceptor, fields: HeaderFields, onClosed: () => void): void {
    const { stream } = this;
    stream.on('error', ignore);
    // Otherwise Node keeps the stream if the client has reset it with NO_ERROR, until all its data is sent: never.
    stream.on('aborted', () => stream.destroy());
    stream.on('wantTrailers', () => this.#sendTrailers());
    const refusal = acceptor.refusal(this.connection, fields);
    if (refusal !== undefined) this.sendOnly(refusal);
    const receiver = refusal === undefined ? acceptor.accept(this, fields) : undefined;
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
    this.#receiver = receiver;
  }

  sendHeaders(fields: HeaderFields): void {
    if (this.#canRespond) this.stream.respond(toResponse(fields), withTrailers);
  }

  sendData(bytes: Uint8Array): boolean {
    if (!this.isOpen) return true;
    const isWhole = bytes.length <= pieceBytes;
    const piece = isWhole ? bytes : bytes.subarray(0, pieceBytes);
    const isTaken = this.stream.write(piece, () => this.#receiver?.onSent());
    this.#rest = isWhole ? undefined : bytes.subarray(pieceBytes);
    if (isWhole && isTaken) return true;
    this.stream.once('drain', () => this.#onDrain());
    return false;
  }

  #onDrain(): void {
    const canContinue = this.#rest === undefined || this.sendData(this.#rest);
    if (this.#trailers !== undefined) this.#end();
    if (canContinue) this.#receiver?.onDrain();
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
    this.stream.respond(toResponse(header), withTrailers);
    this.stream.end(data);
  }

  sendOnly(fields: HeaderFields): void {
    if (!this.#canRespond) return;
    this.stream.respond(toResponse(fields), headerOnly);
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

// Node 24.7 and later send an array in fewer steps.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const takesArrays = major > 24 || (major === 24 && minor >= 7);

function toResponse(fields: HeaderFields): OutgoingHttpHeaders | readonly string[] {
  return takesArrays ? fields : toHeaders(fields);
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
