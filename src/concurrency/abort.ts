/** Awaits a promise until a signal aborts or a time has passed. */

/**
 * Settles like `promise`, or rejects with the signal's reason if it aborts before. A later rejection of `promise` does not
 * become unhandled.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    // Promise.race with one promise for the signal would leak memory for each call on a signal that lives long.
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener('abort', abort));
  });
}

/**
 * Resolves with whether `promise` settles within `ms`, and rejects with the signal's reason if it aborts before. The caller
 * must read the promise's result itself.
 */
export async function settlesWithin(promise: Promise<unknown>, ms: number, signal?: AbortSignal): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(late.resolve, ms, false);
  const settled = promise.then(
    () => true,
    () => true,
  );
  try {
    return await unlessAborted(Promise.race([settled, late.promise]), signal);
  } finally {
    clearTimeout(timer);
  }
}
