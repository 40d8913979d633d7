/**
 * One budget for the bytes that a process holds for its clients: requests that are still being received, and answers that
 * have not been taken yet. Without it, slow or hostile clients could fill the memory together, each within its own limits.
 *
 * It knows no transport. Whoever holds bytes opens a hold and says what to do if the hold has to be given up.
 */

export interface ByteBudget {
  /**
   * Whether a new call may start. From three quarters of the budget on it may not, so that calls that have begun can end.
   * Clients that are slow are given up for it first: they must not keep others out.
   */
  admits(): boolean;
  /** `onGiveUp` must close the connection or stream, so that its bytes become garbage. */
  open(onGiveUp: () => void): ByteHold;
}

/** What one call holds. After it was released or given up, it holds nothing any more. */
export interface ByteHold {
  /** More bytes are held. May give up holds, this one too, if the budget is exceeded. */
  add(bytes: number): void;
  /** How many bytes are held. */
  bytes(): number;
  /** Fewer bytes are held. */
  remove(bytes: number): void;
  /** The client has sent or taken this many bytes. Holds whose clients are slowest are given up first. */
  moved(bytes: number): void;
  release(): void;
}

const admittedShare = 3 / 4;
// 64 KB a second. Who is faster is not given up for a new call.
const slowBytesPerMs = 64;
// What each client is taken to have moved at its start, so that a call that has just begun does not look slow.
const movedAtStart = 64 * 1024;

interface Held {
  bytes: number;
  moved: number;
  readonly sinceMs: number;
  readonly onGiveUp: () => void;
}

export function createByteBudget(bytesMax: number): ByteBudget {
  const all = new Set<Held>();
  let total = 0;

  function drop(held: Held): boolean {
    if (!all.delete(held)) return false;
    total -= held.bytes;
    return true;
  }

  /** Gives up the slowest clients until no more than this is held. */
  function giveUp(targetBytes: number, bytesPerMsMax = Number.POSITIVE_INFINITY): void {
    const nowMs = performance.now();
    const rate = ({ moved, sinceMs }: Held) => moved / (nowMs - sinceMs + 1);
    const holders = [...all].filter((held) => held.bytes > 0 && rate(held) < bytesPerMsMax);
    for (const held of holders.sort((one, other) => rate(one) - rate(other))) {
      if (total <= targetBytes) return;
      if (drop(held)) held.onGiveUp();
    }
  }

  return {
    admits() {
      if (total > bytesMax * admittedShare) giveUp(bytesMax * admittedShare, slowBytesPerMs);
      return total <= bytesMax * admittedShare;
    },
    open(onGiveUp) {
      const held: Held = { bytes: 0, moved: movedAtStart, sinceMs: performance.now(), onGiveUp };
      all.add(held);
      return {
        add(bytes) {
          if (!all.has(held)) return;
          held.bytes += bytes;
          total += bytes;
          if (total > bytesMax) giveUp(bytesMax);
        },
        bytes: () => (all.has(held) ? held.bytes : 0),
        remove(bytes) {
          if (!all.has(held)) return;
          held.bytes -= bytes;
          total -= bytes;
        },
        moved(bytes) {
          held.moved += bytes;
        },
        release() {
          drop(held);
        },
      };
    },
  };
}
