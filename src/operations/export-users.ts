/**
 * Exports all matching users from one snapshot in messages of bounded size, and resumes exports.
 *
 * Postgres cannot clean up old rows while a snapshot is open, so its lifetime is limited even if the client reads
 * nothing.
 */
import { z } from 'zod';
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { Fault, invalid } from '../model/fault.js';
import type { ExportUsersRequest } from '../model/requests.js';
import { createSealedTokens, type SealedTokens } from '../model/sealed-token.js';
import { type StoredUser, storedId } from '../model/stored-user.js';
import { watchTokenOf } from '../model/watch-token.js';
import { openUsersSnapshot, type UsersQuery, type UsersSnapshot } from '../store/export-users.js';
import { cutByBytes, storedUserBytesMax } from './message-bytes.js';

export interface ExportedUsers {
  users: StoredUser[];
  resumeToken: string;
  /** Empty except in the last message. */
  watchToken: string;
}

/** The progress of an export, from which the watch_token of the last message is made. */
const positionSchema = z.object({
  /** The id of the last user that was sent. Absent after all users. */
  after: z.string().optional(),
  feedId: z.string(),
  /** The snapshot of the first of the resumed exports, because all changes during any of them come after it. */
  snapshot: z.string(),
  /** Absent in tokens of earlier servers. */
  wal: z.object({ timelineId: z.string(), lsn: z.string() }).optional(),
});
type ExportPosition = z.infer<typeof positionSchema>;

export type ExportTokens = SealedTokens<ExportPosition>;

export function createExportTokens(secret: Buffer): ExportTokens {
  // A snapshot lists the transactions in flight, about as many as there are connections.
  return createSealedTokens({ secret, kind: 'export token', schema: positionSchema, tokenCharactersMax: 1_000_000 });
}

export interface ExportOptions {
  database: Database;
  tokens: ExportTokens;
  /** Limits connections outside the pool. */
  sessions: Limiter;
  snapshotTimeoutMs: number;
  /** Opens a snapshot on a replica. Returns undefined if the primary must serve the export. */
  openOnReplica?(query: UsersQuery, signal: AbortSignal): Promise<UsersSnapshot | undefined>;
}

/** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD, OVERLOADED. */
export async function* exportUsers(
  { database, tokens, sessions, snapshotTimeoutMs, openOnReplica }: ExportOptions,
  { filter, filterText, resumeToken }: ExportUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<ExportedUsers, void, undefined> {
  const scope = [filterText];
  const messageOf = (users: StoredUser[], position: ExportPosition): ExportedUsers => {
    const watchToken = position.after === undefined ? watchTokenOf(position) : '';
    return { users, resumeToken: tokens.seal(position, scope), watchToken };
  };
  const resumed = resumeToken === '' ? undefined : tokens.open(resumeToken, scope);
  if (resumeToken !== '' && resumed === undefined) throw invalidToken();
  if (resumed !== undefined && resumed.after === undefined) {
    yield messageOf([], resumed);
    return;
  }

  const permit = await sessions.acquire('', signal);
  const tooOld = new AbortController();
  const ended = AbortSignal.any([signal, tooOld.signal]);
  let usersSnapshot: UsersSnapshot | undefined;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= (async () => {
      clearTimeout(timer);
      await usersSnapshot?.[Symbol.asyncDispose]();
    })().finally(() => permit[Symbol.dispose]());
    return closed;
  };
  const timer = setTimeout(() => {
    tooOld.abort(snapshotTooOld());
    // The generator is suspended while the client reads nothing, so it cannot close the snapshot itself.
    if (usersSnapshot !== undefined) close().catch(() => {});
  }, snapshotTimeoutMs).unref();

  try {
    const query = { filter, after: resumed?.after };
    // A resumed export uses the primary, because a replica may have ended its snapshot, and would do so again.
    if (resumed === undefined) usersSnapshot = await openOnReplica?.(query, ended);
    usersSnapshot ??= await openUsersSnapshot(database, query, ended);
    const { feedId, snapshot, wal } = resumed ?? usersSnapshot.position;
    if (feedId !== usersSnapshot.position.feedId) throw invalidToken();
    for await (const { users, isLast } of usersSnapshot.pieces()) {
      if (isLast) await close();
      const parts = users.length === 0 ? [[]] : cutByBytes(users, storedUserBytesMax);
      for (const [index, part] of parts.entries()) {
        const last = isLast && index === parts.length - 1 ? undefined : part.at(-1);
        yield messageOf(part, { after: last && storedId(last), feedId, snapshot, wal });
        ended.throwIfAborted();
      }
    }
  } finally {
    await close();
  }
}

function invalidToken(): Fault {
  const description = 'must be the resume_token of an export with the same filter';
  return invalid([{ field: 'resume_token', description }], 'INVALID_RESUME_TOKEN');
}

function snapshotTooOld(): Fault {
  return new Fault(
    'SNAPSHOT_TOO_OLD',
    'The export took longer than the server keeps its snapshot. Resume from the last token.',
  );
}
