/**
 * Sends each read that may lag to a replica, or to the primary if no replica can serve it. A read that fails because of
 * its replica is repeated on the primary, so the loss of a replica fails no call.
 */
import { isConnectionLost } from '../database/errors.js';
import type { MayLag } from '../model/consistency-token.js';
import { Fault } from '../model/fault.js';
import type { DirectoryReads } from './directory-reads.js';
import { mayRepeatOnPrimary, type Replica } from './replica.js';
import type { Choice, PrimaryReason, Replicas } from './replicas.js';

export type ReadCounts = Record<'replica' | PrimaryReason, number>;

export interface ReadRouter {
  /** Without `mayLag`, reads the primary. */
  route<T>(mayLag: MayLag | undefined, signal: AbortSignal, read: (from: DirectoryReads) => Promise<T>): Promise<T>;
  /** Reads that might use a replica, by what served them: a replica, or the primary for one of the reasons. */
  readonly counts: ReadCounts;
}

export interface ReadServers {
  readonly primary: DirectoryReads;
  readonly replicas: Replicas<DirectoryReads>;
  /** Throws if a read on the primary would only wait. */
  requirePrimary(): void;
}

export function createReadRouter({ primary, replicas, requirePrimary }: ReadServers): ReadRouter {
  const counts = { replica: 0, latest: 0, no_replica: 0, behind: 0, unknown_token: 0, failed: 0 };

  /** Returns undefined if the read must be repeated on another server. */
  async function readFrom<T>(
    replica: Replica<DirectoryReads>,
    signal: AbortSignal,
    read: (from: DirectoryReads) => Promise<T>,
  ): Promise<{ readonly value: T } | undefined> {
    const { reads, generation } = replica;
    if (reads === undefined) return undefined;
    try {
      const value = await read(reads);
      // A server that restarted meanwhile may have returned to a state from before the client's token.
      return replica.generation === generation ? { value } : undefined;
    } catch (error) {
      signal.throwIfAborted();
      noteFailure(replica, error);
      if (replica.generation === generation && !mayRepeatOnPrimary(error)) {
        counts.replica++;
        throw error;
      }
      return undefined;
    }
  }

  function readPrimary<T>(read: (from: DirectoryReads) => Promise<T>): Promise<T> {
    requirePrimary();
    return read(primary);
  }

  return {
    counts,
    async route(mayLag, signal, read) {
      if (mayLag === undefined) return readPrimary(read);
      let failed: Replica<DirectoryReads>[] | undefined;
      while (true) {
        const choosing = replicas.choose(mayLag(), signal);
        const choice: Choice<DirectoryReads> = choosing instanceof Promise ? await choosing : choosing;
        // A replica that has failed and may still be used would probably fail again.
        if (typeof choice === 'string' || failed?.includes(choice)) {
          counts[failed === undefined && typeof choice === 'string' ? choice : 'failed']++;
          return readPrimary(read);
        }
        const found = await readFrom(choice, signal, read);
        if (found !== undefined) {
          counts.replica++;
          return found.value;
        }
        failed = [...(failed ?? []), choice];
      }
    },
  };
}

/** Lets the replica know that a read has failed on it. */
export function noteFailure(replica: Replica<DirectoryReads>, error: unknown): void {
  replica.noteFailure(error, isConnectionLost(error instanceof Fault ? error.cause : error));
}
