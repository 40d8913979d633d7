/** Handles the frames of the client of one connection (RFC 9113, sections 5 and 6). */
import type { Application } from './application.js';
import type { Http2Connection } from './connection.js';
import { usefulBytes } from './data-sender.js';
import { FrameParser } from './frame-parser.js';
import {
  ConnectionError,
  endWithoutPadding,
  errorCode,
  flowControlError,
  frameFlag,
  frameSizeError,
  frameType,
  headerListBytesMax,
  payloadBytesMax,
  protocolError,
  settingId,
  windowBytesMax,
} from './frames.js';
import { HeaderBlockReader } from './header-block-reader.js';
import { HeaderDecoder, type HeaderFields, type HeaderList } from './header-decoder.js';
import { areValidTrailers, checkRequest } from './request-fields.js';
import { Http2Stream } from './stream.js';

// The data of all streams is handed to the application at once, so this window limits only what is sent in one round trip.
export const connectionWindowBytes = 1024 * 1024;
// The cost of frames that make the server work longer: a large header, and a change of the windows of all streams.
const largeCost = 50;
const settingBytes = 6;
export const drainPing = Buffer.from('draining');
const frameSizeMax = 2 ** 24 - 1;
const noBytes = Buffer.alloc(0);
const tooLarge: HeaderFields = [':status', '431'];

export class ClientFrames<Connection> {
  hasSettings = false;
  readonly #decoder = new HeaderDecoder(headerListBytesMax);
  readonly parser = new FrameParser((...frame) => {
    this.#onFrame(...frame);
    if (this.#blocks.openStreamId === 0) this.#completed++;
  });
  readonly #blocks = new HeaderBlockReader((...block) => this.#onBlock(...block));
  /** The bytes of data that the client may not send again yet. */
  #receivedBytes = 0;
  /** The frames, of which a header block is one. */
  #completed = 0;

  constructor(
    private readonly connection: Http2Connection<Connection>,
    private readonly application: Application<Connection>,
  ) {}

  /** The number of the frame or of the header block that has begun and is not complete. Otherwise 0. */
  get openFrame(): number {
    return this.parser.isInFrame || this.#blocks.openStreamId !== 0 ? this.#completed + 1 : 0;
  }

  get bufferedBytes(): number {
    return this.parser.bufferedBytes + this.#blocks.bufferedBytes;
  }

  #onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (this.#blocks.openStreamId !== 0 && type !== frameType.continuation) {
      throw protocolError('A frame interrupts a header block.');
    }
    if (!this.hasSettings && (type !== frameType.settings || (flags & frameFlag.ack) !== 0)) {
      throw protocolError('The first frame must be SETTINGS.');
    }
    if (type === frameType.data) this.#onData(flags, id, bytes, from, to);
    else if (type === frameType.headers) this.#blocks.readHeaders(flags, id, bytes, from, to);
    else if (type === frameType.windowUpdate) this.#onWindowUpdate(id, bytes, from, to);
    else if (type === frameType.ping) this.#onPing(flags, id, bytes, from, to);
    else if (type === frameType.resetStream) this.#onReset(id, from, to);
    else if (type === frameType.settings) this.#onSettings(flags, id, bytes, from, to);
    else if (type === frameType.continuation) this.#blocks.readContinuation(flags, id, bytes, from, to);
    else if (type === frameType.priority) this.#onPriority(id, bytes, from, to);
    else if (type === frameType.goaway) this.#onGoaway(id, from, to);
    else if (type === frameType.pushPromise) throw protocolError('A client must not push.');
    // Other types are ignored (section 5.5).
    else this.connection.guard.spend();
  }

  /** Section 6.1. */
  #onData(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocolError('DATA must be on a stream.');
    const end = endWithoutPadding(flags, bytes, from, to);
    const start = (flags & frameFlag.padded) === 0 ? from : from + 1;
    const isEndOfStream = (flags & frameFlag.endStream) !== 0;
    if (start === end && !isEndOfStream) this.connection.guard.spend();
    this.#extendWindow(to - from);
    const stream = this.connection.streams.open.get(id);
    if (stream === undefined) {
      this.#checkClosed(id, 'DATA');
      if (isEndOfStream) this.connection.streams.incompleteIds.delete(id);
    } else stream.receiveData(bytes.subarray(start, end), to - from, isEndOfStream);
  }

  /** Lets the client send as much again as it has sent on all streams, in few frames (section 6.9.1). */
  #extendWindow(bytes: number): void {
    this.#receivedBytes += bytes;
    if (this.#receivedBytes > connectionWindowBytes) throw flowControlError('The client exceeds its window.');
    if (this.#receivedBytes < connectionWindowBytes / 2) return;
    this.connection.writer.writeNumber(frameType.windowUpdate, 0, this.#receivedBytes);
    this.#receivedBytes = 0;
  }

  /** A frame is for a stream that is not open. */
  #checkClosed(id: number, name: string): void {
    if (this.#isIdle(id)) throw protocolError(`${name} on a stream that was not opened.`);
    const { streams } = this.connection;
    if (id > streams.lastId || streams.wasEnded(id)) this.connection.guard.spend();
    // grpc-java sends DATA after RST_STREAM if a call is cancelled early. Only the stream is at fault then.
    else if (name === 'DATA') this.#fail(id, errorCode.streamClosed);
    else throw new ConnectionError(errorCode.streamClosed, `${name} on a closed stream.`);
  }

  /** Streams above the last GOAWAY are not idle, because the client may have opened them before it received that. */
  #isIdle(id: number): boolean {
    return id > this.connection.streams.lastId && !this.connection.ignoresNewStreams;
  }

  /** A complete header block. It is decoded in any case, because it changes the decoder's table. */
  #onBlock(id: number, isEndOfStream: boolean, bytes: Buffer, from: number, to: number): void {
    const list = this.#decoder.decode(bytes, from, to);
    // Many large fields cost few bytes as references to a table (CVE-2016-6581). They were not kept.
    if (list.isTooLarge) this.connection.guard.spend(largeCost);
    const { streams, ignoresNewStreams } = this.connection;
    const stream = streams.open.get(id);
    if (stream !== undefined) {
      const areTrailers = isEndOfStream && !list.isTooLarge && areValidTrailers(list.fields);
      if (areTrailers) stream.receiveEnd();
      else this.#fail(id, errorCode.protocolError);
    } else if (id <= streams.lastId || ignoresNewStreams) this.#checkClosed(id, 'HEADERS');
    else this.#open(id, isEndOfStream, list);
  }

  #open(id: number, isEndOfStream: boolean, list: HeaderList): void {
    const { connection, application } = this;
    connection.streams.lastId = id;
    if (connection.streams.open.size >= connection.streams.openMax) {
      this.#fail(id, errorCode.refusedStream);
      return;
    }
    list.check ??= checkRequest(list.fields);
    const { isValid, contentLength } = list.check;
    if (!isValid || (isEndOfStream && (contentLength ?? 0) > 0)) {
      this.#fail(id, errorCode.protocolError);
      return;
    }
    const refusal = list.isTooLarge ? tooLarge : application.refusal?.(connection.context, list.fields);
    if (refusal !== undefined) {
      connection.writer.writeHeaders(refusal, id, true);
      connection.guard.earn();
      if (!isEndOfStream) connection.streams.noteAnswered(id);
      return;
    }
    const stream = new Http2Stream(id, connection, isEndOfStream, contentLength);
    connection.streams.open.set(id, stream);
    stream.start(application, list.fields);
  }

  /** Resets a stream, which costs the client credit (CVE-2025-8671). */
  #fail(id: number, code: number): void {
    this.connection.guard.spend();
    const stream = this.connection.streams.open.get(id);
    if (stream !== undefined) stream.reset(code);
    else this.connection.streams.reset(id, code);
  }

  /** Section 5.3.2: priorities are read and not used. */
  #onPriority(id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocolError('PRIORITY must be on a stream.');
    this.connection.guard.spend();
    if (to - from !== 5) this.#fail(id, errorCode.frameSizeError);
    else if ((bytes.readUInt32BE(from) & 0x7fff_ffff) === id) this.#fail(id, errorCode.protocolError);
  }

  /** Section 6.4. A client that opens and resets streams makes the server work (CVE-2023-44487). */
  #onReset(id: number, from: number, to: number): void {
    if (id === 0) throw protocolError('RST_STREAM must be on a stream.');
    if (to - from !== 4) throw frameSizeError('RST_STREAM must have four bytes.');
    if (this.#isIdle(id)) throw protocolError('RST_STREAM on a stream that was not opened.');
    this.connection.guard.spend();
    this.connection.streams.open.get(id)?.close();
  }

  /** Section 6.5. */
  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const { connection } = this;
    if (id !== 0) throw protocolError('SETTINGS must not be on a stream.');
    if ((flags & frameFlag.ack) !== 0) {
      if (to > from) throw frameSizeError('An acknowledgement of SETTINGS must be empty.');
      connection.guard.spend();
      return;
    }
    connection.guard.spend(largeCost);
    this.hasSettings = true;
    const initialWindow = readInitialWindow(bytes, from, to);
    connection.writer.writeFrame(frameType.settings, frameFlag.ack, 0, noBytes);
    if (initialWindow === undefined) return;
    const change = initialWindow - connection.initialSendWindow;
    connection.initialSendWindow = initialWindow;
    for (const stream of connection.streams.open.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > windowBytesMax) throw flowControlError('The window of a stream is too large.');
      connection.sender.add(stream);
    }
    connection.sender.sendWaiting();
  }

  /** Section 6.7. */
  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw protocolError('PING must not be on a stream.');
    if (to - from !== 8) throw frameSizeError('PING must have eight bytes.');
    this.connection.guard.spend();
    const payload = bytes.subarray(from, to);
    if ((flags & frameFlag.ack) === 0) this.connection.writer.writeFrame(frameType.ping, frameFlag.ack, 0, payload);
    else if (payload.equals(drainPing)) this.connection.finishDrain();
  }

  /** Section 6.8. A client that sends GOAWAY starts no more streams. */
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
    const change = bytes.readUInt32BE(from) & windowBytesMax;
    if (change < usefulBytes) connection.guard.spend();
    if (id === 0) {
      if (change === 0) throw protocolError('WINDOW_UPDATE must not be 0.');
      connection.sender.widen(change);
      return;
    }
    const stream = connection.streams.open.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) throw protocolError('WINDOW_UPDATE on a stream that was not opened.');
      return;
    }
    stream.sendWindow += change;
    if (change === 0) this.#fail(id, errorCode.protocolError);
    else if (stream.sendWindow > windowBytesMax) this.#fail(id, errorCode.flowControlError);
    else {
      connection.sender.add(stream);
      connection.sender.sendWaiting();
    }
  }
}

/** Returns the last SETTINGS_INITIAL_WINDOW_SIZE. Other settings do not change what the server sends. */
function readInitialWindow(bytes: Buffer, from: number, to: number): number | undefined {
  if ((to - from) % settingBytes !== 0) throw frameSizeError('The length of SETTINGS is not a multiple of six.');
  let initialWindow: number | undefined;
  for (let at = from; at < to; at += settingBytes) {
    const id = bytes.readUInt16BE(at);
    const value = bytes.readUInt32BE(at + 2);
    if (id === settingId.enablePush && value > 1) throw protocolError('ENABLE_PUSH must be 0 or 1.');
    if (id === settingId.maxFrameSize && (value < payloadBytesMax || value > frameSizeMax)) {
      throw protocolError('MAX_FRAME_SIZE is out of range.');
    }
    if (id !== settingId.initialWindowSize) continue;
    if (value > windowBytesMax) throw flowControlError('INITIAL_WINDOW_SIZE is too large.');
    initialWindow = value;
  }
  return initialWindow;
}
