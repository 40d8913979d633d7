/**
 * Opens the snapshots of exports on replicas, so that a long export does not keep the primary from removing old rows.
 *
 * The position for the export's watch_token comes from the primary, and the replica must have replayed the log up to
 * there. A standby's own snapshot does not list the transactions in progress, so a watch from there would miss changes.
 */
import { type Database, readLogPosition } from '../database/database.js';
import { Fault } from '../model/fault.js';
import type { WatchPosition } from '../model/watch-token.js';
import { openUsersSnapshot, type UsersQuery, type UsersSnapshot } from '../store/export-users.js';
import { readFeedPosition } from '../store/read-changes.js';
import type { DirectoryReads } from './directory-reads.js';
import { mayRepeatOnPrimary, type Replica } from './replica.js';
import { noteFailure, type ReadCounts } from './replica-reads.js';
import type { Replicas } from './replicas.js';

// An export takes long anyway, and this is shorter than the pause that a checkpoint causes.
const waitMsMax = 2_000;

export interface ReplicaExports {
  readonly primary: Database;
  readonly replicas: Replicas<DirectoryReads>;
  /** Exports count as reads. */
  readonly counts: ReadCounts;
}

/** Returns undefined if no replica can serve the export. */
export async function openOnReplica(
  { primary, replicas, counts }: ReplicaExports,
  query: UsersQuery,
  signal: AbortSignal,
): Promise<UsersSnapshot | undefined> {
  const position = await readFeedPosition(primary);
  const choice = await replicas.reach(await readLogPosition(primary), waitMsMax, signal);
  const opened = typeof choice === 'string' ? undefined : await openOn(choice, query, position, signal);
  counts[typeof choice === 'string' ? choice : opened === undefined ? 'failed' : 'replica']++;
  return opened;
}

async function openOn(
  replica: Replica<DirectoryReads>,
  query: UsersQuery,
  position: WatchPosition,
  signal: AbortSignal,
): Promise<UsersSnapshot | undefined> {
  const { reads, generation } = replica;
  if (reads === undefined) return undefined;
  try {
    const opened = await openUsersSnapshot(reads.database, { ...query, position }, signal);
    if (replica.generation === generation) return { ...opened, pieces: () => piecesOf(replica, opened) };
    await opened[Symbol.asyncDispose]();
  } catch (error) {
    signal.throwIfAborted();
    noteFailure(replica, error);
    if (!mayRepeatOnPrimary(error)) throw error;
  }
  return undefined;
}

/** Makes the client resume if the replica fails, or ends the snapshot because it must remove old rows. */
async function* piecesOf(
  replica: Replica<DirectoryReads>,
  snapshot: UsersSnapshot,
): ReturnType<UsersSnapshot['pieces']> {
  try {
    yield* snapshot.pieces();
  } catch (error) {
    noteFailure(replica, error);
    if (!(error instanceof Fault) || error.reason !== 'DATABASE_UNAVAILABLE') throw error;
    const message = 'The replica could not keep the snapshot of the export. Resume from the last token.';
    throw new Fault('SNAPSHOT_TOO_OLD', message, [], { cause: error });
  }
}
