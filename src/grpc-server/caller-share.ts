/** Counts the calls and the bytes of one caller, over all its connections. */
import type { CallInfo } from './observer.js';
import type { ConnectionUse } from './stream.js';

export interface CallerShare {
  /** The bytes that the process holds for its calls. */
  heldBytes: number;
  readonly heldBytesMax: number;
  readonly unary: UnaryCalls;
  /** Returns the error of a call that exceeds `heldBytesMax`. */
  tooManyBytes(call: CallInfo): unknown;
  /** Called once when the call has closed and holds nothing any more. */
  release(call: CallInfo): void;
}

export interface WaitingCall {
  run(): void;
}

/** The unary calls of one caller that were admitted and that have not ended. */
export class UnaryCalls {
  inFlight = 0;
  running = 0;
  /** They run in the order of their arrival. */
  readonly waiting = new Set<WaitingCall>();
  isStarting = false;
  /** How many more may be cancelled or refused in this interval before all are refused. */
  wasteLeft = Number.POSITIVE_INFINITY;
  /** The interval of `Admission` in which the latest one arrived. */
  latest = Number.NEGATIVE_INFINITY;
}

/** Notes whose unary call a connection carries. */
export function noteCaller(use: ConnectionUse | undefined, caller: UnaryCalls | undefined): void {
  if (use === undefined || caller === undefined || use.caller === caller) return;
  use.caller = use.caller === undefined ? caller : 'several';
}
