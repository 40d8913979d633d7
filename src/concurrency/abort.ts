/** Awaits promises until a signal aborts or a timeout has passed. */

/**
 * Settles like `promise`, or rejects with the signal's reason if the signal aborts first. If `promise` rejects after
 * that, the rejection counts as handled.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    // Promise.race with one shared promise for the signal would leak memory on each call, as long as the signal exists.
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener('abort', abort));
  });
}

/**
 * Returns whether `promise` settles within `ms`. Rejects with the signal's reason if the signal aborts first. The
 * caller must await `promise` itself to get its result.
 */
export async function settlesWithin(promise: Promise<unknown>, ms: number, signal?: AbortSignal): Promise<boolean> {
  const timeout = Promise.withResolvers<boolean>();
  const timer = setTimeout(timeout.resolve, ms, false);
  const settled = promise.then(
    () => true,
    () => true,
  );
  try {
    return await unlessAborted(Promise.race([settled, timeout.promise]), signal);
  } finally {
    clearTimeout(timer);
  }
}
