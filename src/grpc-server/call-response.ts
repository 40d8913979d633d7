/** The response of one call: frames and compresses its messages, and sends its header and its status once. */
import type { Status } from 'nice-grpc-common';
import { callError } from './call-error.js';
import { acceptedEncodings, compress, frame } from './framing.js';
import { LazyMetadata } from './lazy-metadata.js';
import type { CallStatus } from './observer.js';
import { appendMetadata, encodeMessage } from './protocol.js';
import type { CallLimits } from './served-method.js';
import { fieldOf, type HeaderFields, type TransportStream } from './stream.js';

const responseHeader: HeaderFields = Object.freeze([
  ':status',
  '200',
  'content-type',
  'application/grpc+proto',
  'grpc-accept-encoding',
  acceptedEncodings,
]);
// Smaller responses would hardly become smaller.
const compressedBytesMin = 1024;

export interface ResponseStatus {
  readonly code: Status;
  readonly message: string;
  readonly fields: HeaderFields;
}

export class CallResponse {
  /** The bytes of all messages so far. */
  writtenBytes = 0;
  #header: LazyMetadata | undefined;
  #trailer: LazyMetadata | undefined;
  #isHeaderSent = false;

  constructor(
    private readonly stream: TransportStream,
    private readonly requestFields: HeaderFields,
    private readonly limits: Pick<CallLimits, 'responseBytesMax' | 'compressResponses'>,
  ) {}

  /** Returns the metadata that a handler may add to. */
  createMetadata(): { readonly header: LazyMetadata; readonly trailer: LazyMetadata } {
    this.#header = new LazyMetadata();
    this.#trailer = new LazyMetadata();
    return { header: this.#header, trailer: this.#trailer };
  }

  frame(message: Uint8Array): Buffer | Promise<Buffer> {
    if (message.length > this.limits.responseBytesMax) {
      throw callError('RESPONSE_TOO_LARGE', `A response must have at most ${this.limits.responseBytesMax} bytes.`);
    }
    if (!this.#compresses || message.length < compressedBytesMin) return frame(message);
    // The encoder may reuse its buffer before the compression ends.
    return compress(Buffer.from(message)).then((compressed) => frame(compressed, true));
  }

  get #compresses(): boolean {
    return this.limits.compressResponses && /\bgzip\b/.test(fieldOf(this.requestFields, 'grpc-accept-encoding') ?? '');
  }

  sendHeader(): void {
    if (this.#isHeaderSent) return;
    const fields = this.#headerFields();
    this.#isHeaderSent = true;
    this.stream.sendHeaders(fields);
  }

  /** Returns false if the client reads too slowly. */
  sendMessage(framed: Buffer): boolean {
    this.sendHeader();
    this.writtenBytes += framed.length;
    return this.stream.sendData(framed);
  }

  /** Sends the only message and the status. `onSend` is called after nothing can fail any more. */
  sendOnly(framed: Buffer, status: ResponseStatus, onSend: () => void): void {
    const header = this.#isHeaderSent ? undefined : this.#headerFields();
    const trailers = this.#statusFields(status);
    onSend();
    this.writtenBytes += framed.length;
    if (header === undefined) {
      this.stream.sendData(framed);
      this.stream.sendTrailers(trailers);
    } else this.stream.sendResponse(header, framed, trailers);
  }

  /** Sends the status after all messages. As sendOnly(), throws if a handler has set metadata that cannot be sent. */
  sendStatus(status: ResponseStatus, onSend: () => void): void {
    if (this.#header?.isEmpty === false) this.sendHeader();
    const trailers = this.#statusFields(status);
    onSend();
    if (this.#isHeaderSent) this.stream.sendTrailers(trailers);
    else this.stream.sendOnly([...responseHeader, ...trailers]);
  }

  dropMetadata(): void {
    this.#header = undefined;
    this.#trailer = undefined;
  }

  #headerFields(): HeaderFields {
    if (this.#header?.isEmpty !== false && !this.#compresses) return responseHeader;
    const fields = [...responseHeader];
    if (this.#compresses) fields.push('grpc-encoding', 'gzip');
    if (this.#header?.isEmpty === false) appendMetadata(fields, this.#header);
    return fields;
  }

  #statusFields({ code, message, fields: added }: ResponseStatus): HeaderFields {
    const fields = ['grpc-status', String(code)];
    if (message !== '') fields.push('grpc-message', encodeMessage(message));
    if (this.#trailer?.isEmpty === false) appendMetadata(fields, this.#trailer);
    fields.push(...added);
    return fields;
  }
}

/** Returns the fields of a response that has only a status. They are frozen, because their encoding can be kept. */
export function statusResponse({ code, message, fields = [] }: CallStatus): HeaderFields {
  const status = ['grpc-status', String(code), 'grpc-message', encodeMessage(message)];
  return Object.freeze([...responseHeader, ...status, ...fields]);
}
