/** Handles the frames of the client of one connection (RFC 9113, sections 5 and 6). */
import type { Application } from './application.js';
import type { Http2Connection } from './connection.js';
import { FrameParser } from './frame-parser.js';
import { ConnectionError, endWithoutPadding, errorCode, frameFlag, frameType, windowBytesMax } from './frames.js';
import { HeaderBlockReader } from './header-block-reader.js';
import { HeaderDecoder, type HeaderFields } from './header-decoder.js';
import { readInitialWindow } from './peer-settings.js';
import { areValidTrailers, checkRequest } from './request-fields.js';
import { Http2Stream } from './stream.js';

export const headerListBytesMax = 64 * 1024;
// The data of all streams is handed to the application at once, so this window limits only what is sent in one round trip.
export const connectionWindowBytes = 1024 * 1024;

export class ClientFrames<Connection> {
  hasSettings = false;
  readonly #decoder = new HeaderDecoder(headerListBytesMax);
  readonly #parser = new FrameParser((...frame) => this.#onFrame(...frame));
  readonly #blocks = new HeaderBlockReader((...block) => this.#onBlock(...block));
  /** The bytes of data that the client may not send again yet. */
  #receivedBytes = 0;

  constructor(
    private readonly connection: Http2Connection<Connection>,
    private readonly application: Application<Connection>,
  ) {}

  /** Whether a frame or a header block has begun and is not complete. */
  get isInFrame(): boolean {
    return this.#parser.isInFrame || this.#blocks.openStreamId !== 0;
  }

  get bufferedBytes(): number {
    return this.#parser.bufferedBytes + this.#blocks.bufferedBytes;
  }

  /** Throws a ConnectionError. */
  read(chunk: Buffer): void {
    this.#parser.push(chunk);
  }

  /** Ignores everything that follows. */
  stop(): void {
    this.#parser.stop();
  }

  #onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (this.#blocks.openStreamId !== 0 && type !== frameType.continuation) {
      throw protocolError('A frame interrupts a header block.');
    }
    if (!this.hasSettings && (type !== frameType.settings || (flags & frameFlag.ack) !== 0)) {
      throw protocolError('The first frame must be SETTINGS.');
    }
    switch (type) {
      case frameType.data:
        this.#onData(flags, id, bytes, from, to);
        break;
      case frameType.headers:
        this.#blocks.readHeaders(flags, id, bytes, from, to);
        break;
      case frameType.priority:
        this.#onPriority(id, bytes, from, to);
        break;
      case frameType.resetStream:
        this.#onReset(id, from, to);
        break;
      case frameType.settings:
        this.#onSettings(flags, id, bytes, from, to);
        break;
      case frameType.pushPromise:
        throw protocolError('A client must not push.');
      case frameType.ping:
        this.#onPing(flags, id, bytes, from, to);
        break;
      case frameType.goaway:
        this.#onGoaway(id, from, to);
        break;
      case frameType.windowUpdate:
        this.#onWindowUpdate(id, bytes, from, to);
        break;
      case frameType.continuation:
        this.#blocks.readContinuation(flags, id, bytes, from, to);
        break;
      default:
        this.connection.guard.spend();
    }
  }

  /** Section 6.1. */
  #onData(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocolError('DATA must be on a stream.');
    const end = endWithoutPadding(flags, bytes, from, to);
    const start = (flags & frameFlag.padded) === 0 ? from : from + 1;
    const isEndOfStream = (flags & frameFlag.endStream) !== 0;
    if (start === end && !isEndOfStream) this.connection.guard.spend();
    this.#extendWindow(to - from);
    const stream = this.connection.streams.get(id);
    if (stream === undefined) this.#checkClosed(id, 'DATA');
    else stream.receiveData(bytes.subarray(start, end), to - from, isEndOfStream);
  }

  /** Lets the client send as much again as it has sent on all streams, in few frames (section 6.9.1). */
  #extendWindow(bytes: number): void {
    this.#receivedBytes += bytes;
    if (this.#receivedBytes > connectionWindowBytes) {
      throw new ConnectionError(errorCode.flowControlError, 'The client exceeds the window of the connection.');
    }
    if (this.#receivedBytes < connectionWindowBytes / 2) return;
    this.connection.writer.writeNumber(frameType.windowUpdate, 0, this.#receivedBytes);
    this.#receivedBytes = 0;
  }

  /** A frame is for a stream that is not open. Throws unless the server has reset the stream. */
  #checkClosed(id: number, name: string): void {
    if (this.#isIdle(id)) throw protocolError(`${name} on a stream that was not opened.`);
    const { streams } = this.connection;
    if (id > streams.lastId || streams.wasReset(id)) this.connection.guard.spend();
    else throw new ConnectionError(errorCode.streamClosed, `${name} on a closed stream.`);
  }

  /** Streams above the last GOAWAY are not idle, because the client may have opened them before it received that. */
  #isIdle(id: number): boolean {
    return id > this.connection.streams.lastId && !this.connection.ignoresNewStreams;
  }

  /** A complete header block, which always changes the decoder's table. */
  #onBlock(id: number, isEndOfStream: boolean, bytes: Buffer, from: number, to: number): void {
    const { fields, isTooLarge } = this.#decoder.decode(bytes, from, to);
    const { connection } = this;
    const { streams } = connection;
    const open = streams.get(id);
    if (open !== undefined) {
      // Trailers.
      if (!isEndOfStream || isTooLarge || !areValidTrailers(fields)) open.fail(errorCode.protocolError);
      else open.receiveEnd();
      return;
    }
    if (id <= streams.lastId || connection.ignoresNewStreams) {
      this.#checkClosed(id, 'HEADERS');
      return;
    }
    streams.lastId = id;
    if (streams.isFull) {
      this.#refuse(id, errorCode.refusedStream);
      return;
    }
    const { isValid, contentLength } = checkRequest(fields);
    if (!isValid || (isEndOfStream && (contentLength ?? 0) > 0)) {
      this.#refuse(id, errorCode.protocolError);
      return;
    }
    const stream = new Http2Stream(id, connection, isEndOfStream, contentLength);
    streams.add(stream);
    if (isTooLarge) this.#answerTooLarge(stream);
    else stream.start(this.application, fields);
  }

  /** The client may not have counted this stream yet, so that this costs it credit (CVE-2025-8671). */
  #refuse(id: number, code: number): void {
    this.connection.guard.spend();
    this.connection.streams.reset(id, code);
  }

  /** Many large fields cost few bytes as references to a table (CVE-2016-6581). They were not kept. */
  #answerTooLarge(stream: Http2Stream<Connection>): void {
    this.connection.guard.spend();
    stream.sendOnly(tooLarge);
  }

  /** Section 5.3.2: priorities are read and not used. */
  #onPriority(id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocolError('PRIORITY must be on a stream.');
    this.connection.guard.spend();
    if (to - from !== 5) this.#fail(id, errorCode.frameSizeError);
    else if ((bytes.readUInt32BE(from) & 0x7fff_ffff) === id) this.#fail(id, errorCode.protocolError);
  }

  #fail(id: number, code: number): void {
    const stream = this.connection.streams.get(id);
    if (stream !== undefined) stream.fail(code);
    else this.#refuse(id, code);
  }

  /** Section 6.4. A client that opens and resets streams makes the server work (CVE-2023-44487). */
  #onReset(id: number, from: number, to: number): void {
    if (id === 0) throw protocolError('RST_STREAM must be on a stream.');
    if (to - from !== 4) throw frameSizeError('RST_STREAM must have four bytes.');
    if (this.#isIdle(id)) throw protocolError('RST_STREAM on a stream that was not opened.');
    this.connection.guard.spend();
    this.connection.streams.get(id)?.abandon();
  }

  /** Section 6.5. */
  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const { connection } = this;
    if (id !== 0) throw protocolError('SETTINGS must not be on a stream.');
    if ((flags & frameFlag.ack) !== 0) {
      if (to > from) throw frameSizeError('An acknowledgement of SETTINGS must be empty.');
      connection.streams.noteAcknowledged();
      return;
    }
    if (this.hasSettings) connection.guard.spend();
    this.hasSettings = true;
    const initialWindow = readInitialWindow(bytes, from, to);
    if (initialWindow !== undefined) {
      const change = initialWindow - connection.initialSendWindow;
      connection.initialSendWindow = initialWindow;
      for (const stream of connection.streams) {
        stream.sendWindow += change;
        if (stream.sendWindow > windowBytesMax) throw windowError();
      }
    }
    connection.writer.writeFrame(frameType.settings, frameFlag.ack, 0, noBytes);
    connection.sender.sendWaiting();
  }

  /** Section 6.7. */
  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw protocolError('PING must not be on a stream.');
    if (to - from !== 8) throw frameSizeError('PING must have eight bytes.');
    this.connection.guard.spend();
    const payload = bytes.subarray(from, to);
    if ((flags & frameFlag.ack) === 0) this.connection.writer.writeFrame(frameType.ping, frameFlag.ack, 0, payload);
    else this.connection.onPingAcknowledged(payload);
  }

  /** Section 6.8. The client starts no more streams if the server has none open. */
  #onGoaway(id: number, from: number, to: number): void {
    if (id !== 0) throw protocolError('GOAWAY must not be on a stream.');
    if (to - from < 8) throw frameSizeError('GOAWAY must have eight bytes.');
    this.connection.guard.spend();
    this.connection.drain();
    this.connection.finishDrain();
  }

  /** Section 6.9. */
  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw frameSizeError('WINDOW_UPDATE must have four bytes.');
    const { connection } = this;
    connection.guard.spend();
    const change = bytes.readUInt32BE(from) & windowBytesMax;
    if (id === 0) {
      if (change === 0) throw protocolError('WINDOW_UPDATE must not be 0.');
      connection.sender.widen(change);
      return;
    }
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) throw protocolError('WINDOW_UPDATE on a stream that was not opened.');
      return;
    }
    stream.sendWindow += change;
    if (change === 0) stream.fail(errorCode.protocolError);
    else if (stream.sendWindow > windowBytesMax) stream.fail(errorCode.flowControlError);
    else if (stream.unsentBytes > 0) connection.sender.sendWaiting();
  }
}

const noBytes = Buffer.alloc(0);
const tooLarge: HeaderFields = [':status', '431'];

function protocolError(message: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, message);
}

function frameSizeError(message: string): ConnectionError {
  return new ConnectionError(errorCode.frameSizeError, message);
}

function windowError(): ConnectionError {
  return new ConnectionError(errorCode.flowControlError, 'A window is too large.');
}
