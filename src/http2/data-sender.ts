/** Sends the data of the streams of one connection as far as the client's windows allow (RFC 9113, sections 5.2 and 6.9). */
import type { FloodGuard } from './flood-guard.js';
import type { FrameWriter } from './frame-writer.js';
import { flowControlError, frameType, payloadBytesMax, windowBytesDefault, windowBytesMax } from './frames.js';
import type { Http2Stream } from './stream.js';

// A client that permits fewer bytes at a time makes the server work for little (CVE-2019-9511).
const usefulBytes = 256;
const unsentBytesMax = 64 * 1024;

export class DataSender {
  /** The bytes that the client permits on all streams together. */
  #window = windowBytesDefault;
  /** The streams that wait only for the connection. Those with an empty window cost nothing until the client changes it. */
  readonly #waiting = new Set<Http2Stream<unknown>>();

  constructor(
    private readonly writer: FrameWriter,
    private readonly guard: FloodGuard,
  ) {}

  /** Whether a number of bytes can be sent now, in one frame. */
  permits(source: Http2Stream<unknown>, bytes: number): boolean {
    // Responses of a client that does not read must wait in their streams, where the application counts them.
    if (this.writer.unsentBytes > unsentBytesMax) return false;
    return bytes <= Math.min(source.sendWindow, this.#window, payloadBytesMax);
  }

  /** Sends one frame. It must be permitted. */
  sendFrame(source: Http2Stream<unknown>, bytes: Uint8Array): void {
    source.sendWindow -= bytes.length;
    this.#window -= bytes.length;
    this.writer.writeFrame(frameType.data, 0, source.id, bytes);
    // Clients may measure the network with a PING for each frame, also for small messages.
    if (bytes.length >= usefulBytes || source.unsentBytes === 0) this.guard.earn();
  }

  /** Sends what can be sent of a stream. The rest waits. */
  send(source: Http2Stream<unknown>): void {
    while (this.#mayWrite && canSend(source)) this.#sendNext(source);
    this.resume(source);
  }

  /** Returns whether the stream waits only for the connection. */
  resume(source: Http2Stream<unknown>): boolean {
    if (!canSend(source)) return false;
    this.#waiting.add(source);
    return true;
  }

  /** The data of a stream does not wait any more. */
  remove(source: Http2Stream<unknown>): void {
    this.#waiting.delete(source);
  }

  /** The client permits more bytes on the connection. Throws a ConnectionError. */
  widen(bytes: number): void {
    this.#window += bytes;
    if (this.#window > windowBytesMax) throw flowControlError('The window of the connection is too large.');
    this.sendWaiting();
  }

  /** Sends data that waits, a frame of each stream in turn, so that a large response does not stop the others. */
  sendWaiting(): void {
    if (this.#waiting.size === 0) return;
    const progressed = new Set<Http2Stream<unknown>>();
    for (const source of this.#waiting) {
      if (!this.#mayWrite) break;
      // The loop reaches the stream again after the others.
      this.#waiting.delete(source);
      if (!canSend(source)) continue;
      this.#sendNext(source);
      this.resume(source);
      progressed.add(source);
    }
    for (const source of progressed) source.onProgress();
  }

  get #mayWrite(): boolean {
    return this.#window > 0 && !this.writer.isBlocked;
  }

  #sendNext(source: Http2Stream<unknown>): void {
    this.sendFrame(source, source.take(Math.min(payloadBytesMax, source.sendWindow, this.#window)));
  }
}

function canSend(source: Http2Stream<unknown>): boolean {
  return source.unsentBytes > 0 && source.sendWindow > 0;
}
