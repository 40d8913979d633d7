/** Keeps long work from blocking the event loop. */
import { setImmediate as nextTurn } from 'node:timers/promises';

// Ordinary requests take less, so they are never interrupted.
const workMsMax = 10;

/**
 * For a loop that may take long. Awaiting the function in each round lets the process handle other events if the loop has
 * run for 10 ms.
 */
export function createPause(): () => Promise<void> | undefined {
  let startMs = performance.now();
  return () => {
    if (performance.now() - startMs < workMsMax) return undefined;
    return nextTurn().then(() => {
      startMs = performance.now();
    });
  };
}
