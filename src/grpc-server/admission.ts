/**
 * Decides at the header of a call whether it can be answered soon. By Little's law, a new call waits for about the number
 * of calls in flight divided by the rate at which they end. So the limit on calls in flight follows that rate.
 *
 * A refusal costs almost half of a short call with node:http2, so a busy server could spend all its time on refusals.
 * Therefore it tells clients to have fewer calls open as soon as it is half full. Further calls wait in the client.
 */

export interface AdmissionOptions {
  /** The time that a call may wait for the calls before it. */
  readonly waitMsMax: number;
  /** So many calls may always be in flight: enough for large batches and for a pause of the database. */
  readonly callsMin: number;
  /** Called when each connection should have at most so many calls, or undefined for no such limit. */
  onLimit(perConnection: number | undefined): void;
  /** The number of connections with calls. */
  connections(): number;
}

// How often the rate is measured.
export const measureMs = 100;
// The highest rate of the recent past counts, because the rate also falls if clients call less or the database pauses.
const decay = 0.98;
// How many intervals without many calls end the limits on connections.
const calmIntervals = 50;
const perConnectionMin = 8;

export class Admission {
  #inFlight = 0;
  #ended = 0;
  #endedPerMs = 0;
  #measuredMs = performance.now();
  #callsMax: number;
  #inFlightMax = 0;
  #calm = calmIntervals;
  #perConnection: number | undefined;

  constructor(private readonly options: AdmissionOptions) {
    this.#callsMax = options.callsMin;
  }

  /** Counts the call if it may start. */
  admit(): boolean {
    if (this.#inFlight >= this.#callsMax) return false;
    this.#inFlight++;
    if (this.#inFlight > this.#inFlightMax) this.#inFlightMax = this.#inFlight;
    return true;
  }

  /** An admitted call has ended. */
  release(): void {
    this.#inFlight--;
    this.#ended++;
  }

  /** Must be called about every `measureMs`. */
  measure(): void {
    const nowMs = performance.now();
    const elapsedMs = nowMs - this.#measuredMs;
    this.#endedPerMs = Math.max(this.#endedPerMs * decay, this.#ended / elapsedMs);
    this.#measuredMs = nowMs;
    this.#ended = 0;
    const { waitMsMax, callsMin, connections, onLimit } = this.options;
    this.#callsMax = Math.max(callsMin, Math.ceil(this.#endedPerMs * waitMsMax));
    const isBusy = this.#inFlightMax >= callsMin / 2;
    this.#inFlightMax = this.#inFlight;
    this.#calm = isBusy ? 0 : this.#calm + 1;
    const wanted = this.#calm < calmIntervals ? perConnectionOf(callsMin / Math.max(1, connections())) : undefined;
    if (wanted === this.#perConnection) return;
    this.#perConnection = wanted;
    onLimit(wanted);
  }
}

/** A power of two, so that it rarely changes. */
function perConnectionOf(calls: number): number {
  return Math.max(perConnectionMin, 2 ** Math.floor(Math.log2(calls)));
}
