/**
 * Compares what watchers have seen with the change log, and the log with the users' table. It is pure and reads no data.
 *
 * Type and time identify an entry of a user: no two updates of one user have the same time.
 */
import { snapshotOf } from '../../src/model/watch-token.js';

export type SeenType = 'existing' | 'created' | 'updated' | 'deleted';

/** The numbers of the types in the table. */
export const loggedTypes: Readonly<Record<number, SeenType>> = { 2: 'created', 3: 'updated', 4: 'deleted' };

/** A committed entry of the log. */
export interface Logged {
  readonly xid: bigint;
  readonly userId: string;
  readonly type: SeenType;
  readonly timeMs: number;
}

export interface Seen {
  readonly userId: string;
  readonly type: SeenType;
  readonly timeMs: number;
  /** The version of the user in the change: 0 if the user is deleted, undefined if unknown. */
  readonly version: number | undefined;
}

export interface Recording {
  readonly name: string;
  /** The snapshot after which it began; undefined if it began with existing users. */
  readonly behind: string | undefined;
  /** A snapshot that is not older than that of the existing users. */
  readonly existingUntil?: string;
  readonly messages: readonly (readonly Seen[])[];
}

export interface LivingUser {
  readonly id: string;
  readonly version: number;
  readonly updateTimeMs: number;
}

export type FaultKind =
  | 'missing'
  | 'twice'
  | 'unknown'
  | 'out of order'
  | 'user older than its change'
  | 'user went back';

export interface FeedFault {
  readonly kind: FaultKind;
  readonly userId: string;
  /** The changes of this user in the log, and the ones that were seen. */
  readonly expected: readonly string[];
  readonly seen: readonly string[];
}

/** Groups changes by user, in order. */
export function byUser<T extends { readonly userId: string }>(changes: Iterable<T>): Map<string, T[]> {
  const users = new Map<string, T[]>();
  for (const change of changes) {
    const known = users.get(change.userId);
    if (known === undefined) users.set(change.userId, [change]);
    else known.push(change);
  }
  return users;
}

/** Finds the faults in a recording that reached the end of the log. `log` is in order of seq. */
export function faultsOf(recording: Recording, log: ReadonlyMap<string, readonly Logged[]>): FeedFault[] {
  const seenByUser = byUser(recording.messages.flat());
  const faults: FeedFault[] = [];
  for (const userId of new Set([...log.keys(), ...seenByUser.keys()])) {
    const entries = log.get(userId) ?? [];
    const seen = seenByUser.get(userId) ?? [];
    const kind = faultIn(recording, entries, seen);
    if (kind !== undefined) faults.push({ kind, userId, expected: entries.map(label), seen: seen.map(label) });
  }
  return faults;
}

function faultIn(
  { behind, existingUntil }: Recording,
  entries: readonly Logged[],
  allSeen: readonly Seen[],
): FaultKind | undefined {
  let first = entries.findIndex(({ xid }) => behind === undefined || !isVisible(xid, behind));
  if (first === -1) first = entries.length;
  let seen = allSeen;
  const [start] = seen;
  if (behind === undefined && start === undefined) {
    const last = entries.at(-1);
    const wasGone = last?.type === 'deleted' && existingUntil !== undefined && isVisible(last.xid, existingUntil);
    return wasGone ? undefined : 'missing';
  }
  if (behind === undefined && start?.type === 'existing') {
    first = entries.findIndex(({ type, timeMs }) => type !== 'deleted' && timeMs === start.timeMs) + 1;
    if (first === 0) return 'unknown';
    if (start.version !== first) return 'user older than its change';
    seen = seen.slice(1);
  }
  return faultInOrder(entries.slice(first), seen) ?? faultInVersions(entries, allSeen);
}

function faultInOrder(expected: readonly Logged[], seen: readonly Seen[]): FaultKind | undefined {
  const wanted = expected.map(label);
  const got = seen.map(label);
  if (new Set(got).size < got.length) return 'twice';
  const known = new Set(wanted);
  if (got.some((change) => !known.has(change))) return 'unknown';
  if (got.length < wanted.length) return 'missing';
  return got.every((change, index) => change === wanted[index]) ? undefined : 'out of order';
}

function faultInVersions(entries: readonly Logged[], seen: readonly Seen[]): FaultKind | undefined {
  const versions = new Map(entries.map((entry, index) => [label(entry), index + 1]));
  let last = 0;
  for (const change of seen) {
    if (change.version === undefined) continue;
    // A deleted user must not reappear in a later change.
    const version = change.version === 0 ? Number.POSITIVE_INFINITY : change.version;
    if (version < (change.type === 'deleted' ? Number.POSITIVE_INFINITY : (versions.get(label(change)) ?? 0))) {
      return 'user older than its change';
    }
    if (version < last) return 'user went back';
    last = version;
  }
  return undefined;
}

function label({ type, timeMs }: Pick<Seen, 'type' | 'timeMs'>): string {
  return `${type} ${timeMs}`;
}

/** The same as pg_visible_in_snapshot(). */
function isVisible(xid: bigint, snapshot: string): boolean {
  const { xmin, xmax, inProgress } = snapshotOf(snapshot);
  return xid < xmin || (xid < xmax && !inProgress.includes(xid));
}

/** Finds users whose log entries do not match the users' table. */
export function faultsInLog(log: ReadonlyMap<string, readonly Logged[]>, users: readonly LivingUser[]): string[] {
  const living = new Map(users.map((user) => [user.id, user]));
  const faults: string[] = [];
  for (const userId of new Set([...log.keys(), ...living.keys()])) {
    const entries = log.get(userId) ?? [];
    const user = living.get(userId);
    const types = entries.map(({ type }) => type).join(' ');
    if (!/^created(?: updated)*(?: deleted)?$/.test(types)) faults.push(`${userId}: ${types}`);
    const last = entries.at(-1);
    if ((user === undefined) !== (last?.type === 'deleted'))
      faults.push(`${userId}: the table and the log disagree on whether the user exists, after ${types}`);
    if (user === undefined) continue;
    if (user.version !== entries.length) faults.push(`${userId}: version ${user.version} after ${types}`);
    if (user.updateTimeMs !== last?.timeMs)
      faults.push(`${userId}: the update time differs from that of the last entry`);
  }
  return faults;
}
