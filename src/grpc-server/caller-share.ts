/** Counts the calls and the bytes of one caller, over all its connections. */
import type { CallInfo } from './observer.js';

export interface CallerShare {
  /** The bytes that the process holds for its calls. */
  heldBytes: number;
  readonly heldBytesMax: number;
  /** Returns the error of a call that exceeds `heldBytesMax`. */
  tooManyBytes(call: CallInfo): unknown;
  /** The number of its unary calls that are in flight. */
  callsInFlight: number;
  /** Called once when the call has closed and holds nothing any more. */
  release(call: CallInfo): void;
}
