/** The record of every call of one round: what was sent, when, and what the client was told. */

/** `unknown` means that the call failed in a way that leaves open whether the write happened. */
export type Outcome = 'acknowledged' | 'refused' | 'unknown';

export type WriteKind = 'created' | 'updated' | 'deleted';

export interface Write {
  readonly kind: WriteKind;
  /** Empty if a create failed, because the server makes the ids. */
  readonly userId: string;
  readonly outcome: Outcome;
  /** The status of a call that failed. */
  readonly code?: string;
  /** Copied from the response; only in acknowledged creates and updates. */
  readonly version?: number;
  readonly timeMs?: number;
  readonly etag?: string;
  /**
   * Whether the write must succeed if nothing is lost: its etag is from an acknowledged write, and this writer is the only
   * one that writes this user; or it repeats a create.
   */
  readonly isCertain: boolean;
  readonly startMs: number;
  readonly endMs: number;
}

/** A lookup of one user, or a list. */
export interface Read {
  /** Whether it sent the consistency token of the writes before it. */
  readonly hasToken: boolean;
  /** The status of a call that failed. NOT_FOUND is a successful read. */
  readonly code?: string;
  /** A user of whom it returned an older version than one that was acknowledged before the read began. */
  readonly stale?: { readonly userId: string; readonly version: number };
  readonly startMs: number;
  readonly endMs: number;
}

export interface History {
  readonly writes: Write[];
  readonly reads: Read[];
}

/** The version of a user, which the etag contains. 0 if it is malformed. */
export function versionIn(etag: string): number {
  return Number.parseInt(/^v([0-9a-z]+)/.exec(etag)?.[1] ?? '0', 36);
}

export const createHistory = (): History => ({ writes: [], reads: [] });

/** The end of the longest time without an acknowledged write after `faultMs`, in seconds after it. */
export function secondsUntilWrites({ writes }: History, faultMs: number): number {
  const times = writes.filter(({ outcome }) => outcome === 'acknowledged').map(({ endMs }) => endMs);
  times.push(faultMs);
  times.sort((a, b) => a - b);
  let longest = 0;
  let resumedMs = Number.POSITIVE_INFINITY;
  for (let index = times.indexOf(faultMs) + 1; index < times.length; index++) {
    const time = times[index] ?? 0;
    const pause = time - (times[index - 1] ?? 0);
    if (pause <= longest) continue;
    longest = pause;
    resumedMs = time;
  }
  return (resumedMs - faultMs) / 1000;
}
