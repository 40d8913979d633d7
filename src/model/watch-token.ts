/**
 * The resume tokens of a watch, and the positions in the change log that they contain. All changes before the position
 * of a token have been sent.
 *
 * Tokens are not encrypted, because the server must distinguish a token of another directory from a malformed one. They
 * contain no personal data, and a forged token shows a client no more than any other watch.
 */
import { createHash } from 'node:crypto';
import { type Fault, invalid } from './fault.js';
import { uuidForm } from './user.js';

/**
 * A position in the change log. Every change that `snapshot` sees is before it. Inside a window, the changes up to
 * `seq` that `until` sees and `snapshot` does not are also before it. Snapshots are in Postgres' text format,
 * `xmin:xmax:xip,…`.
 */
export interface WatchPosition {
  /** The id of the change log. */
  readonly feedId: string;
  readonly snapshot: string;
  /** The database still has what is before this position if it still has the WAL before it. Unset by earlier servers. */
  readonly wal?: WalPosition | undefined;
  /** Set only inside a window, the changes between two snapshots (store/read-changes.ts). */
  readonly window?: { readonly until: string; readonly seq: bigint };
}

/**
 * A position in Postgres' write-ahead log. Every transaction that the snapshots of the same WatchPosition count as finished
 * ended before it.
 */
export interface WalPosition {
  /** The row of the table `timelines`. */
  readonly timelineId: string;
  /** In Postgres' text format, such as 0/1A2B3C4D. */
  readonly lsn: string;
}

// A snapshot lists the open transactions, about as many as there are connections. This length is enough for thousands.
// Longer snapshots would be expensive for Postgres.
const tokenCharactersMax = 131_072;
const checksumBytes = 6;
const version = '2';
// Tokens of earlier servers have no WAL position.
const versionWithoutWal = '1';

const snapshotForm = /^\d{1,20}:\d{1,20}:(?:\d{1,20}(?:,\d{1,20})*)?$/;

export function watchTokenOf({ feedId, snapshot, wal, window }: WatchPosition): string {
  const head = wal === undefined ? [versionWithoutWal] : [version, wal.timelineId, wal.lsn];
  const parts = [...head, feedId, snapshot, ...(window === undefined ? [] : [window.until, window.seq])];
  const text = Buffer.from(parts.join(' '));
  return Buffer.concat([checksumOf(text), text]).toString('base64url');
}

/** Throws INVALID_RESUME_TOKEN if the token is malformed. Its checksum detects mistakes, but not a forged token. */
export function parseWatchToken(token: string): WatchPosition {
  if (token.length > tokenCharactersMax) throw invalidResumeToken();
  const bytes = Buffer.from(token, 'base64url');
  const text = bytes.subarray(checksumBytes);
  // Node's decoder ignores characters that are not base64url.
  if (bytes.toString('base64url') !== token || !checksumOf(text).equals(bytes.subarray(0, checksumBytes))) {
    throw invalidResumeToken();
  }
  const parts = text.toString().split(' ');
  const given = parts.shift();
  if (given === versionWithoutWal) return parsePosition(parts);
  const [timelineId = '', lsn = '', ...rest] = parts;
  if (given !== version || !uuidForm.test(timelineId) || !lsnForm.test(lsn)) throw invalidResumeToken();
  return { ...parsePosition(rest), wal: { timelineId, lsn } };
}

function parsePosition([feedId = '', snapshot = '', until, seq, ...rest]: readonly string[]): WatchPosition {
  if (rest.length > 0 || !uuidForm.test(feedId) || !isSnapshot(snapshot)) throw invalidResumeToken();
  if (until === undefined) return { feedId, snapshot };
  if (!isSnapshot(until) || seq === undefined || !/^\d{1,19}$/.test(seq) || BigInt(seq) > seqMax)
    throw invalidResumeToken();
  return { feedId, snapshot, window: { until, seq: BigInt(seq) } };
}

const lsnForm = /^[\dA-F]{1,8}\/[\dA-F]{1,8}$/;

/** Whether the position `lsn` of a timeline is at or after another one of the same timeline. */
export function hasReached(lsn: string, other: string): boolean {
  return bytesOf(lsn) >= bytesOf(other);
}

function bytesOf(lsn: string): bigint {
  const [high, low] = lsn.split('/');
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

// The maximum of Postgres' bigint.
const seqMax = 2n ** 63n - 1n;
const xidMax = 2n ** 64n - 1n;

/** As strict as Postgres, which would fail the whole statement for an invalid snapshot. */
function isSnapshot(text: string): boolean {
  if (!snapshotForm.test(text)) return false;
  const { xmin, xmax, inProgress } = snapshotOf(text);
  if (xmin < 1n || xmax > xidMax || xmin > xmax) return false;
  return inProgress.every(
    (xid, index) => xid >= xmin && xid < xmax && (index === 0 || xid > (inProgress[index - 1] ?? xid)),
  );
}

export interface Snapshot {
  /** Every transaction with a lower id had ended. */
  readonly xmin: bigint;
  /** No transaction with this id or a higher one had begun. */
  readonly xmax: bigint;
  /** The open transactions between the two, in ascending order. */
  readonly inProgress: readonly bigint[];
}

/** Parses a snapshot from Postgres or from a validated token. */
export function snapshotOf(text: string): Snapshot {
  const [xmin = '', xmax = '', inProgress = ''] = text.split(':');
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    inProgress: inProgress === '' ? [] : inProgress.split(',').map(BigInt),
  };
}

/** Whether the snapshot sees a transaction that has committed by now. */
export function isVisible(xid: bigint, { xmax, inProgress }: Snapshot): boolean {
  return xid < xmax && !inProgress.includes(xid);
}

/** Whether `later` sees all that `earlier` sees. Of two snapshots of one server, at least one sees all of the other. */
export function hasSeenAll(later: Snapshot, earlier: Snapshot): boolean {
  return later.xmax >= earlier.xmax && later.inProgress.every((xid) => !isVisible(xid, earlier));
}

function checksumOf(text: Buffer): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, checksumBytes);
}

function invalidResumeToken(): Fault {
  const description = 'must be a resume_token or watch_token from this directory';
  return invalid([{ field: 'resume_token', description }], 'INVALID_RESUME_TOKEN');
}
