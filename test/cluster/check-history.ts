/** Compares the history of a round with the change log and the table at its end. It is pure and reads no data. */
import type { Logged } from '../support/feed-checker.js';
import type { History, Read, Write } from './history.js';

export interface Findings {
  readonly acknowledged: number;
  readonly unknown: number;
  /** Acknowledged writes that the change log does not contain. */
  readonly lost: readonly Write[];
  /** Changes that no call explains. */
  readonly doubled: number;
  /** Refused writes that must succeed if nothing is lost. */
  readonly wronglyRefused: readonly Write[];
  readonly reads: ReadFindings;
  /** Those that sent no consistency token. */
  readonly readsWithoutToken: ReadFindings;
}

export interface ReadFindings {
  readonly all: number;
  readonly failed: number;
  /** Reads that were older than an acknowledged write. */
  readonly stale: number;
  /** How long the missing write had been acknowledged at the start of the read, at most. */
  readonly staleMsMax: number;
}

/** `log` contains the changes of the users of this round, in order of seq. */
export function checkHistory({ writes, reads }: History, log: ReadonlyMap<string, readonly Logged[]>): Findings {
  const acknowledged = writes.filter(({ outcome }) => outcome === 'acknowledged');
  const unknown = writes.filter(({ outcome }) => outcome === 'unknown');
  return {
    acknowledged: acknowledged.length,
    unknown: unknown.length,
    lost: findLost(acknowledged, log),
    doubled: countDoubled(writes, log),
    wronglyRefused: writes.filter(({ outcome, isCertain }) => outcome === 'refused' && isCertain),
    reads: checkReads(
      reads.filter(({ hasToken }) => hasToken),
      acknowledged,
    ),
    readsWithoutToken: checkReads(
      reads.filter(({ hasToken }) => !hasToken),
      acknowledged,
    ),
  };
}

function checkReads(reads: readonly Read[], acknowledged: readonly Write[]): ReadFindings {
  const ages = reads.flatMap(({ stale, startMs }) => {
    if (stale === undefined) return [];
    const isMissing = ({ userId, version = 0 }: Write) => userId === stale.userId && version > stale.version;
    return startMs - (acknowledged.find(isMissing)?.endMs ?? startMs);
  });
  return {
    all: reads.length,
    failed: reads.filter(({ code }) => code !== undefined).length,
    stale: ages.length,
    staleMsMax: Math.max(0, ...ages),
  };
}

/** The entry of a user's version 1 is its first, and so on. */
function findLost(acknowledged: readonly Write[], log: ReadonlyMap<string, readonly Logged[]>): Write[] {
  return acknowledged.filter(({ kind, userId, version, timeMs }) => {
    const entries = log.get(userId) ?? [];
    if (kind === 'deleted') return entries.at(-1)?.type !== 'deleted';
    const entry = entries[(version ?? 0) - 1];
    return entry?.type !== kind || entry.timeMs !== timeMs;
  });
}

/**
 * Each call changes a user at most once, including the client's retries. So the log must not contain more changes of a user
 * than the calls that were acknowledged or may have succeeded. The calls of a failed create do not have the user's id; at most
 * one of them has created a user.
 */
function countDoubled(writes: readonly Write[], log: ReadonlyMap<string, readonly Logged[]>): number {
  const calls = new Map<string, number>();
  for (const { userId, outcome } of writes) {
    if (userId !== '' && outcome !== 'refused') calls.set(userId, (calls.get(userId) ?? 0) + 1);
  }
  let doubled = 0;
  let unexplained = 0;
  for (const [userId, entries] of log) {
    const expected = calls.get(userId);
    if (expected === undefined) unexplained++;
    else doubled += Math.max(0, entries.length - expected);
  }
  const creates = writes.filter(({ kind, outcome }) => kind === 'created' && outcome === 'unknown').length;
  return doubled + Math.max(0, unexplained - creates);
}
