/** Divides the bytes of a connection into frames (RFC 9113, sections 3.4 and 4.1). */
import { frameHeaderBytes, frameSizeError, payloadBytesMax, protocolError } from './frames.js';

/** The payload is in `bytes` between `from` and `to`. The handler may keep parts of `bytes`. */
export type FrameHandler = (type: number, flags: number, id: number, bytes: Buffer, from: number, to: number) => void;

// The connections share this time for reading in a turn of the event loop, so that none of them stops the others.
const [readingMsMin, readingMsMax, connectionMsMax] = [10, 25, 1];
// After its part of the time, a connection may still send this many frames.
const framesMin = 16;
let turn = { beganMs: performance.now(), readingMs: readingMsMin, readers: 0, readersBefore: 1 };

/** Returns when the turn of a connection ends. The previous turn shows how many connections are read, and how long it takes. */
function readingEndMs(): number {
  const nowMs = performance.now();
  if (turn.readers++ === 0) {
    // If reading had less than half of the time, requests would grow old in the system's buffers.
    turn.readingMs = Math.min(readingMsMax, Math.max(readingMsMin, (nowMs - turn.beganMs) / 2));
    turn.beganMs = nowMs;
    setImmediate(() => {
      turn = { ...turn, readers: 0, readersBefore: turn.readers };
    });
  }
  return nowMs + Math.min(connectionMsMax, turn.readingMs / turn.readersBefore);
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export class FrameParser {
  #prefaceRead = 0;
  /** A frame that has not arrived completely. */
  #partial: Buffer | undefined;
  #partialEnd = 0;
  #isStopped = false;

  constructor(private readonly onFrame: FrameHandler) {}

  get bufferedBytes(): number {
    return this.#partial?.length ?? 0;
  }

  /** Whether the client has begun a frame, or its first bytes, and has not finished it. */
  get isInFrame(): boolean {
    return this.#partial !== undefined || this.#prefaceRead < preface.length;
  }

  /** Returns how many bytes it has read, which may be fewer if that took long. Throws a ConnectionError, or what the handler throws. */
  push(chunk: Buffer): number {
    let at = this.#readPreface(chunk);
    if (this.#partial !== undefined) at = this.#complete(this.#partial, chunk, at);
    const endMs = readingEndMs();
    for (let frames = 1; chunk.length - at >= frameHeaderBytes && !this.#isStopped; frames++) {
      if (frames % framesMin === 0 && performance.now() > endMs) return at;
      const next = at + frameHeaderBytes + payloadBytesAt(chunk, at);
      if (next > chunk.length) break;
      this.#handle(chunk, at, next);
      at = next;
    }
    if (at < chunk.length && !this.#isStopped) this.#keep(chunk, at);
    return chunk.length;
  }

  /** Ignores everything that follows. */
  stop(): void {
    this.#isStopped = true;
    this.#partial = undefined;
  }

  #readPreface(chunk: Buffer): number {
    const rest = Math.min(preface.length - this.#prefaceRead, chunk.length);
    if (rest === 0) return 0;
    if (preface.compare(chunk, 0, rest, this.#prefaceRead, this.#prefaceRead + rest) !== 0) {
      throw protocolError('The client does not speak HTTP/2.');
    }
    this.#prefaceRead += rest;
    return rest;
  }

  #handle(bytes: Buffer, at: number, end: number): void {
    const streamId = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
    this.onFrame(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, streamId, bytes, at + frameHeaderBytes, end);
  }

  /** Keeps the beginning of a frame in a buffer that has room for exactly this frame, or for its header. */
  #keep(chunk: Buffer, at: number): void {
    const isHeaderKnown = chunk.length - at >= frameHeaderBytes;
    this.#partial = Buffer.allocUnsafeSlow(frameHeaderBytes + (isHeaderKnown ? payloadBytesAt(chunk, at) : 0));
    this.#partialEnd = chunk.copy(this.#partial, 0, at);
  }

  /** Returns where the next frame begins. */
  #complete(partial: Buffer, chunk: Buffer, from: number): number {
    const copied = chunk.copy(partial, this.#partialEnd, from);
    this.#partialEnd += copied;
    if (this.#partialEnd < partial.length) return from + copied;
    const frameBytes = frameHeaderBytes + payloadBytesAt(partial, 0);
    if (frameBytes > partial.length) {
      this.#keep(partial, 0);
      return this.#complete(this.#partial ?? partial, chunk, from + copied);
    }
    this.#partial = undefined;
    this.#handle(partial, 0, frameBytes);
    return from + copied;
  }
}

/** Returns the length of the payload of the frame at an offset. */
function payloadBytesAt(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at) >>> 8;
  if (length > payloadBytesMax) throw frameSizeError('A frame is too large.');
  return length;
}
