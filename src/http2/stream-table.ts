/** The streams of one connection, and how many its client may open (RFC 9113, sections 5.1.1 and 5.1.2). */
import type { FrameWriter } from './frame-writer.js';
import { frameType, headerListBytesMax, settingId } from './frames.js';
import type { Http2Stream } from './stream.js';

// More than a client can have open, and so than it can still send frames to.
const resetIdsMax = 4096;

export class StreamTable<Connection> {
  /** The highest id that the client has used. Ids above it are idle. */
  lastId = 0;
  readonly open = new Map<number, Http2Stream<Connection>>();
  /** The last streams that the server has reset, because their client may not know it yet. */
  readonly #resetIds: number[] = [];
  #announced = -1;
  #wanted = -1;
  /** When the limit was announced. 0 if the client has acknowledged it. */
  #announcedMs = 0;

  /** `openMax` holds until the client has acknowledged a limit. */
  constructor(
    private readonly writer: FrameWriter,
    private openMax: number,
  ) {}

  get isFull(): boolean {
    return this.open.size >= this.openMax;
  }

  /** Sends RST_STREAM. Frames that the client sends before it arrives are ignored. */
  reset(id: number, code: number): void {
    if (this.#resetIds.push(id) > resetIdsMax) this.#resetIds.shift();
    this.writer.writeNumber(frameType.resetStream, id, code);
  }

  wasReset(id: number): boolean {
    return this.#resetIds.includes(id);
  }

  /** Announces a limit, after the client has acknowledged the previous one. */
  limit(openMax: number): void {
    this.#wanted = openMax;
    if (this.#announcedMs === 0) this.#announce();
  }

  noteAcknowledged(): void {
    this.openMax = this.#announced;
    this.#announcedMs = 0;
    this.#announce();
  }

  /** How long the client has not acknowledged the limit. */
  unacknowledgedMs(nowMs: number): number {
    return this.#announcedMs === 0 ? 0 : nowMs - this.#announcedMs;
  }

  #announce(): void {
    if (this.#wanted === this.#announced) return;
    this.#announced = this.#wanted;
    this.#announcedMs = performance.now();
    this.writer.writeSettings([
      [settingId.maxConcurrentStreams, this.#announced],
      [settingId.maxHeaderListSize, headerListBytesMax],
    ]);
  }
}
