/** Waits for a condition of the cluster. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves with the first value that is not undefined. Attempts that throw count as undefined. */
export async function poll<T>(what: string, waitMsMax: number, attempt: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + waitMsMax;
  let reason: unknown;
  while (Date.now() < end) {
    try {
      const value = await attempt();
      if (value !== undefined) return value;
      reason = undefined;
    } catch (error) {
      reason = error;
    }
    await sleep(100);
  }
  throw new Error(`Not within ${waitMsMax / 1000} s: ${what}.`, { cause: reason });
}
