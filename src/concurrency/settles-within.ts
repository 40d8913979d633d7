/** Awaits a promise until a timeout or until the call is cancelled. */

/**
 * Resolves with whether `promise` settles within `ms`, and rejects with the signal's reason if it aborts before. The caller
 * must read the promise's result itself; a rejection does not become unhandled meanwhile.
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
