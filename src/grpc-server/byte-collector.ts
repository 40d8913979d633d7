/** Collects chunks in one buffer, so that bytes that arrive one by one do not cost an object for each byte. */
export class ByteCollector {
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Whether the buffer is the transport's. */
  #isBorrowed = false;

  /** The bytes that have not been taken. */
  get length(): number {
    return this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    const { length } = this;
    if (length === 0) {
      // The usual case, everything in one chunk, needs no copy.
      this.#buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      this.#isBorrowed = true;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    if (this.#end + chunk.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(2 * (length + chunk.length));
      this.#buffer.copy(larger, 0, this.#start, this.#end);
      this.#buffer = larger;
      this.#isBorrowed = false;
      this.#start = 0;
      this.#end = length;
    }
    // The first chunk belongs to the transport, and fills its buffer. So this only writes to own buffers.
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Copies the bytes. Otherwise a few bytes could keep a large buffer of the transport in memory. */
  detach(): void {
    const { length } = this;
    if (!this.#isBorrowed || length === 0) return;
    const copy = Buffer.allocUnsafeSlow(length);
    this.#buffer.copy(copy, 0, this.#start, this.#end);
    this.#buffer = copy;
    this.#isBorrowed = false;
    this.#start = 0;
    this.#end = length;
  }

  /** Returns the next bytes without taking them. */
  peek(length: number): Buffer {
    return this.#buffer.subarray(this.#start, this.#start + length);
  }

  /** The result stays valid, because later chunks are written after it or to another buffer. */
  take(length: number): Buffer {
    const bytes = this.peek(length);
    this.#start += length;
    return bytes;
  }
}
