/** Collects header blocks from HEADERS and CONTINUATION frames (RFC 9113, sections 6.2 and 6.10). */
import { ConnectionError, endWithoutPadding, errorCode, frameFlag, frameSizeError, protocolError } from './frames.js';

export type BlockHandler = (streamId: number, isEndOfStream: boolean, bytes: Buffer, from: number, to: number) => void;

// The decoder limits the decoded list. This limits what the process holds until the block is complete.
const blockBytesMax = 64 * 1024;
// A block of the largest size has four frames if the client fills them. Empty ones would never end (CVE-2024-27316).
const framesMax = 64;
const priorityBytes = 5;

export class HeaderBlockReader {
  /** The stream of a block that has begun and is not complete. Otherwise 0. No other frame may come in between. */
  openStreamId = 0;
  bufferedBytes = 0;
  #parts: Buffer[] = [];
  #isEndOfStream = false;

  constructor(private readonly onBlock: BlockHandler) {}

  readHeaders(flags: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    // Streams of clients have odd numbers (section 5.1.1).
    if (streamId % 2 === 0) throw protocolError('HEADERS must be on a stream of the client.');
    const end = endWithoutPadding(flags, bytes, from, to);
    let start = (flags & frameFlag.padded) === 0 ? from : from + 1;
    if ((flags & frameFlag.priority) !== 0) {
      if (end - start < priorityBytes) throw frameSizeError('HEADERS are too short.');
      if ((bytes.readUInt32BE(start) & 0x7fff_ffff) === streamId) throw protocolError('A stream depends on itself.');
      start += priorityBytes;
    }
    const isEndOfStream = (flags & frameFlag.endStream) !== 0;
    if ((flags & frameFlag.endHeaders) !== 0) {
      this.onBlock(streamId, isEndOfStream, bytes, start, end);
      return;
    }
    this.openStreamId = streamId;
    this.#isEndOfStream = isEndOfStream;
    this.#append(bytes, start, end);
  }

  readContinuation(flags: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    if (streamId === 0 || streamId !== this.openStreamId) throw protocolError('CONTINUATION must follow HEADERS.');
    this.#append(bytes, from, to);
    if ((flags & frameFlag.endHeaders) === 0) return;
    const block = Buffer.concat(this.#parts);
    this.#parts = [];
    this.bufferedBytes = 0;
    this.openStreamId = 0;
    this.onBlock(streamId, this.#isEndOfStream, block, 0, block.length);
  }

  #append(bytes: Buffer, from: number, to: number): void {
    this.#parts.push(Buffer.from(bytes.subarray(from, to)));
    this.bufferedBytes += to - from;
    if (this.bufferedBytes > blockBytesMax || this.#parts.length > framesMax) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'A header block is too large.');
    }
  }
}
