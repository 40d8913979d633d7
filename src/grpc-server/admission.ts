/**
 * Decides at the header of a call whether it can be answered in time, how many calls of a caller run at once, and how many
 * a client may have open.
 *
 * By Little's law, a new call waits for about the number of calls in flight divided by the rate at which they end. A
 * refusal costs almost half of a short call with node:http2, so a server that receives several times what it can answer
 * could spend all its time on refusals. Therefore callers, and then the connections of each, share a number of open
 * calls. Further calls wait in the clients, where they cost nothing. If several callers call a busy server, each has the
 * same share of the calls that run, so that a call waits for few calls of the others
 * (docs/decisions/0040-callers-have-equal-shares.md).
 */
import { UnaryCalls, type WaitingCall } from './caller-share.js';

export interface AdmissionOptions {
  /** The number of calls that all callers of a busy server may have open together. */
  readonly openCallsMax: number;
  /**
   * Called in each interval with the number of calls that each caller may have open, or with undefined if the server is
   * not busy.
   */
  onShare(perCaller: number | undefined): void;
  /** The calls of this caller take the time of the server without being answered. Called at most once in an interval. */
  onWaste(caller: UnaryCalls): void;
}

interface Ended {
  readonly hasRun: boolean;
  readonly isAnswered: boolean;
}

/** How often `measure` should be called. */
export const measureMs = 100;
// The highest rate of the recent past counts, because the rate also falls if clients call less or the database pauses.
const decay = 0.98;
// This many calls in flight are always admitted: enough for large batches and for a pause of the database.
const admittedMin = 1024;
// The longest wait of a call without a deadline, or with a later one.
const waitMsMax = 10_000;
// The limits end when the server has not been busy for this many intervals.
const calmIntervals = 50;
// A caller without calls has no share after this many intervals.
const activeIntervals = 10;
// The calls of all callers that run at once should end within this time, because a new call waits for them.
const runningMs = 10;
// Fewer would leave connections to Postgres idle.
const runningMin = 8;
// Ordinary clients cancel some calls.
const wasteMin = 32;

export class Admission {
  #inFlight = 0;
  #ended = 0;
  #endedPerMs = 0;
  #measuredMs = performance.now();
  #interval = 0;
  #calm = calmIntervals;
  #runningMax = Number.POSITIVE_INFINITY;
  readonly #callers = new Set<UnaryCalls>();
  /** Calls without a caller, such as health checks. They have no share and do not wait. */
  readonly #others = new UnaryCalls();

  constructor(private readonly options: AdmissionOptions) {}

  /** Counts the call if it can probably be answered before its deadline. Returns what counts it. */
  admit(timeoutMs = waitMsMax, caller = this.#others): UnaryCalls | undefined {
    const previous = Math.min(this.#inFlight, caller.inFlight * Math.max(1, this.#callers.size));
    const isLate = previous / this.#endedPerMs > Math.min(timeoutMs, waitMsMax);
    if (this.#inFlight >= admittedMin && isLate) {
      this.#waste(caller);
      return undefined;
    }
    this.#inFlight++;
    caller.inFlight++;
    if (caller !== this.#others && caller.latest === Number.NEGATIVE_INFINITY) this.#callers.add(caller);
    caller.latest = this.#interval;
    return caller;
  }

  /** Returns whether an admitted call may run now. If not, it runs later. */
  start(caller: UnaryCalls, call: WaitingCall): boolean {
    if (caller.running < this.#runningMax || caller === this.#others) {
      caller.running++;
      return true;
    }
    caller.waiting.add(call);
    return false;
  }

  /** An admitted call has ended. `isAnswered` is false if its client did not wait for the answer. */
  release(caller: UnaryCalls, call: WaitingCall, { hasRun, isAnswered }: Ended): void {
    this.#inFlight--;
    caller.inFlight--;
    if (!isAnswered) this.#waste(caller);
    if (!hasRun) {
      caller.waiting.delete(call);
      return;
    }
    caller.running--;
    if (isAnswered) this.#ended++;
    if (caller.waiting.size > 0) this.#runWaiting(caller);
  }

  #waste(caller: UnaryCalls): void {
    const hadLeft = caller.wasteLeft > 0;
    caller.wasteLeft--;
    if (hadLeft && caller.wasteLeft <= 0) this.options.onWaste(caller);
  }

  #runWaiting(caller: UnaryCalls): void {
    // A call may end while it starts, and release() would come back here: a level deeper for each such call.
    if (caller.isStarting) return;
    caller.isStarting = true;
    try {
      for (const call of caller.waiting) {
        if (caller.running >= this.#runningMax) return;
        caller.waiting.delete(call);
        caller.running++;
        call.run();
      }
    } finally {
      caller.isStarting = false;
    }
  }

  measure(): void {
    const nowMs = performance.now();
    this.#endedPerMs = Math.max(this.#endedPerMs * decay, this.#ended / (nowMs - this.#measuredMs));
    this.#measuredMs = nowMs;
    this.#ended = 0;
    this.#interval++;
    this.#forgetInactive();
    const { openCallsMax, onShare } = this.options;
    const callers = Math.max(1, this.#callers.size);
    const share = openCallsMax / callers;
    this.#calm = this.#isBusy(share) ? 0 : this.#calm + 1;
    const isLimited = this.#calm < calmIntervals;
    const running = Math.max(runningMin, (this.#endedPerMs * runningMs) / callers);
    this.#runningMax = isLimited && callers > 1 ? running : Number.POSITIVE_INFINITY;
    for (const caller of this.#callers) this.#runWaiting(caller);
    onShare(isLimited ? share : undefined);
    const answers = (this.#endedPerMs * measureMs) / callers;
    // A single caller takes nothing from others. It would only see more errors, because Node refuses the calls that it has sent
    // before it received the lower limit.
    const isLimitedByWaste = isLimited && callers > 1;
    const waste = isLimitedByWaste ? Math.max(wasteMin, answers / 2) : Number.POSITIVE_INFINITY;
    for (const caller of this.#callers) caller.wasteLeft = waste;
  }

  /** While the limits apply, a caller that uses half of its share would probably use more without them. */
  #isBusy(share: number): boolean {
    if (this.#inFlight >= this.options.openCallsMax / 2) return true;
    if (this.#calm >= calmIntervals) return false;
    for (const { inFlight } of this.#callers) if (inFlight >= share / 2) return true;
    return false;
  }

  #forgetInactive(): void {
    for (const caller of this.#callers) {
      if (caller.inFlight > 0 || this.#interval - caller.latest <= activeIntervals) continue;
      this.#callers.delete(caller);
      caller.latest = Number.NEGATIVE_INFINITY;
    }
  }
}
