/** Length-prefixed messages of gRPC, gRPC-Web and Connect: reads them from chunks of any size, and writes them. */
import { promisify } from 'node:util';
import { gunzip, gzip, inflate } from 'node:zlib';
import { ByteCollector } from './byte-collector.js';
import { callError } from './call-error.js';

export interface Frame {
  readonly isCompressed: boolean;
  readonly bytes: Buffer;
}

/** One byte of flags, and the length of the message. */
export const prefixBytes = 5;

/** Takes messages from chunks. */
export class FrameReader {
  readonly #collected = new ByteCollector();

  /** `bytesMax` limits each message. */
  constructor(private readonly bytesMax: number) {}

  /** The bytes that have not been taken. */
  get bufferedBytes(): number {
    return this.#collected.length;
  }

  push(chunk: Uint8Array): void {
    this.#collected.push(chunk);
  }

  /** Takes the next complete message. Throws a CallError for one that is too large or has unknown flags. */
  next(): Frame | undefined {
    if (this.bufferedBytes < prefixBytes) return this.#wait();
    const prefix = this.#collected.peek(prefixBytes);
    const flags = prefix.readUInt8(0);
    const length = prefix.readUInt32BE(1);
    if (flags > 1) throw callError('MALFORMED_MESSAGE', 'A message has unknown flags.');
    if (length > this.bytesMax) throw tooLarge(this.bytesMax);
    if (this.bufferedBytes < prefixBytes + length) return this.#wait();
    this.#collected.take(prefixBytes);
    return { isCompressed: flags === 1, bytes: this.#collected.take(length) };
  }

  #wait(): undefined {
    this.#collected.detach();
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
