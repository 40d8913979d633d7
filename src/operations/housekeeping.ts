/** What has to be done now and then, whoever calls: forgetting request ids after their day. */
import type { Database } from '../store/database.js';
import { forgetRequests } from '../store/users.js';

export interface Housekeeping {
  /** Resolves when what is under way has ended. */
  close(): Promise<void>;
}

const everyMs = 10 * 60_000;
// Small steps hold no lock for long, and leave the disk to calls in between.
const rowsMax = 1_000;

export function startHousekeeping(database: Database, onError: (error: unknown) => void): Housekeeping {
  let isClosed = false;
  let underWay = Promise.resolve();

  async function sweep(): Promise<void> {
    if (isClosed) return;
    try {
      let forgotten: number;
      do forgotten = await forgetRequests(database, rowsMax);
      while (!isClosed && forgotten === rowsMax);
    } catch (error) {
      // The next turn comes.
      onError(error);
    }
  }

  const timer = setInterval(() => {
    underWay = underWay.then(sweep);
  }, everyMs).unref();
  return {
    close() {
      isClosed = true;
      clearInterval(timer);
      return underWay;
    },
  };
}
