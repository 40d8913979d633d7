/** One call: reads its requests, runs its handler, and sends its responses and its status. */

import { Status } from 'nice-grpc-common';
import { callError } from './call-error.js';
import { headerError } from './call-header.js';
import { acceptedEncodings, compress, decompress, type Frame, frame } from './framing.js';
import { HeldBytes } from './held-bytes.js';
import { LazyMetadata } from './lazy-metadata.js';
import type { CallInfo, CallObserver } from './observer.js';
import { appendMetadata, encodeMessage, parseTimeout } from './protocol.js';
import { RequestQueue } from './request-queue.js';
import type { CallLimits, ServedMethod, ServerCallContext } from './served-method.js';
import {
  type Connection,
  cancelled,
  fieldOf,
  type HeaderFields,
  type StreamReceiver,
  type TransportStream,
} from './stream.js';

const responseHeader: HeaderFields = [
  ':status',
  '200',
  'content-type',
  'application/grpc+proto',
  'grpc-accept-encoding',
  acceptedEncodings,
];
// Smaller responses would hardly become smaller.
const compressedBytesMin = 1024;
// The transport's own objects for a call take as much, and are not counted either.
const uncountedBytesMax = 4096;
// Shared, because creating one for each call would take a tenth of the call's time.
const callEnded = new DOMException('The call has ended.', 'AbortError');
// The longest delay of a timer.
const timerMsMax = 2 ** 31 - 1;
// The status is sent after the data. A stalled client has this long to read the data and to receive the status.
const lastReadMsMin = 10_000;
// The client's deadline passes earlier than ours, by the time that the request took to arrive.
const deadlineSlackMs = 20;

export class ServerCall implements StreamReceiver, CallInfo {
  readonly startedMs = performance.now();
  timeoutMs: number | undefined;
  caller: unknown;
  readonly #requests: RequestQueue;
  readonly #held: HeldBytes;
  #writtenBytes = 0;
  #observer: CallObserver | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #abort: AbortController | undefined;
  #header: LazyMetadata | undefined;
  #trailer: LazyMetadata | undefined;
  #isHeaderSent = false;
  /** Set when the status is decided. Nothing else is sent then. */
  #status: Status | undefined;
  #durationMs = 0;
  #isEndReported = false;
  #isAdmitted = false;
  /** The caller is still being checked. What the client sends meanwhile waits. */
  #isPending = false;
  #isRequestWhole = false;
  #iterator: AsyncIterator<unknown> | undefined;
  #wakeWriter: (() => void) | undefined;
  #progressBytes = 0;
  #progressMs = this.startedMs;

  constructor(
    private readonly stream: TransportStream,
    readonly path: string,
    readonly fields: HeaderFields,
    private readonly method: ServedMethod | undefined,
    private readonly limits: CallLimits,
    private readonly onClosed: (call: ServerCall) => void,
  ) {
    this.#requests = new RequestQueue(stream, method?.requestBytesMax ?? 0);
    this.#held = new HeldBytes(stream.connection, limits, () => this.#giveUp());
  }

  get isKnownMethod(): boolean {
    return this.method !== undefined;
  }

  get responseStream(): boolean {
    return this.method?.responseStream === true;
  }

  get peer(): string {
    return this.stream.connection.peer;
  }

  get connection(): Connection {
    return this.stream.connection;
  }

  /** Starts the handler, or the wait for its request. `admit` may return an error to refuse the call. */
  start(observe: (call: CallInfo) => CallObserver, admit: (call: CallInfo) => unknown): void {
    const sentTimeout = fieldOf(this.fields, 'grpc-timeout');
    if (sentTimeout !== undefined) this.timeoutMs = parseTimeout(sentTimeout);
    this.#observer = observe(this);
    const refusal = headerError(this) ?? admit(this);
    if (refusal instanceof Promise) this.#waitFor(refusal);
    else this.#begin(refusal);
  }

  #waitFor(refusal: Promise<unknown>): void {
    this.#isPending = true;
    this.#startDeadline();
    refusal
      .catch((error: unknown) => error)
      .then((found) => {
        this.#isPending = false;
        if (this.#status !== undefined) return;
        this.#begin(found);
        if (this.#isRequestWhole) this.#takeOnly();
      });
  }

  #begin(found: unknown): void {
    const refusal = found ?? this.#admit();
    const { method } = this;
    if (refusal !== undefined || method === undefined) {
      this.end(refusal);
      return;
    }
    this.#startDeadline();
    if (method.requestStream) this.#observe(() => void this.#run(method, this.#readRequests(method)));
  }

  #startDeadline(): void {
    if (this.timeoutMs === undefined || this.timeoutMs > timerMsMax || this.#deadline !== undefined) return;
    this.#deadline = setTimeout(onDeadline, Math.ceil(this.timeoutMs), this);
  }

  #observe(handle: () => void): void {
    if (this.#observer?.run === undefined) handle();
    else this.#observer.run(handle);
  }

  /** Streams are not counted, because their duration does not show how long a call waits. */
  #admit(): unknown {
    if (this.method?.requestStream !== false || this.method.responseStream) return undefined;
    if (!this.limits.admission.admit(this.timeoutMs)) return callError('OVERLOADED', 'Too many calls are in flight.');
    this.#isAdmitted = true;
    return undefined;
  }

  /** Ends the call with the status of an error, whatever its handler does. Has no effect on a call that has ended. */
  end(error: unknown): void {
    if (this.#status !== undefined) {
      this.#observer?.onLateError?.(error);
      return;
    }
    if (this.#observer === undefined) return;
    const { code, message, fields = [] } = this.#observer.statusOf(error);
    this.#finish(code, message, fields);
  }

  passDeadline(): void {
    if (this.#status === undefined) this.end(callError('DEADLINE', 'The deadline has passed.'));
    // The client has not read the response, and does not wait for it any more.
    else this.stream.reset(cancelled);
  }

  onData(bytes: Buffer): void {
    if (this.#status !== undefined) return;
    const requests = this.#requests;
    requests.push(bytes);
    if (this.method?.requestStream === false) {
      if (requests.error !== undefined) this.end(requests.error);
      else if (requests.length > 1) this.end(callError('MESSAGE_COUNT', 'This method takes exactly one message.'));
    }
    this.#updateHold();
  }

  onEnd(): void {
    const requests = this.#requests;
    // When a Node client cancels a call, it sends END_STREAM and RST_STREAM together. The end of the request is delayed
    // until both are read, so that the handler does not treat the request as complete.
    if (this.method?.requestStream === true) setImmediate(() => requests.end());
    else requests.end();
    if (this.#isPending) this.#isRequestWhole = true;
    else this.#takeOnly();
  }

  /** Starts the handler of a method that takes one message. */
  #takeOnly(): void {
    const { method } = this;
    if (this.#status !== undefined || method === undefined || method.requestStream) return;
    const requests = this.#requests;
    const only = requests.take();
    if (requests.error !== undefined) this.end(requests.error);
    else if (only === undefined) this.end(callError('MESSAGE_COUNT', 'This method takes exactly one message.'));
    else {
      this.#updateHold();
      this.#observe(() => void this.#runUnary(method, only));
    }
  }

  onSent(): void {
    this.#updateHold();
  }

  onDrain(): void {
    this.#wakeWriter?.();
  }

  onClose(isComplete: boolean): void {
    clearTimeout(this.#deadline);
    let code = this.#status ?? Status.OK;
    if (this.#status === undefined || (code === Status.OK && !isComplete)) {
      const hasPassed = performance.now() - this.startedMs >= (this.timeoutMs ?? Infinity) - deadlineSlackMs;
      // Nobody receives this status, but the observer learns the reason.
      code = this.#observer?.statusOf(callError(hasPassed ? 'DEADLINE' : 'CANCELLED', '')).code ?? Status.CANCELLED;
      this.#settle(code);
    }
    this.#stopHandler();
    this.#held.release();
    this.#reportEnd(code);
    this.onClosed(this);
  }

  /** Ends the call if its client has neither sent nor read anything for too long although it should. */
  checkProgress(nowMs: number): void {
    const isSending = this.stream.unsentBytes > 0;
    const { isInMessage, isEnded, isPaused, receivedBytes } = this.#requests;
    const mustSend = this.method?.requestStream !== true || isInMessage;
    const isReceiving = this.#status === undefined && mustSend && !isEnded && !isPaused;
    const progressBytes = receivedBytes + this.#writtenBytes - this.stream.unsentBytes;
    if ((!isSending && !isReceiving) || progressBytes !== this.#progressBytes) {
      this.#progressBytes = progressBytes;
      this.#progressMs = nowMs;
    } else if (this.#status === undefined) {
      if (nowMs - this.#progressMs < this.limits.stallTimeoutMs) return;
      this.#progressMs = nowMs;
      this.end(callError('STALLED', 'The client sent or read too slowly.'));
    } else if (nowMs - this.#progressMs >= Math.max(this.limits.stallTimeoutMs, lastReadMsMin)) {
      this.stream.reset(cancelled);
    }
  }

  async *#readRequests(method: ServedMethod): AsyncGenerator<unknown, void, undefined> {
    while (true) {
      const next = await this.#requests.next();
      if (next === undefined) return;
      this.#updateHold();
      yield await this.#decode(method, next);
    }
  }

  #decode(method: ServedMethod, { isCompressed, bytes }: Frame): unknown {
    if (!isCompressed) return method.decode(bytes);
    return decompress(bytes, fieldOf(this.fields, 'grpc-encoding'), method.requestBytesMax).then((whole) =>
      method.decode(whole),
    );
  }

  async #runUnary(method: ServedMethod, only: Frame): Promise<void> {
    try {
      const request = only.isCompressed ? await this.#decode(method, only) : method.decode(only.bytes);
      if (this.#status === undefined) await this.#run(method, request);
    } catch (error) {
      this.end(error);
    }
  }

  async #run(method: ServedMethod, request: unknown): Promise<void> {
    try {
      const result = method.handle(request, this.#createContext());
      if (method.responseStream) await this.#sendAll(method, result as AsyncIterable<unknown>);
      else {
        const response = await result;
        this.#abort = undefined;
        this.#sendResponse(await this.#frame(method.encode(response)));
      }
    } catch (error) {
      this.#abort = undefined;
      this.end(error);
    }
  }

  async #sendAll(method: ServedMethod, responses: AsyncIterable<unknown>): Promise<void> {
    const iterator = responses[Symbol.asyncIterator]();
    this.#iterator = iterator;
    while (true) {
      const { done, value } = await iterator.next();
      if (this.#status !== undefined) return;
      if (done) break;
      const framed = await this.#frame(method.encode(value));
      if (this.#status !== undefined) return;
      this.#sendHeader();
      this.#writtenBytes += framed.length;
      const isTaken = this.stream.sendData(framed);
      this.#updateHold();
      if (isTaken) continue;
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
      this.#wakeWriter = undefined;
      if (this.#status !== undefined) return;
    }
    this.#iterator = undefined;
    this.#finish(Status.OK, '', []);
  }

  #frame(message: Uint8Array): Buffer | Promise<Buffer> {
    if (message.length > this.limits.responseBytesMax) {
      throw callError('RESPONSE_TOO_LARGE', `A response must have at most ${this.limits.responseBytesMax} bytes.`);
    }
    if (!this.#compresses || message.length < compressedBytesMin) return frame(message);
    // The encoder may reuse its buffer before the compression ends.
    return compress(Buffer.from(message)).then((compressed) => frame(compressed, true));
  }

  get #compresses(): boolean {
    return this.limits.compressResponses && /\bgzip\b/.test(fieldOf(this.fields, 'grpc-accept-encoding') ?? '');
  }

  #sendResponse(framed: Buffer): void {
    if (this.#status !== undefined) return;
    const header = this.#isHeaderSent ? undefined : this.#headerFields();
    const trailers = this.#statusFields(Status.OK, '', []);
    this.#settle(Status.OK);
    this.#writtenBytes += framed.length;
    if (header === undefined) {
      this.stream.sendData(framed);
      this.stream.sendTrailers(trailers);
    } else this.stream.sendResponse(header, framed, trailers);
    this.#updateHold();
  }

  #sendHeader(): void {
    if (this.#isHeaderSent || this.#status !== undefined) return;
    const fields = this.#headerFields();
    this.#isHeaderSent = true;
    this.stream.sendHeaders(fields);
  }

  #headerFields(): HeaderFields {
    if (this.#header?.isEmpty !== false && !this.#compresses) return responseHeader;
    const fields = [...responseHeader];
    if (this.#compresses) fields.push('grpc-encoding', 'gzip');
    if (this.#header?.isEmpty === false) appendMetadata(fields, this.#header);
    return fields;
  }

  #finish(code: Status, message: string, added: HeaderFields): void {
    if (this.#status !== undefined) return;
    let trailers: HeaderFields;
    try {
      if (this.#header?.isEmpty === false) this.#sendHeader();
      trailers = this.#statusFields(code, message, added);
    } catch (error) {
      // The handler has set metadata that cannot be sent.
      this.#header = undefined;
      this.#trailer = undefined;
      this.end(error);
      return;
    }
    this.#settle(code);
    if (this.#isHeaderSent) this.stream.sendTrailers(trailers);
    else this.stream.sendOnly([...responseHeader, ...trailers]);
    if (code !== Status.OK) {
      // A client may read the rest of the responses, and this status, much later.
      this.#reportEnd(code);
      this.#stopHandler();
    }
  }

  /** Aborts the handler's signal, and ends a generator at its `yield`, so that its `finally` blocks run. */
  #stopHandler(): void {
    this.#abort?.abort(callEnded);
    const iterator = this.#iterator;
    this.#iterator = undefined;
    if (iterator === undefined) return;
    // Within a promise, because return() may throw too.
    new Promise((resolve) => resolve(iterator.return?.(undefined))).catch((error: unknown) =>
      this.#observer?.onLateError?.(error),
    );
  }

  #statusFields(code: Status, message: string, added: HeaderFields): HeaderFields {
    const fields = ['grpc-status', String(code)];
    if (message !== '') fields.push('grpc-message', encodeMessage(message));
    if (this.#trailer?.isEmpty === false) appendMetadata(fields, this.#trailer);
    fields.push(...added, ...(this.#observer?.fields ?? []));
    return fields;
  }

  #reportEnd(code: Status): void {
    if (this.#isEndReported) return;
    this.#isEndReported = true;
    this.#observer?.onEnd(code, this.#durationMs);
  }

  #settle(code: Status): void {
    if (this.#isAdmitted) this.limits.admission.release();
    this.#isAdmitted = false;
    this.#status = code;
    this.#durationMs = performance.now() - this.startedMs;
    this.#requests.close();
    this.#wakeWriter?.();
  }

  #updateHold(): void {
    const bytes = this.#requests.heldBytes + this.stream.unsentBytes;
    this.#held.set(bytes > uncountedBytesMax ? bytes : 0);
  }

  /** Frees the memory of the call. */
  #giveUp(): void {
    this.end(callError('OVERLOADED', 'The server holds too many bytes for clients that read or send slowly.'));
    if (this.stream.unsentBytes > 0) this.stream.reset(cancelled);
    // The stream closes later. Until then, its bytes must not count against the other calls of its connection.
    this.#held.release();
  }

  #createContext(): ServerCallContext {
    const { fields, peer, timeoutMs } = this;
    this.#header = new LazyMetadata();
    this.#trailer = new LazyMetadata();
    this.#abort = new AbortController();
    return {
      metadata: new LazyMetadata(fields),
      peer,
      header: this.#header,
      sendHeader: () => this.#sendHeader(),
      trailer: this.#trailer,
      signal: this.#abort.signal,
      peerCertificate: () => this.stream.connection.certificate(),
      timeoutMs,
      caller: this.caller,
      observer: this.#observer,
    };
  }
}

function onDeadline(call: ServerCall): void {
  call.passDeadline();
}
