/** Sends the data of the streams of one connection as far as the client's windows allow (RFC 9113, sections 5.2 and 6.9). */
import type { FloodGuard } from './flood-guard.js';
import type { FrameWriter } from './frame-writer.js';
import { flowControlError, frameType, payloadBytesMax, windowBytesDefault, windowBytesMax } from './frames.js';
import type { Http2Stream } from './stream.js';

// A client that permits fewer bytes at a time makes the server work for little (CVE-2019-9511).
export const usefulBytes = 256;

export class DataSender {
  /** The bytes that the client permits on all streams together. */
  #window = windowBytesDefault;
  /** The streams that wait only for the connection. Those with an empty window cost nothing until the client changes it. */
  readonly #waiting = new Set<Http2Stream<unknown>>();

  constructor(
    private readonly writer: FrameWriter,
    private readonly guard: FloodGuard,
  ) {}

  /** Sends what can be sent of a stream. The rest waits. */
  send(stream: Http2Stream<unknown>): void {
    while (canSend(stream) && this.#mayWrite) this.#sendNext(stream);
    this.add(stream);
  }

  /** The stream waits for the connection, unless its own window is empty. */
  add(stream: Http2Stream<unknown>): void {
    if (canSend(stream)) this.#waiting.add(stream);
  }

  remove(stream: Http2Stream<unknown>): void {
    this.#waiting.delete(stream);
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
    for (const stream of this.#waiting) {
      if (!this.#mayWrite) break;
      // The loop reaches the stream again after the others.
      this.#waiting.delete(stream);
      if (!canSend(stream)) continue;
      this.#sendNext(stream);
      this.add(stream);
      progressed.add(stream);
    }
    for (const stream of progressed) stream.onProgress();
  }

  get #mayWrite(): boolean {
    return this.#window > 0 && !this.writer.isBlocked;
  }

  #sendNext(stream: Http2Stream<unknown>): void {
    const bytes = stream.take(Math.min(payloadBytesMax, stream.sendWindow, this.#window));
    stream.sendWindow -= bytes.length;
    this.#window -= bytes.length;
    this.writer.writeFrame(frameType.data, 0, stream.id, bytes);
    if (bytes.length >= usefulBytes) this.guard.earn();
  }
}

function canSend(stream: Http2Stream<unknown>): boolean {
  return stream.unsentBytes > 0 && stream.sendWindow > 0;
}
