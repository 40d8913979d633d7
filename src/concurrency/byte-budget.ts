/**
 * Limits the bytes that a process holds for its clients: requests that are still arriving, and answers that clients
 * have not read. Without a common limit, slow or hostile clients could fill the memory together, each within its own
 * limits.
 *
 * It is independent of the transport. A caller opens a hold, and provides a callback that gives the hold up.
 */

export interface ByteBudget {
  /**
   * Whether a new call may start. Returns false above three quarters of the budget, so that running calls can end. It
   * first gives up holds of slow clients, so that they cannot keep other clients out.
   */
  admits(): boolean;
  /** `onGiveUp` must close the connection or stream, so that its bytes become garbage. */
  open(onGiveUp: () => void): ByteHold;
}

/** The bytes of one call. After it is released or given up, it holds nothing. */
export interface ByteHold {
  /** Adds held bytes. If the budget is exceeded, this may give up holds, including this one. */
  add(bytes: number): void;
  /** The number of held bytes. */
  bytes(): number;
  /** Removes held bytes. */
  remove(bytes: number): void;
  /** Reports that the client has sent or read this many bytes. The holds of the slowest clients are given up first. */
  recordTransfer(bytes: number): void;
  release(): void;
}

const admittedShare = 3 / 4;
// 64 KB a second. A new call never displaces a faster client.
const slowBytesPerMs = 64;
// Every client starts with this many bytes, so that a new call does not look slow.
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

  /** Gives up the slowest clients until at most `targetBytes` are held. */
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
        recordTransfer(bytes) {
          held.moved += bytes;
        },
        release() {
          drop(held);
        },
      };
    },
  };
}
