/**
 * Decides at the header of a call whether it can be answered in time, and how many calls of a caller run at once.
 *
 * By Little's law, a new call waits for about the number of calls in flight divided by the rate at which they end. If that
 * is too long, the server refuses the call at once, for a fraction of what it would cost to answer it. If several callers call
 * a busy server, each has the same share of the calls that run, so that a call waits for few calls of the others
 * (docs/decisions/0043-excess-calls-are-refused.md).
 */
import { UnaryCalls, type WaitingCall } from './caller-share.js';

export interface AdmissionOptions {
  /** The calls of this caller take the time of the server without being answered. Called at most once in an interval. */
  onWaste(caller: UnaryCalls): void;
}

interface Ended {
  readonly hasRun: boolean;
  readonly isAnswered: boolean;
}

/** How often `measure` should be called. */
export const measureMs = 100;
// The highest rate of the recent past counts, because the rate also falls while the database pauses.
const decay = 0.98;
// Until the server has been busy, it is assumed to answer this many calls a millisecond.
const endedPerMsFirst = 5;
// With this many calls in flight, the server is busy. Fewer are always admitted: enough for a pause of the database.
const busyCalls = 256;
// A deadline that is later, or missing, counts as this one.
const deadlineMsMax = 10_000;
// The wait should end long before the deadline, because it is only estimated, and answers after the deadline are wasted.
const waitShare = 1 / 4;
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
// A caller may have this part of what it could have had answered cancelled or refused.
const wasteShare = 1 / 4;

export class Admission {
  #inFlight = 0;
  #ended = 0;
  #endedPerMs = endedPerMsFirst;
  #measuredMs = performance.now();
  #interval = 0;
  #calm = calmIntervals;
  #runningMax = Number.POSITIVE_INFINITY;
  #isShared = false;
  readonly #callers = new Set<UnaryCalls>();
  /** Calls without a caller, such as health checks. They have no share and do not wait. */
  readonly #others = new UnaryCalls();

  constructor(private readonly options: AdmissionOptions) {}

  /** Whether calls of a caller may have to be refused. */
  mayRefuse(caller: UnaryCalls, behindMs = 0): boolean {
    return caller.wasteLeft <= 0 || this.#inFlight >= busyCalls || behindMs > 0;
  }

  /**
   * Whether a call must be refused, because it can probably not be answered in time or because its caller wastes time.
   * `behindMs` is how long it may have waited before it was read.
   */
  refuses(timeoutMs = deadlineMsMax, caller = this.#others, behindMs = 0): boolean {
    const previous = Math.min(this.#inFlight, caller.inFlight * Math.max(1, this.#callers.size));
    const waitMs = behindMs + (this.#inFlight < busyCalls ? 0 : previous / this.#endedPerMs);
    const mustRefuse = caller.wasteLeft <= 0 || waitMs > Math.min(timeoutMs, deadlineMsMax) * waitShare;
    // A refusal takes time from other callers only.
    if (mustRefuse && this.#isShared) this.#waste(caller);
    return mustRefuse;
  }

  /** Counts the call if it is not refused. Returns what counts it. */
  admit(timeoutMs?: number, caller = this.#others): UnaryCalls | undefined {
    if (this.refuses(timeoutMs, caller)) return undefined;
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
    if (hadLeft && caller.wasteLeft <= 0 && this.#isShared) this.options.onWaste(caller);
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
    // A server that is not busy shows only what its clients want.
    const past = this.#inFlight >= busyCalls ? this.#endedPerMs * decay : this.#endedPerMs;
    this.#endedPerMs = Math.max(past, this.#ended / (nowMs - this.#measuredMs));
    this.#measuredMs = nowMs;
    this.#ended = 0;
    this.#interval++;
    this.#forgetInactive();
    const callers = Math.max(1, this.#callers.size);
    this.#calm = this.#isBusy() ? 0 : this.#calm + 1;
    const wasBusy = this.#calm < calmIntervals;
    // A single caller takes nothing from others.
    this.#isShared = wasBusy && callers > 1;
    const running = Math.max(runningMin, (this.#endedPerMs * runningMs) / callers);
    this.#runningMax = this.#isShared ? running : Number.POSITIVE_INFINITY;
    for (const caller of this.#callers) this.#runWaiting(caller);
    const answers = (this.#endedPerMs * measureMs) / callers;
    const waste = wasBusy ? Math.max(wasteMin, answers * wasteShare) : Number.POSITIVE_INFINITY;
    for (const caller of this.#callers) caller.wasteLeft = waste;
  }

  /** While calls are shared, a caller that uses half of its share would probably use more without that. */
  #isBusy(): boolean {
    if (this.#inFlight >= busyCalls) return true;
    if (this.#calm >= calmIntervals) return false;
    const share = (2 * busyCalls) / Math.max(1, this.#callers.size);
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
