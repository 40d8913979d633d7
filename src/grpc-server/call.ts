/** One call: reads its requests, runs its handler, and sends its responses and its status. */
import { Status } from 'nice-grpc-common';
import type { StreamReceiver } from '../http2/application.js';
import { CallBase } from './call-base.js';
import { callError, isAnswer } from './call-error.js';
import { headerBytesOf, headerError } from './call-header.js';
import { CallResponse, type ResponseStatus } from './call-response.js';
import { noteCaller, type UnaryCalls, type WaitingCall } from './caller-share.js';
import { decompress, type Frame } from './framing.js';
import { HeldBytes } from './held-bytes.js';
import { LazyMetadata } from './lazy-metadata.js';
import type { CallInfo, CallObserver } from './observer.js';
import { parseTimeout } from './protocol.js';
import { RequestQueue } from './request-queue.js';
import type { CallLimits, ServedMethod, ServerCallContext } from './served-method.js';
import { cancelled, fieldOf, type HeaderFields, type TransportStream } from './stream.js';

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

export class ServerCall extends CallBase implements StreamReceiver, WaitingCall {
  /** 0 if they are few. Large headers of many calls could fill the memory as their messages could. */
  readonly #headerBytes: number;
  readonly #requests: RequestQueue;
  readonly #held: HeldBytes;
  readonly #response: CallResponse;
  #observer: CallObserver | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #abort: AbortController | undefined;
  /** Set when the status is decided. Nothing else is sent then. */
  #status: Status | undefined;
  #durationMs = 0;
  #isEndReported = false;
  /** Counts the call if it is unary, until its status is decided. */
  #unary: UnaryCalls | undefined;
  #mayRun = false;
  /** Whether it is not known yet if the call is refused. */
  #isPending = false;
  #isRequestEnded = false;
  #iterator: AsyncIterator<unknown> | undefined;
  #wakeWriter: (() => void) | undefined;
  #progressBytes = 0;
  #progressMs = this.startedMs;

  constructor(
    stream: TransportStream,
    path: string,
    fields: HeaderFields,
    method: ServedMethod | undefined,
    private readonly limits: CallLimits,
    private readonly onClosed: (call: ServerCall) => void,
  ) {
    super(stream, path, fields, method);
    const headerBytes = headerBytesOf(fields);
    this.#headerBytes = headerBytes > uncountedBytesMax ? headerBytes : 0;
    this.#requests = new RequestQueue(stream, method?.requestBytesMax ?? 0);
    this.#response = new CallResponse(stream, fields, limits);
    this.#held = new HeldBytes(this, limits, (error) => this.#giveUp(error));
  }

  /** Starts the handler, or the wait for its request. `admit` may return an error to refuse the call. */
  start(observe: (call: CallInfo) => CallObserver, admit: (call: CallInfo) => unknown): void {
    const sentTimeout = fieldOf(this.fields, 'grpc-timeout');
    if (sentTimeout !== undefined) this.timeoutMs = parseTimeout(sentTimeout);
    this.#observer = observe(this);
    if (this.#headerBytes > 0) this.#updateHold();
    if (this.#status !== undefined) return;
    try {
      const refusal = headerError(this) ?? admit(this);
      if (refusal instanceof Promise) this.#waitFor(refusal);
      else this.#begin(refusal);
    } catch (error) {
      this.end(error);
    }
  }

  /** Until it is known whether the call is refused, its request stays in the transport, which limits its size. */
  #waitFor(refusal: Promise<unknown>): void {
    this.#isPending = true;
    this.#requests.pause();
    this.#startDeadline();
    refusal
      .then((found) => {
        this.#isPending = false;
        if (this.#status !== undefined) {
          this.#held.releaseLate();
          return;
        }
        this.#begin(found);
        this.#requests.resume();
        if (this.#isRequestEnded) this.#takeOnly();
      })
      .catch((error: unknown) => this.end(error));
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
    const { share } = this;
    const { use } = this.connection;
    if (this.isStream) return undefined;
    noteCaller(use, share?.unary);
    this.#unary = this.limits.admission.admit(this.timeoutMs, share?.unary);
    return this.#unary === undefined ? callError('OVERLOADED', 'Too many calls are in flight.') : undefined;
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
    this.#isRequestEnded = true;
    if (!this.#isPending) this.#takeOnly();
  }

  /** Starts the handler of a method that takes one message. */
  #takeOnly(): void {
    const { method } = this;
    const requests = this.#requests;
    if (this.#status !== undefined || method === undefined || method.requestStream) return;
    this.#mayRun ||= this.#unary === undefined || this.limits.admission.start(this.#unary, this);
    if (!this.#mayRun) return;
    const only = requests.take();
    if (requests.error !== undefined) this.end(requests.error);
    else if (only === undefined) this.end(callError('MESSAGE_COUNT', 'This method takes exactly one message.'));
    else {
      this.#updateHold();
      this.#observe(() => void this.#runUnary(method, only));
    }
  }

  run(): void {
    this.#mayRun = true;
    this.#takeOnly();
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
    const progressBytes = receivedBytes + this.#response.writtenBytes - this.stream.unsentBytes;
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
        this.#sendResponse(await this.#response.frame(method.encode(response)));
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
      const framed = await this.#response.frame(method.encode(value));
      if (this.#status !== undefined) return;
      const isTaken = this.#response.sendMessage(framed);
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

  #sendResponse(framed: Buffer): void {
    if (this.#status !== undefined) return;
    this.#response.sendOnly(framed, this.#statusOf(Status.OK), () => this.#settle(Status.OK));
    this.#updateHold();
  }

  #finish(code: Status, message: string, added: HeaderFields): void {
    if (this.#status !== undefined) return;
    try {
      this.#response.sendStatus(this.#statusOf(code, message, added), () => this.#settle(code));
    } catch (error) {
      // The handler has set metadata that cannot be sent.
      this.#response.dropMetadata();
      this.end(error);
      return;
    }
    if (code !== Status.OK) {
      // A client may read the rest of the responses, and this status, much later.
      this.#reportEnd(code);
      this.#stopHandler();
    }
  }

  #statusOf(code: Status, message = '', added: HeaderFields = []): ResponseStatus {
    return { code, message, fields: [...added, ...(this.#observer?.fields ?? [])] };
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

  #reportEnd(code: Status): void {
    if (this.#isEndReported) return;
    this.#isEndReported = true;
    this.#observer?.onEnd(code, this.#durationMs);
  }

  #settle(code: Status): void {
    const unary = this.#unary;
    this.#unary = undefined;
    this.#status = code;
    this.#durationMs = performance.now() - this.startedMs;
    this.#requests.close();
    this.#wakeWriter?.();
    if (unary === undefined) return;
    this.limits.admission.release(unary, this, { hasRun: this.#mayRun, isAnswered: isAnswer(code) });
  }

  #updateHold(): void {
    const bytes = this.#headerBytes + this.#requests.heldBytes + this.stream.unsentBytes;
    this.#held.set(bytes > uncountedBytesMax ? bytes : 0);
  }

  /** Frees the memory of the call. */
  #giveUp(error: unknown): void {
    this.end(error);
    if (this.stream.unsentBytes > 0) this.stream.reset(cancelled);
    // The stream closes later. Until then, its bytes must not count against the other calls of its connection.
    this.#held.release();
  }

  #createContext(): ServerCallContext {
    const { fields, peer, timeoutMs } = this;
    const { header, trailer } = this.#response.createMetadata();
    this.#abort = new AbortController();
    return {
      metadata: new LazyMetadata(fields),
      peer,
      header,
      sendHeader: () => {
        if (this.#status === undefined) this.#response.sendHeader();
      },
      trailer,
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
