/** The streams of one connection, and how many its client may open (RFC 9113, sections 5.1.1 and 5.1.2). */
import type { FrameWriter } from './frame-writer.js';
import { errorCode, frameType } from './frames.js';
import type { Http2Stream } from './stream.js';

// Of more streams than this, a client can hardly have frames on the way.
const endedIdsMax = 4096;

export class StreamTable<Connection> {
  /** The highest id that the client has used. Ids above it are idle. */
  lastId = 0;
  readonly open = new Map<number, Http2Stream<Connection>>();
  /** The last streams that the server ended before the client did, and those before them. */
  #endedIds = new Set<number>();
  #earlierEndedIds = new Set<number>();
  /** Streams that were answered in this turn, before their request was complete. */
  readonly incompleteIds = new Set<number>();

  constructor(
    private readonly writer: FrameWriter,
    readonly openMax: number,
  ) {}

  /** Sends RST_STREAM. Frames that the client sends before it arrives are ignored. */
  reset(id: number, code: number): void {
    this.#noteEnded(id);
    this.writer.writeNumber(frameType.resetStream, id, code);
  }

  wasEnded(id: number): boolean {
    return this.#endedIds.has(id) || this.#earlierEndedIds.has(id);
  }

  /** A response was complete before its request. Tells the client to stop, unless the rest arrives in this turn (section 8.1). */
  noteAnswered(id: number): void {
    this.#noteEnded(id);
    if (this.incompleteIds.size === 0) {
      setImmediate(() => {
        for (const id of this.incompleteIds) this.reset(id, errorCode.noError);
        this.incompleteIds.clear();
      });
    }
    this.incompleteIds.add(id);
  }

  #noteEnded(id: number): void {
    this.#endedIds.add(id);
    if (this.#endedIds.size < endedIdsMax) return;
    this.#earlierEndedIds = this.#endedIds;
    this.#endedIds = new Set();
  }
}
