/**
 * Limits the bytes that a process holds for all its clients: requests that are still arriving, and responses that
 * clients have not read. Without it, many slow or hostile clients could together fill the memory, each within its own
 * limits.
 */

export interface ByteBudget {
  /**
   * Whether a new call may start: not while more than three quarters of the budget are held, so that running calls can
   * end. In that case it first gives up the holds of slow clients, so that they cannot keep other clients out.
   */
  admits(): boolean;
  /**
   * Counts the bytes of one call or connection. `onGiveUp` must close its connection or stream, so that its bytes are
   * freed. It is called only while at least `bytesMin` are held. The default is 1.
   */
  open(onGiveUp: () => void, bytesMin?: number): ByteHold;
  /** The bytes that all calls hold together, and their limit. */
  held(): { readonly total: number; readonly max: number };
}

/** The bytes of one call or connection. After the hold is released or given up, it counts nothing. */
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
// The credit of each call at its start, so that a new call does not look slow.
const transferredAtStart = 64 * 1024;

interface Held {
  bytes: number;
  transferred: number;
  readonly sinceMs: number;
  readonly onGiveUp: () => void;
  readonly bytesMin: number;
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
    const rate = ({ transferred, sinceMs }: Held) => transferred / (nowMs - sinceMs + 1);
    const holders = [...all].filter((held) => held.bytes >= held.bytesMin && rate(held) < bytesPerMsMax);
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
    held: () => ({ total, max: bytesMax }),
    open(onGiveUp, bytesMin = 1) {
      const held: Held = { bytes: 0, transferred: transferredAtStart, sinceMs: performance.now(), onGiveUp, bytesMin };
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
          held.transferred += bytes;
        },
        release() {
          drop(held);
        },
      };
    },
  };
}
