/**
 * Exports every user that matches from one snapshot, in messages of a bounded size, and goes on where an export ended.
 *
 * The snapshot keeps Postgres from cleaning up, so it is held no longer than it may, whether anybody reads or not.
 */
import { z } from 'zod';
import { Fault, invalid } from '../model/fault.js';
import type { ExportUsersRequest } from '../model/requests.js';
import { createSealedTokens, type SealedTokens } from '../model/sealed-token.js';
import type { User } from '../model/user.js';
import { watchTokenOf } from '../model/watch-token.js';
import type { Database } from '../store/database.js';
import { openUsersSnapshot, type UsersSnapshot } from '../store/export-users.js';
import { cutByBytes } from './message-bytes.js';
import type { Turns } from './turns.js';

export interface ExportedUsers {
  users: User[];
  resumeToken: string;
  /** Empty but in the last message. */
  watchToken: string;
}

/** Where an export is, and what its last message's watch_token is made of. */
const positionSchema = z.object({
  /** The last user sent; absent when all have been. */
  after: z.string().optional(),
  feedId: z.string(),
  /** Of the first of the exports that were resumed: what changed during any of them is behind it. */
  snapshot: z.string(),
});
type ExportPosition = z.infer<typeof positionSchema>;

export type ExportTokens = SealedTokens<ExportPosition>;

export function createExportTokens(secret: Buffer): ExportTokens {
  // A snapshot lists the transactions in flight, of which there are about as many as connections.
  return createSealedTokens({ secret, kind: 'export token', schema: positionSchema, tokenCharactersMax: 1_000_000 });
}

export interface ExportOptions {
  database: Database;
  tokens: ExportTokens;
  /** For connections of one's own. */
  sessions: Turns;
  snapshotTimeoutMs: number;
}

/** Throws INVALID_RESUME_TOKEN, SNAPSHOT_TOO_OLD, OVERLOADED. */
export async function* exportUsers(
  { database, tokens, sessions, snapshotTimeoutMs }: ExportOptions,
  { filter, filterText, resumeToken }: ExportUsersRequest,
  signal: AbortSignal,
): AsyncGenerator<ExportedUsers, void, undefined> {
  const scope = [filterText];
  const messageOf = (users: User[], position: ExportPosition): ExportedUsers => {
    const { after, feedId, snapshot } = position;
    const watchToken = after === undefined ? watchTokenOf({ feedId, behind: snapshot }) : '';
    return { users, resumeToken: tokens.seal(position, scope), watchToken };
  };
  const resumed = resumeToken === '' ? undefined : tokens.open(resumeToken, scope);
  if (resumeToken !== '' && resumed === undefined) throw invalidToken();
  if (resumed !== undefined && resumed.after === undefined) {
    yield messageOf([], resumed);
    return;
  }

  const turn = await sessions.enter('', signal);
  const tooOld = new AbortController();
  const ended = AbortSignal.any([signal, tooOld.signal]);
  let walk: UsersSnapshot | undefined;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= (async () => {
      clearTimeout(timer);
      await walk?.[Symbol.asyncDispose]();
    })().finally(() => turn[Symbol.dispose]());
    return closed;
  };
  const timer = setTimeout(() => {
    tooOld.abort(snapshotTooOld());
    // Not left to the generator, which stays where it is while its reader takes nothing.
    if (walk !== undefined) close().catch(() => {});
  }, snapshotTimeoutMs).unref();

  try {
    walk = await openUsersSnapshot(database, { filter, after: resumed?.after }, ended);
    const { feedId, snapshot } = resumed ?? walk;
    if (feedId !== walk.feedId) throw invalidToken();
    for await (const { users, isLast } of walk.pieces()) {
      if (isLast) await close();
      const parts = users.length === 0 ? [[]] : cutByBytes(users);
      for (const [index, part] of parts.entries()) {
        const isEnd = isLast && index === parts.length - 1;
        yield messageOf(
          part.map(({ user }) => user),
          { after: isEnd ? undefined : part.at(-1)?.user.id, feedId, snapshot },
        );
        ended.throwIfAborted();
      }
    }
  } finally {
    await close();
  }
}

function invalidToken(): Fault {
  const description = 'must be a resume_token of an export with the same filter';
  return invalid([{ field: 'resume_token', description }], 'INVALID_RESUME_TOKEN');
}

function snapshotTooOld(): Fault {
  return new Fault('SNAPSHOT_TOO_OLD', 'The export has held its snapshot for as long as it may; resume it.');
}
