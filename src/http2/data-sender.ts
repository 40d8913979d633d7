/** Sends the data of the streams of one connection as far as the client's windows allow (RFC 9113, sections 5.2 and 6.9). */
import type { FloodGuard } from './flood-guard.js';
import type { FrameWriter } from './frame-writer.js';
import {
  ConnectionError,
  errorCode,
  frameType,
  payloadBytesMax,
  windowBytesDefault,
  windowBytesMax,
} from './frames.js';

// A client that permits fewer bytes at a time makes the server work for little (CVE-2019-9511).
const usefulBytes = 256;

/** A stream that has data to send. */
export interface DataSource {
  readonly id: number;
  /** The bytes that the client permits on this stream. */
  sendWindow: number;
  /** The bytes that wait. */
  readonly unsentBytes: number;
  /** Takes the next bytes, at most `bytesMax`, which come from one piece of data. */
  take(bytesMax: number): Uint8Array;
  /** Some of its data was sent, after it had to wait. */
  onProgress(): void;
}

export class DataSender {
  /** The bytes that the client permits on all streams together. */
  #window = windowBytesDefault;
  readonly #waiting = new Set<DataSource>();

  constructor(
    private readonly writer: FrameWriter,
    private readonly guard: FloodGuard,
  ) {}

  /** Whether a number of bytes can be sent now, in one frame. */
  permits(source: DataSource, bytes: number): boolean {
    return bytes <= source.sendWindow && bytes <= this.#window && bytes <= payloadBytesMax && this.#waiting.size === 0;
  }

  /** Sends one frame. It must be permitted. */
  sendFrame(source: DataSource, bytes: Uint8Array): void {
    source.sendWindow -= bytes.length;
    this.#window -= bytes.length;
    this.writer.writeFrame(frameType.data, 0, source.id, bytes);
    if (bytes.length >= usefulBytes) this.guard.earn();
  }

  /** Sends what can be sent of a stream. The rest waits. */
  send(source: DataSource): void {
    while (this.#canSend(source)) this.#sendNext(source);
    if (source.unsentBytes > 0) this.#waiting.add(source);
  }

  /** The data of a stream does not wait any more. */
  remove(source: DataSource): void {
    this.#waiting.delete(source);
  }

  /** The client permits more bytes on the connection. Throws a ConnectionError. */
  widen(bytes: number): void {
    this.#window += bytes;
    if (this.#window > windowBytesMax) {
      throw new ConnectionError(errorCode.flowControlError, 'The window of the connection is too large.');
    }
    this.sendWaiting();
  }

  /** Sends data that waits, a frame of each stream in turn, so that a large response does not stop the others. */
  sendWaiting(): void {
    const progressed = new Set<DataSource>();
    let hasSent = true;
    while (hasSent) {
      hasSent = false;
      for (const source of this.#waiting) {
        if (!this.#canSend(source)) continue;
        this.#sendNext(source);
        if (source.unsentBytes === 0) this.#waiting.delete(source);
        progressed.add(source);
        hasSent = true;
      }
    }
    for (const source of progressed) source.onProgress();
  }

  #canSend(source: DataSource): boolean {
    return source.unsentBytes > 0 && source.sendWindow > 0 && this.#window > 0 && !this.writer.isBlocked;
  }

  #sendNext(source: DataSource): void {
    this.sendFrame(source, source.take(Math.min(payloadBytesMax, source.sendWindow, this.#window)));
  }
}
