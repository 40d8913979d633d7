/** The time limits of a connection. They are checked from time to time, so that idle connections have no timers. */
import type { BufferedBytes } from './application.js';
import type { ClientFrames } from './client-frames.js';
import type { Http2Connection } from './connection.js';
import { frameType } from './frames.js';

export interface ConnectionOptions {
  /** The number of streams that a client may have open on a connection. Further ones wait in the client. */
  readonly streamsMax: number;
  /** After this time, plus or minus a tenth, the client is asked to open a new connection. 0 means never. */
  readonly ageMsMax: number;
  /** How long its streams may continue after that. */
  readonly ageGraceMs: number;
  /** A client that has sent nothing for this time gets a ping. */
  readonly keepaliveMs: number;
  /** How long it may take to send anything after the ping. */
  readonly keepaliveTimeoutMs: number;
  /** A connection without streams is closed after this time. */
  readonly idleMsMax: number;
  /** The time for TLS, for the client's first frames, and for each frame from its first byte to its last. */
  readonly handshakeMs: number;
  /** Starts to count the bytes of a connection beside those of its streams. `giveUp` closes it, also while bytes are added. */
  readonly countBytes?: (giveUp: () => void) => BufferedBytes;
}

// A client learns of a drain within one round trip.
const drainMsMax = 1000;
// After the connection has ended, the client must close it or read what is left.
const lingerMsMax = 10_000;
const keepalivePing = Buffer.from('keepaliv');

export class ConnectionClock {
  readonly #startedMs = performance.now();
  readonly #ageMsMax: number;
  /** When the last stream ended. */
  activeMs = this.#startedMs;
  drainMs = 0;
  /** When the connection ended. The client may still read what is left. */
  endedMs = 0;
  #receivedMs = this.#startedMs;
  #openFrame = 0;
  #frameMs = 0;
  #pingMs = 0;
  #agedMs = 0;

  constructor(
    private readonly connection: Http2Connection<unknown>,
    private readonly frames: ClientFrames<unknown>,
    private readonly options: ConnectionOptions,
  ) {
    const { ageMsMax } = options;
    this.#ageMsMax = ageMsMax === 0 ? Number.POSITIVE_INFINITY : ageMsMax * (0.9 + 0.2 * Math.random());
  }

  /** Bytes have arrived, and the connection has handled them. */
  noteReceived(): void {
    this.#receivedMs = performance.now();
    this.#pingMs = 0;
    const { openFrame } = this.frames;
    if (openFrame === this.#openFrame) return;
    this.#openFrame = openFrame;
    this.#frameMs = openFrame === 0 ? 0 : this.#receivedMs;
  }

  check(nowMs: number): void {
    const { connection, frames, options } = this;
    const isLate = (sinceMs: number, msMax: number) => sinceMs > 0 && nowMs - sinceMs > msMax;
    if (
      (!frames.hasSettings && isLate(this.#startedMs, options.handshakeMs)) ||
      isLate(this.#frameMs, options.handshakeMs) ||
      isLate(this.#pingMs, options.keepaliveTimeoutMs) ||
      isLate(this.#agedMs, options.ageGraceMs) ||
      isLate(this.endedMs, lingerMsMax)
    ) {
      connection.destroy();
      return;
    }
    if (isLate(this.#receivedMs, options.keepaliveMs) && this.#pingMs === 0) {
      this.#pingMs = nowMs;
      connection.writer.writeFrame(frameType.ping, 0, 0, keepalivePing);
    }
    if (this.#agedMs === 0 && isLate(this.#startedMs, this.#ageMsMax)) {
      this.#agedMs = nowMs;
      connection.drain();
    }
    const isIdle = frames.hasSettings && connection.streams.open.size === 0;
    if (isIdle && isLate(this.activeMs, options.idleMsMax)) connection.drain();
    if (isLate(this.drainMs, drainMsMax)) connection.finishDrain();
  }
}

/** Returns how often `check` should be called. */
export function checkIntervalMs(options: ConnectionOptions): number {
  const { ageMsMax, ageGraceMs, keepaliveMs, keepaliveTimeoutMs, idleMsMax, handshakeMs } = options;
  const ages = ageMsMax === 0 ? [] : [ageMsMax, ageGraceMs];
  const shortest = Math.min(...ages, keepaliveMs, keepaliveTimeoutMs, idleMsMax, handshakeMs, 2 * drainMsMax);
  return Math.max(5, shortest / 4);
}
