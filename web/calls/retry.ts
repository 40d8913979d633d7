/** Repeats calls that are safe to repeat while the server cannot be reached or is overloaded. */
import { CallError } from './call-error.js';
import { pause } from './pause.js';
import { isUnclear } from './save-user.js';

const backoffMs = 250;
const backoffMsMax = 5_000;
// Retries rarely help against an internal error of the server.
const internalErrorsMax = 3;

export interface RetryOptions {
  /** Ends the waiting between two tries. */
  readonly signal: AbortSignal;
  /** Called when the waiting begins and ends. */
  onWaiting?(isWaiting: boolean): void;
}

/** Whether the call may succeed later. */
function canRetry(error: unknown): boolean {
  const reasons = ['OVERLOADED', 'RATE_LIMITED', 'DATABASE_UNAVAILABLE'];
  return isUnclear(error) || (error instanceof CallError && reasons.includes(error.reason));
}

/** Rejects with an AbortError if the signal is aborted while it waits. */
export async function retried<T>(call: () => Promise<T>, { signal, onWaiting }: RetryOptions): Promise<T> {
  let internalErrors = 0;
  for (let failures = 0; ; failures++) {
    signal.throwIfAborted();
    try {
      const result = await call();
      if (failures > 0) onWaiting?.(false);
      return result;
    } catch (error) {
      if (error instanceof CallError && (error.code === 'INTERNAL' || error.code === 'UNKNOWN')) internalErrors++;
      if (!canRetry(error) || internalErrors >= internalErrorsMax) {
        if (failures > 0) onWaiting?.(false);
        throw error;
      }
    }
    onWaiting?.(true);
    await pause(Math.min(backoffMsMax, backoffMs * 2 ** failures), signal);
  }
}
