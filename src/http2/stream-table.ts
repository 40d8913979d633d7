/** The streams of one connection, and how many its client may open (RFC 9113, sections 5.1.1 and 5.1.2). */
import type { FrameWriter } from './frame-writer.js';
import { errorCode, frameType } from './frames.js';
import type { Http2Stream } from './stream.js';

// Of more streams, a client can hardly have frames on the way.
const endedIdsMax = 4096;

export class StreamTable<Connection> {
  /** The highest id that the client has used. Ids above it are idle. */
  lastId = 0;
  readonly open = new Map<number, Http2Stream<Connection>>();
  /** The last streams that the server ended before the client did, and whether the client knows it. */
  readonly #endedIds = new Map<number, boolean>();

  constructor(
    private readonly writer: FrameWriter,
    readonly openMax: number,
  ) {}

  /** Sends RST_STREAM. Frames that the client sends before it arrives are ignored. */
  reset(id: number, code: number): void {
    this.noteEnded(id, true);
    this.writer.writeNumber(frameType.resetStream, id, code);
  }

  wasEnded(id: number): boolean {
    return this.#endedIds.has(id);
  }

  /** A response was complete before its request. Tells the client to stop, unless the rest arrives in this turn (section 8.1). */
  noteAnswered(id: number): void {
    this.noteEnded(id, false);
    setImmediate(() => this.#endedIds.get(id) === false && this.reset(id, errorCode.noError));
  }

  /** `isKnown` tells whether the client has ended the stream too, or was told to. */
  noteEnded(id: number, isKnown: boolean): void {
    this.#endedIds.set(id, isKnown);
    if (this.#endedIds.size > endedIdsMax) this.#endedIds.delete(this.#endedIds.keys().next().value ?? 0);
  }
}
