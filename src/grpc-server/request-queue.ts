/** The messages of a request that its handler has not read yet. */
import { callError } from './call-error.js';
import { type Frame, FrameReader } from './framing.js';
import type { TransportStream } from './stream.js';

// Requests beyond this many bytes wait in the transport until the handler has read the earlier ones.
const queuedBytesMax = 64 * 1024;
const queuedFramesMax = 1000;
// The memory of a queued message beside its bytes, which may be none.
const frameBytes = 160;

export class RequestQueue {
  receivedBytes = 0;
  isEnded = false;
  isPaused = false;
  readonly #reader: FrameReader;
  readonly #frames: Frame[] = [];
  #queuedBytes = 0;
  #error: unknown;
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** `messageBytesMax` limits each message. */
  constructor(
    private readonly stream: TransportStream,
    messageBytesMax: number,
  ) {
    this.#reader = new FrameReader(messageBytesMax);
  }

  get heldBytes(): number {
    return this.#reader.bufferedBytes + this.#queuedBytes + frameBytes * this.#frames.length;
  }

  /** Whether a message has begun and is not complete. */
  get isInMessage(): boolean {
    return this.#reader.bufferedBytes > 0;
  }

  /** Why the request cannot be read further. A reader gets this error after the messages before it. */
  get error(): unknown {
    return this.#error;
  }

  get length(): number {
    return this.#frames.length;
  }

  push(bytes: Buffer): void {
    this.receivedBytes += bytes.length;
    if (this.#error !== undefined) return;
    this.#reader.push(bytes);
    try {
      for (let next = this.#reader.next(); next !== undefined; next = this.#reader.next()) {
        this.#frames.push(next);
        this.#queuedBytes += next.bytes.length;
      }
    } catch (error) {
      this.#error = error;
    }
    const isFull = this.#queuedBytes > queuedBytesMax || this.#frames.length > queuedFramesMax;
    if (isFull) this.pause();
    this.#wake?.();
  }

  /** Leaves what the client sends in the transport. */
  pause(): void {
    if (this.isPaused) return;
    this.isPaused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.stream.resume();
  }

  end(): void {
    this.isEnded = true;
    if (this.isInMessage) {
      this.#error ??= callError('MALFORMED_MESSAGE', 'The request ends in the middle of a message.');
    }
    this.#wake?.();
  }

  /** Drops everything. A waiting reader gets an AbortError. */
  close(): void {
    this.#isClosed = true;
    this.#frames.length = 0;
    this.#queuedBytes = 0;
    this.resume();
    this.#wake?.();
  }

  /** Takes the next message if it has arrived. */
  take(): Frame | undefined {
    const next = this.#frames.shift();
    if (next === undefined) return undefined;
    this.#queuedBytes -= next.bytes.length;
    if (this.#frames.length === 0) this.resume();
    return next;
  }

  /** Waits for the next message. Returns undefined at the end of the request. */
  async next(): Promise<Frame | undefined> {
    while (true) {
      if (this.#isClosed) throw new DOMException('The call has ended.', 'AbortError');
      const next = this.take();
      if (next !== undefined) return next;
      if (this.#error !== undefined) throw this.#error;
      if (this.isEnded) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
