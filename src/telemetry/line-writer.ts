/** Writes the lines of the log to standard output. */
import { writeSync } from 'node:fs';

/** Receives whole lines, each with its line feed. */
export interface LogDestination {
  write(text: string): void;
}

/** How long a write waits while the reader of a full pipe reads nothing. */
const readerTimeoutMs = 5000;

// Linux writes up to this size to a pipe atomically (PIPE_BUF). Larger writes can mix with lines of other workers.
const writeBytesMax = 4096;
const lineFeed = 0x0a;

/** Returns the end of an atomic write of whole lines that begins at `start`. A longer line is written alone. */
function endOfWrite(bytes: Buffer, start: number): number {
  if (bytes.length - start <= writeBytesMax) return bytes.length;
  const last = bytes.lastIndexOf(lineFeed, start + writeBytesMax - 1);
  return (last >= start ? last : bytes.indexOf(lineFeed, start)) + 1;
}

/**
 * Writes the lines of one event loop turn together, because calls that share a statement end in the same turn. It
 * writes synchronously, so a SIGKILL loses only the lines of the current turn, and a slow reader slows the server down.
 * sonic-boom was rejected because its flush never returns after the reader has exited.
 */
function createLineWriter(fd: number): LogDestination {
  const neverNotified = new Int32Array(new SharedArrayBuffer(4));
  let buffered = '';
  let started = false;

  function flush() {
    const bytes = Buffer.from(buffered);
    buffered = '';
    let progressAt = performance.now();
    let end = 0;
    for (let written = 0; written < bytes.length; ) {
      if (written === end) end = endOfWrite(bytes, written);
      try {
        written += writeSync(fd, bytes, written, end - written);
        progressAt = performance.now();
      } catch (error) {
        const isFull = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
        // A missing reader or a full disk must not stop the service, so these lines are lost.
        if (!isFull || performance.now() - progressAt > readerTimeoutMs) return;
        // Sleep 1 ms. Any use of process.stdout makes a pipe non-blocking, and Node cannot wait for it synchronously.
        Atomics.wait(neverNotified, 0, 0, 1);
      }
    }
  }

  return {
    write(text) {
      if (!started) process.on('exit', flush);
      started = true;
      if (buffered === '') setImmediate(flush);
      buffered += text;
    },
  };
}

// A process has one standard output, so it has one writer.
export const standardOutput: LogDestination = createLineWriter(1);
