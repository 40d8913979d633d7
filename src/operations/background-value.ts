/** A value that is read again in the background when somebody uses it, for metrics that must not wait for the database. */

export interface BackgroundValue<T> {
  /** The last value. If it is old, this starts to read the next one. */
  current(): T;
  /** Resolves when the current read has ended. */
  close(): Promise<void>;
}

const everyMs = 2_000;

export function createBackgroundValue<T>(first: T, read: () => Promise<T>): BackgroundValue<T> {
  let value = first;
  let readMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  let isClosed = false;

  async function refresh(): Promise<void> {
    try {
      value = await read();
    } catch {
      // The last value stays. The database watch reports an outage.
    }
    readMs = performance.now();
    reading = undefined;
  }

  return {
    current() {
      if (!isClosed && performance.now() - readMs >= everyMs) reading ??= refresh();
      return value;
    },
    async close() {
      isClosed = true;
      await reading;
    },
  };
}
