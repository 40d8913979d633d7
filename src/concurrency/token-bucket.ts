/**
 * Limits the rate of calls. A bucket holds up to `burst` tokens and gains `perSecond` tokens a second; each call takes one.
 *
 * It is the generic cell rate algorithm: instead of tokens, it stores the time at which the bucket is full again.
 */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export class TokenBucket {
  #fullMs = 0;

  constructor(private readonly rate: Rate) {}

  /** Takes a token and returns 0. If the bucket is empty, takes nothing and returns the time until it has a token. */
  take(nowMs: number): number {
    const tokenMs = 1000 / this.rate.perSecond;
    const fullMs = Math.max(this.#fullMs, nowMs) + tokenMs;
    const waitMs = fullMs - nowMs - this.rate.burst * tokenMs;
    // The sums are rounded.
    if (waitMs > 1e-6) return waitMs;
    this.#fullMs = fullMs;
    return 0;
  }

  /** A full bucket has nothing to remember. */
  isFull(nowMs: number): boolean {
    return this.#fullMs <= nowMs;
  }
}
