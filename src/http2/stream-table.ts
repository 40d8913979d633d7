/** The streams of one connection, and how many its client may open (RFC 9113, sections 5.1.1 and 5.1.2). */
import type { FrameWriter } from './frame-writer.js';
import { frameType } from './frames.js';
import type { Http2Stream } from './stream.js';

// Of more streams, a client can hardly have frames on the way.
const resetIdsMax = 4096;

export class StreamTable<Connection> {
  /** The highest id that the client has used. Ids above it are idle. */
  lastId = 0;
  readonly open = new Map<number, Http2Stream<Connection>>();
  /** The last streams that the server has reset, because their client may not know it yet. */
  readonly #resetIds = new Set<number>();

  constructor(
    private readonly writer: FrameWriter,
    readonly openMax: number,
  ) {}

  /** Sends RST_STREAM. Frames that the client sends before it arrives are ignored. */
  reset(id: number, code: number): void {
    this.#resetIds.add(id);
    if (this.#resetIds.size > resetIdsMax) {
      const [oldest] = this.#resetIds;
      if (oldest !== undefined) this.#resetIds.delete(oldest);
    }
    this.writer.writeNumber(frameType.resetStream, id, code);
  }

  wasReset(id: number): boolean {
    return this.#resetIds.has(id);
  }
}
