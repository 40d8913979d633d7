/** The streams of one connection, and how many its client may open (RFC 9113, sections 5.1.1 and 5.1.2). */
import type { FrameWriter } from './frame-writer.js';
import { frameType, headerListBytesMax, settingId } from './frames.js';
import type { Http2Stream } from './stream.js';

// Of more streams, a client can hardly have frames on the way.
const resetIdsMax = 4096;

export class StreamTable<Connection> {
  /** The highest id that the client has used. Ids above it are idle. */
  lastId = 0;
  readonly open = new Map<number, Http2Stream<Connection>>();
  /** The last streams that the server has reset, because their client may not know it yet. */
  readonly #resetIds: number[] = [];
  /** The limit that the client has received last, and the one that it should get. */
  #announced = -1;
  #wanted = -1;
  /** When the limit was announced. 0 if the client has acknowledged it. */
  announcedMs = 0;

  /** `openMax` is the limit that the client has acknowledged, or the first one. */
  constructor(
    private readonly writer: FrameWriter,
    public openMax: number,
  ) {}

  /** Sends RST_STREAM. Frames that the client sends before it arrives are ignored. */
  reset(id: number, code: number): void {
    if (this.#resetIds.push(id) > resetIdsMax) this.#resetIds.shift();
    this.writer.writeNumber(frameType.resetStream, id, code);
  }

  wasReset(id: number): boolean {
    return this.#resetIds.includes(id);
  }

  /** Announces a limit when the client has acknowledged the previous one. */
  limit(openMax: number): void {
    this.#wanted = openMax;
    if (this.announcedMs === 0) this.#announce();
  }

  noteAcknowledged(): void {
    this.openMax = this.#announced;
    this.announcedMs = 0;
    this.#announce();
  }

  #announce(): void {
    if (this.#wanted === this.#announced) return;
    this.#announced = this.#wanted;
    this.announcedMs = performance.now();
    this.writer.writeSettings([
      [settingId.maxConcurrentStreams, this.#announced],
      [settingId.maxHeaderListSize, headerListBytesMax],
    ]);
  }
}
