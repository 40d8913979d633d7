/** Length-prefixed messages: reads them from chunks of any size, and writes them. */
import { promisify } from 'node:util';
import { gunzip, gzip, inflate } from 'node:zlib';
import { callError } from './call-error.js';

export interface Frame {
  readonly isCompressed: boolean;
  readonly bytes: Buffer;
}

const prefixBytes = 5;

/** Collects chunks until a message is complete. */
export class FrameReader {
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Whether the buffer is the transport's. */
  #isBorrowed = false;

  /** `bytesMax` limits each message. */
  constructor(private readonly bytesMax: number) {}

  /** The bytes that have not been taken. */
  get bufferedBytes(): number {
    return this.#end - this.#start;
  }

  push(chunk: Buffer): void {
    if (this.#start === this.#end) {
      // The usual case, a message in one chunk, needs no copy.
      this.#buffer = chunk;
      this.#isBorrowed = true;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    const bytes = this.bufferedBytes;
    if (this.#end + chunk.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(2 * (bytes + chunk.length));
      this.#buffer.copy(larger, 0, this.#start, this.#end);
      this.#buffer = larger;
      this.#isBorrowed = false;
      this.#start = 0;
      this.#end = bytes;
    }
    // The first chunk belongs to the transport, and fills its buffer. So this only writes to own buffers.
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  /** Takes the next complete message. Throws a CallError for one that is too large or has unknown flags. */
  next(): Frame | undefined {
    if (this.bufferedBytes < prefixBytes) return this.#wait();
    const flags = this.#buffer.readUInt8(this.#start);
    const length = this.#buffer.readUInt32BE(this.#start + 1);
    if (flags > 1) throw callError('MALFORMED_MESSAGE', 'A message has unknown flags.');
    if (length > this.bytesMax) throw tooLarge(this.bytesMax);
    const start = this.#start + prefixBytes;
    if (this.#end < start + length) return this.#wait();
    this.#start = start + length;
    return { isCompressed: flags === 1, bytes: this.#buffer.subarray(start, start + length) };
  }

  /** Copies the begun message. Otherwise a few bytes could keep a large buffer of the transport in memory. */
  #wait(): undefined {
    const bytes = this.bufferedBytes;
    if (!this.#isBorrowed || bytes === 0) return;
    const copy = Buffer.allocUnsafeSlow(bytes);
    this.#buffer.copy(copy, 0, this.#start, this.#end);
    this.#buffer = copy;
    this.#isBorrowed = false;
    this.#start = 0;
    this.#end = bytes;
  }
}

export function tooLarge(bytesMax: number) {
  return callError('MESSAGE_TOO_LARGE', `A message of this method must have at most ${bytesMax} bytes.`);
}

/** Returns the message with its prefix. */
export function frame(message: Uint8Array, isCompressed = false): Buffer {
  const framed = Buffer.allocUnsafe(prefixBytes + message.length);
  framed[0] = isCompressed ? 1 : 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, prefixBytes);
  return framed;
}

type Decompress = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>;

const decompressors: Readonly<Record<string, Decompress>> = { gzip: promisify(gunzip), deflate: promisify(inflate) };

/** The value of grpc-accept-encoding. */
export const acceptedEncodings = ['identity', ...Object.keys(decompressors)].join(',');

export function isKnownEncoding(encoding: string): boolean {
  return encoding === 'identity' || Object.hasOwn(decompressors, encoding);
}

/** `encoding` is the value of grpc-encoding. Throws a CallError. */
export async function decompress(bytes: Buffer, encoding: string | undefined, bytesMax: number): Promise<Buffer> {
  const decompressor = decompressors[encoding ?? ''];
  if (decompressor === undefined) {
    throw callError('MALFORMED_MESSAGE', 'A message is compressed, but grpc-encoding names no compression.');
  }
  if (bytes.length === 0) return bytes;
  try {
    return await decompressor(bytes, { maxOutputLength: Math.max(bytesMax, 1) });
  } catch (error) {
    const isTooLarge = error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    throw isTooLarge ? tooLarge(bytesMax) : callError('MALFORMED_MESSAGE', 'A message cannot be decompressed.');
  }
}

export const compress = promisify(gzip);
