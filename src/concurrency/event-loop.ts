/** Keeps long work from blocking the event loop. */
import { setImmediate as nextTurn } from 'node:timers/promises';

// Ordinary requests take less time, so they run without a pause.
const workMsMax = 10;

/**
 * Returns a function to await in each iteration of a long loop. When the loop has run for `workMs` without a pause, the
 * process first handles other events.
 */
export function createPause(workMs = workMsMax): () => Promise<void> | undefined {
  let startMs = performance.now();
  return () => {
    if (performance.now() - startMs < workMs) return undefined;
    return nextTurn().then(() => {
      startMs = performance.now();
    });
  };
}
