/** Waits for something, but neither for ever nor for a caller who has gone. */

/**
 * Whether a promise is settled within `ms`; rejects with the signal's reason where that is aborted before. What it is
 * settled with is for the caller to see, and no unhandled rejection meanwhile.
 */
export function settlesWithin(promise: Promise<unknown>, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      settle();
    };
    const abort = () => end(() => reject(signal.reason));
    const timer = setTimeout(() => end(() => resolve(false)), ms);
    const settled = () => end(() => resolve(true));
    promise.then(settled, settled);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
  });
}
