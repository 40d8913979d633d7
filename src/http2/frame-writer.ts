/** Writes frames to a socket. Everything that is written in one turn of the event loop becomes one write of the socket. */
import type { Socket } from 'node:net';
import { frameFlag, frameHeaderBytes, frameType, payloadBytesMax } from './frames.js';
import type { HeaderFields } from './header-decoder.js';
import { encodedBytesMax, encodeFields } from './header-encoder.js';

const bufferBytes = 64 * 1024;
const spareBuffersMax = 32;
// All connections share the buffers that no socket is sending.
const spareBuffers: Buffer[] = [];
const unflushed: FrameWriter[] = [];
/** The blocks of frozen fields, such as the header of most responses. */
const constantBlocks = new WeakMap<HeaderFields, Buffer>();
// Changes the size of the table to 0 (RFC 7541, section 6.3). A client that allows only a small table waits for this.
const noTable = Buffer.from([0x20]);

function flushAll(): void {
  for (const writer of unflushed.splice(0)) writer.flushIfWritable();
}

export class FrameWriter {
  #buffer: Buffer | undefined;
  #end = 0;
  #isFlushDue = false;
  #hasSentBlock = false;

  /** `onWritable` is called when the socket has sent what it had not sent at once. */
  constructor(
    private readonly socket: Socket,
    private readonly onWritable: () => void,
  ) {}

  /** The bytes that the socket could not send yet. */
  get unsentBytes(): number {
    return this.socket.writableLength + this.#end;
  }

  /** Whether the client or its network is slower than the server. Data waits in its stream then, and is counted there. */
  get isBlocked(): boolean {
    return this.unsentBytes > bufferBytes;
  }

  /** While the client does not read, further frames share a buffer. Otherwise small ones could hold a large buffer each. */
  flushIfWritable(): void {
    this.#isFlushDue = false;
    if (this.socket.writableLength === 0) this.flush();
  }

  /** Sends what was written. Without this call, that happens at the end of the turn, or when the socket is writable. */
  flush(): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    this.#buffer = undefined;
    const bytes = buffer.subarray(0, this.#end);
    this.#end = 0;
    // After the end of the connection, nothing is sent.
    if (!this.socket.writable) return;
    this.socket.write(bytes, () => {
      if (spareBuffers.length < spareBuffersMax) spareBuffers.push(buffer);
      if (this.socket.writableLength > 0) return;
      this.flush();
      this.onWritable();
    });
  }

  writeFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#begin(payload.length, type, flags, streamId).set(payload, this.#end);
    this.#end += payload.length;
  }

  /** Writes a frame whose payload is a number of 32 bits. */
  writeNumber(type: number, streamId: number, value: number): void {
    const buffer = this.#begin(4, type, 0, streamId);
    this.#end = buffer.writeUInt32BE(value, this.#end);
  }

  /** Writes settings as pairs of an id and a value (RFC 9113, section 6.5.1). */
  writeSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    const buffer = this.#begin(6 * settings.length, frameType.settings, 0, 0);
    for (const [id, value] of settings) {
      this.#end = buffer.writeUInt16BE(id, this.#end);
      this.#end = buffer.writeUInt32BE(value, this.#end);
    }
  }

  writeGoaway(lastStreamId: number, code: number, message: string): void {
    const payload = Buffer.alloc(8 + message.length);
    payload.writeUInt32BE(lastStreamId, 0);
    payload.writeUInt32BE(code, 4);
    payload.write(message, 8, 'latin1');
    this.writeFrame(frameType.goaway, 0, 0, payload);
  }

  /** Writes the fields that begin or end a response. The encoding of a frozen array is kept for the next time. */
  writeHeaders(fields: HeaderFields, streamId: number, isEndOfStream: boolean): void {
    const endStream = isEndOfStream ? frameFlag.endStream : 0;
    const blockBytesMax = encodedBytesMax(fields);
    if (blockBytesMax > payloadBytesMax || !this.#hasSentBlock || Object.isFrozen(fields)) {
      this.#writeBlock(blockOf(fields), streamId, endStream);
      return;
    }
    const buffer = this.#begin(blockBytesMax, frameType.headers, frameFlag.endHeaders | endStream, streamId);
    const start = this.#end;
    this.#end = encodeFields(fields, buffer, start);
    buffer.writeUIntBE(this.#end - start, start - frameHeaderBytes, 3);
  }

  /** Writes a header block, in several frames if it is large (RFC 9113, section 4.3). */
  #writeBlock(fieldBlock: Buffer, streamId: number, firstFlags: number): void {
    const block = this.#hasSentBlock ? fieldBlock : Buffer.concat([noTable, fieldBlock]);
    this.#hasSentBlock = true;
    let at = 0;
    do {
      const part = block.length <= payloadBytesMax ? block : block.subarray(at, at + payloadBytesMax);
      const endHeaders = at + part.length === block.length ? frameFlag.endHeaders : 0;
      if (at === 0) this.writeFrame(frameType.headers, firstFlags | endHeaders, streamId, part);
      else this.writeFrame(frameType.continuation, endHeaders, streamId, part);
      at += part.length;
    } while (at < block.length);
  }

  /** Writes the header of a frame. Returns a buffer with room for its payload at `#end`. */
  #begin(payloadBytes: number, type: number, flags: number, streamId: number): Buffer {
    if (this.#end + frameHeaderBytes + payloadBytes > bufferBytes) this.flush();
    if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      if (unflushed.push(this) === 1) setImmediate(flushAll);
    }
    this.#buffer ??= spareBuffers.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
    this.#buffer.writeUInt32BE(payloadBytes * 256 + type, this.#end);
    this.#buffer[this.#end + 4] = flags;
    this.#end = this.#buffer.writeUInt32BE(streamId, this.#end + 5);
    return this.#buffer;
  }
}

function blockOf(fields: HeaderFields): Buffer {
  const known = constantBlocks.get(fields);
  if (known !== undefined) return known;
  const bytes = Buffer.allocUnsafeSlow(encodedBytesMax(fields));
  const block = bytes.subarray(0, encodeFields(fields, bytes, 0));
  if (Object.isFrozen(fields)) constantBlocks.set(fields, block);
  return block;
}
