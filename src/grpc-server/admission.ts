/**
 * Decides at the header of a call whether it can be answered in time, and how many calls a client may have open.
 *
 * By Little's law, a new call waits for about the number of calls in flight divided by the rate at which they end. A
 * refusal costs almost half of a short call with node:http2, so a server that receives several times what it can answer
 * could spend all its time on refusals. Therefore the connections share a number of open calls. Further calls wait in
 * the clients, where they cost nothing.
 */

export interface AdmissionOptions {
  /** The number of calls that all connections of a busy server may have open together. */
  readonly openCallsMax: number;
  /** The maximum for one connection. */
  readonly perConnectionMax: number;
  /** The number of connections with open calls. */
  connections(): number;
  /** Called when the number of calls that a connection may have open changes. It is `perConnectionMax` at the start. */
  onLimit(perConnection: number): void;
}

/** How often `measure` should be called. */
export const measureMs = 100;
// The highest rate of the recent past counts, because the rate also falls if clients call less or the database pauses.
const decay = 0.98;
// This many calls in flight are always admitted: enough for large batches and for a pause of the database.
const admittedMin = 1024;
// The longest wait of a call without a deadline, or with a later one.
const waitMsMax = 10_000;
const perConnectionMin = 16;
// The limits end when the server has not been busy for this many intervals.
const calmIntervals = 50;

export class Admission {
  #inFlight = 0;
  #ended = 0;
  #endedPerMs = 0;
  #measuredMs = performance.now();
  #calm = calmIntervals;
  #perConnection: number;

  constructor(private readonly options: AdmissionOptions) {
    this.#perConnection = options.perConnectionMax;
  }

  /** Counts the call if it can probably be answered before its deadline. */
  admit(timeoutMs = waitMsMax): boolean {
    const expectedMs = this.#inFlight / this.#endedPerMs;
    if (this.#inFlight >= admittedMin && expectedMs > Math.min(timeoutMs, waitMsMax)) return false;
    this.#inFlight++;
    return true;
  }

  /** An admitted call has ended. */
  release(): void {
    this.#inFlight--;
    this.#ended++;
  }

  measure(): void {
    const nowMs = performance.now();
    this.#endedPerMs = Math.max(this.#endedPerMs * decay, this.#ended / (nowMs - this.#measuredMs));
    this.#measuredMs = nowMs;
    this.#ended = 0;
    const { openCallsMax, perConnectionMax, connections, onLimit } = this.options;
    this.#calm = this.#inFlight >= openCallsMax / 2 ? 0 : this.#calm + 1;
    // A power of two, so that it rarely changes.
    const share = 2 ** Math.floor(Math.log2(openCallsMax / Math.max(1, connections())));
    const limit = this.#calm < calmIntervals ? Math.max(perConnectionMin, share) : perConnectionMax;
    const wanted = Math.min(limit, perConnectionMax);
    if (wanted === this.#perConnection) return;
    this.#perConnection = wanted;
    onLimit(wanted);
  }
}
