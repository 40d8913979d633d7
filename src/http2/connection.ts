/** One connection of a server: its socket, its limits and its end. */
import type { Socket } from 'node:net';
import type { Application, BufferedBytes } from './application.js';
import { ClientFrames, connectionWindowBytes, drainPing } from './client-frames.js';
import { ConnectionClock, type ConnectionOptions } from './connection-clock.js';
import { DataSender } from './data-sender.js';
import { FloodGuard } from './flood-guard.js';
import { FrameWriter } from './frame-writer.js';
import {
  ConnectionError,
  errorCode,
  frameType,
  headerListBytesMax,
  settingId,
  streamIdMax,
  windowBytesDefault,
} from './frames.js';
import type { Http2Stream } from './stream.js';
import { StreamTable } from './stream-table.js';

// While more waits for the client to read it, nothing is read from the client.
const unsentBytesMax = 1024 * 1024;
// Node would read up to 32 chunks of this size before other connections.
const turnBytesMax = 64 * 1024;
// The application needs time for each stream of a connection that is closed.
const streamsPerTurn = 100;
// How long the client has to read the reason after an error.
const lastReadMs = 500;

export class Http2Connection<Connection> {
  readonly context: Connection;
  readonly writer: FrameWriter;
  readonly sender: DataSender;
  readonly guard = new FloodGuard();
  readonly streams: StreamTable<Connection>;
  /** The bytes that the client permits on each new stream. */
  initialSendWindow = windowBytesDefault;
  /** Since when the client has always sent more than was read. Its bytes may have waited that long. */
  behindSinceMs = Number.POSITIVE_INFINITY;
  readonly #frames: ClientFrames<Connection>;
  readonly #clock: ConnectionClock;
  #drain: 'none' | 'announced' | 'final' = 'none';
  #isClosed = false;
  #isReadingPaused = false;
  #isTurnOver = false;
  readonly #bufferedBytes: BufferedBytes | undefined;

  constructor(
    readonly socket: Socket,
    application: Application<Connection>,
    options: ConnectionOptions,
  ) {
    this.context = application.onConnection(this);
    this.writer = new FrameWriter(socket, () => this.#onWritable());
    this.sender = new DataSender(this.writer, this.guard);
    this.streams = new StreamTable(this.writer, options.streamsMax);
    this.#frames = new ClientFrames(this, application);
    this.#clock = new ConnectionClock(this, this.#frames, options);
    this.#bufferedBytes = options.countBytes?.(() => this.destroy());
    socket.on('data', (chunk: Buffer) => this.#onBytes(chunk));
    socket.on('error', () => {});
    socket.once('close', () => this.#close());
    this.writer.writeSettings([
      [settingId.maxConcurrentStreams, options.streamsMax],
      [settingId.maxHeaderListSize, headerListBytesMax],
    ]);
    this.writer.writeNumber(frameType.windowUpdate, 0, connectionWindowBytes - windowBytesDefault);
  }

  /** The client knows from the last GOAWAY that these streams are not processed. */
  get ignoresNewStreams(): boolean {
    return this.#drain === 'final';
  }

  /** The client keeps what it sends meanwhile. A long pause ends the connection, because no ping is acknowledged. */
  pauseReading(): void {
    this.#isReadingPaused = true;
    this.socket.pause();
  }

  resumeReading(): void {
    this.#isReadingPaused = false;
    this.#resume();
  }

  /** Closes the connection when its streams have ended. The client first learns to start no more (RFC 9113, section 6.8). */
  drain(): void {
    if (this.#drain !== 'none' || this.#isClosed) return;
    this.#drain = 'announced';
    this.#clock.drainMs = performance.now();
    this.writer.writeGoaway(streamIdMax, errorCode.noError, '');
    this.writer.writeFrame(frameType.ping, 0, 0, drainPing);
  }

  finishDrain(): void {
    if (this.#drain !== 'announced' || this.#isClosed) return;
    this.#drain = 'final';
    this.writer.writeGoaway(this.streams.lastId, errorCode.noError, '');
    this.#endIfDrained();
  }

  checkTime(nowMs: number): void {
    this.#clock.check(nowMs);
    this.#countBytes();
  }

  destroy(): void {
    this.socket.destroy();
    this.#close();
  }

  removeStream(stream: Http2Stream<Connection>): void {
    this.streams.open.delete(stream.id);
    this.sender.remove(stream);
    this.#clock.activeMs = performance.now();
    this.#endIfDrained();
  }

  #onBytes(chunk: Buffer): void {
    if (this.#isClosed) return;
    let bytes = 0;
    try {
      bytes = this.#frames.parser.push(chunk);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#clock.noteReceived();
    if (bytes < chunk.length || chunk.length >= turnBytesMax) {
      this.behindSinceMs = Math.min(this.behindSinceMs, performance.now());
      this.#endTurn();
    } else this.behindSinceMs = Number.POSITIVE_INFINITY;
    if (this.socket.writableLength > unsentBytesMax) this.socket.pause();
    if (bytes < chunk.length) this.socket.unshift(chunk.subarray(bytes));
    this.#countBytes();
  }

  /** Reads on after the other connections have been served. */
  #endTurn(): void {
    this.#isTurnOver = true;
    this.socket.pause();
    setImmediate(() => {
      this.#isTurnOver = false;
      this.#resume();
    });
  }

  #resume(): void {
    if (this.#isTurnOver || this.#isReadingPaused || this.socket.writableLength > unsentBytesMax) return;
    this.socket.resume();
  }

  #onWritable(): void {
    if (this.#isClosed) return;
    this.#resume();
    this.sender.sendWaiting();
    this.#countBytes();
  }

  #countBytes(): void {
    this.#bufferedBytes?.set(this.writer.unsentBytes + this.#frames.bufferedBytes);
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    const isKnown = error instanceof ConnectionError;
    const code = isKnown ? error.code : errorCode.internalError;
    this.writer.writeGoaway(this.streams.lastId, code, isKnown ? error.message : '');
    this.writer.flush();
    this.socket.end();
    this.#close();
    // If bytes that arrive later were not read, the system would drop the GOAWAY.
    this.socket.resume();
    setTimeout(() => this.socket.destroy(), lastReadMs).unref();
    if (!isKnown) throw error;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#frames.parser.stop();
    this.#bufferedBytes?.release();
    this.#closeStreams();
  }

  #closeStreams(): void {
    for (const stream of [...this.streams.open.values()].slice(0, streamsPerTurn)) stream.close();
    if (this.streams.open.size > 0) setImmediate(() => this.#closeStreams());
  }

  #endIfDrained(): void {
    if (this.#drain !== 'final' || this.streams.open.size > 0 || this.#isClosed) return;
    this.#clock.endedMs = performance.now();
    this.writer.flush();
    this.socket.end();
  }
}
