/** Collects the bytes of requests. */

/** Collects chunks in one buffer, so that a body that arrives byte by byte does not cost an object for each byte. */
export function createCollector() {
  let buffer: Buffer = Buffer.alloc(0);
  let start = 0;
  let end = 0;
  return {
    length: () => end - start,
    append(chunk: Uint8Array): void {
      if (end + chunk.length > buffer.length) {
        const larger = Buffer.allocUnsafe(2 * (end - start + chunk.length));
        buffer.copy(larger, 0, start, end);
        end -= start;
        start = 0;
        buffer = larger;
      }
      buffer.set(chunk, end);
      end += chunk.length;
    },
    /** The result stays valid, because later bytes are appended after it or copied to a new buffer. */
    take(length: number): Buffer {
      const bytes = buffer.subarray(start, start + length);
      start += length;
      return bytes;
    },
  };
}
