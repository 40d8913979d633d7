/**
 * Resume tokens of a watch: where in the change log everything before has been sent.
 *
 * In the clear and not sealed, because one of another directory must be told from one that is none. There is nothing
 * personal in it, and whoever makes one up sees no more than any other watcher.
 */
import { createHash } from 'node:crypto';
import { type Fault, invalid } from './fault.js';
import { uuidForm } from './user.js';

/**
 * A place in the change log. All that the snapshot `behind` sees is before it; and of what `until` sees besides, in order
 * of seq, all up to `seq`. Snapshots are Postgres' own texts, `xmin:xmax:xip,…`.
 */
export interface WatchPosition {
  /** Which change log this is a place in. */
  readonly feedId: string;
  readonly behind: string;
  /** Set together, in the middle of a window. */
  readonly within?: { readonly until: string; readonly seq: bigint };
}

// A snapshot lists the transactions in flight, of which there are about as many as connections: this is enough for
// thousands, and a longer one would cost Postgres more than a caller should.
const tokenCharactersMax = 131_072;
const checksumBytes = 6;
const version = '1';

const snapshotForm = /^\d{1,20}:\d{1,20}:(?:\d{1,20}(?:,\d{1,20})*)?$/;

export function watchTokenOf({ feedId, behind, within }: WatchPosition): string {
  const parts = [version, feedId, behind, ...(within === undefined ? [] : [within.until, within.seq])];
  const text = Buffer.from(parts.join(' '));
  return Buffer.concat([checksumOf(text), text]).toString('base64url');
}

/** Throws INVALID_RESUME_TOKEN for any text that watchTokenOf() did not make, but for one that was made up with care. */
export function parseWatchToken(token: string): WatchPosition {
  if (token.length > tokenCharactersMax) throw refuse();
  const bytes = Buffer.from(token, 'base64url');
  const text = bytes.subarray(checksumBytes);
  // Node's decoder passes over what is no base64url.
  if (bytes.toString('base64url') !== token || !checksumOf(text).equals(bytes.subarray(0, checksumBytes))) {
    throw refuse();
  }
  const [given, feedId = '', behind = '', until, seq, ...rest] = text.toString().split(' ');
  if (given !== version || rest.length > 0 || !uuidForm.test(feedId) || !isSnapshot(behind)) throw refuse();
  if (until === undefined) return { feedId, behind };
  if (!isSnapshot(until) || seq === undefined || !/^\d{1,19}$/.test(seq) || BigInt(seq) > seqMax) throw refuse();
  return { feedId, behind, within: { until, seq: BigInt(seq) } };
}

// Postgres' bigint.
const seqMax = 2n ** 63n - 1n;
const xidMax = 2n ** 64n - 1n;

/** As strict as Postgres, which fails the whole statement for what it does not take. */
function isSnapshot(text: string): boolean {
  if (!snapshotForm.test(text)) return false;
  const { xmin, xmax, inProgress } = snapshotOf(text);
  if (xmin < 1n || xmax > xidMax || xmin > xmax) return false;
  return inProgress.every(
    (xid, index) => xid >= xmin && xid < xmax && (index === 0 || xid > (inProgress[index - 1] ?? xid)),
  );
}

export interface Snapshot {
  /** Every transaction before it had ended. */
  readonly xmin: bigint;
  /** No transaction from it on had begun. */
  readonly xmax: bigint;
  /** Those between the two that were still under way, in ascending order. */
  readonly inProgress: readonly bigint[];
}

/** The parts of a text that Postgres gave, or that a token was checked to hold. */
export function snapshotOf(text: string): Snapshot {
  const [xmin = '', xmax = '', inProgress = ''] = text.split(':');
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    inProgress: inProgress === '' ? [] : inProgress.split(',').map(BigInt),
  };
}

/** Whether a transaction that has been committed was so when the snapshot was taken. */
export function isVisible(xid: bigint, { xmax, inProgress }: Snapshot): boolean {
  return xid < xmax && !inProgress.includes(xid);
}

/** Whether `later` sees all that `earlier` sees. Of two snapshots of one server this is so one way or the other. */
export function hasSeenAll(later: Snapshot, earlier: Snapshot): boolean {
  return later.xmax >= earlier.xmax && later.inProgress.every((xid) => !isVisible(xid, earlier));
}

function checksumOf(text: Buffer): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, checksumBytes);
}

function refuse(): Fault {
  const description = 'must be a resume_token or watch_token that this directory gave';
  return invalid([{ field: 'resume_token', description }], 'INVALID_RESUME_TOKEN');
}
