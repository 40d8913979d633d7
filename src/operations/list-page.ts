/** Lists one page of users, with a token for the next. */
import type { PageTokens } from '../model/page-token.js';
import type { ListUsersRequest } from '../model/requests.js';
import type { User } from '../model/user.js';
import type { Database } from '../store/database.js';
import { countUsers, type ListedUser, listUsers, positionOf } from '../store/list-users.js';
import { userBytesMax, usersBytesMax } from './message-bytes.js';

export interface UserPage {
  users: User[];
  /** Empty on the last page. */
  nextPageToken: string;
  /** Set where it was asked for. */
  totalSize: number | undefined;
}

export async function listPage(
  database: Database,
  pageTokens: PageTokens,
  request: ListUsersRequest,
  signal: AbortSignal,
): Promise<UserPage> {
  const { filter, words, orderBy, pageSize, pageToken, scope } = request;
  const after = pageToken === '' ? undefined : pageTokens.open(pageToken, scope);
  // One more than asked for tells whether there is a next page.
  const rows = await listUsers(database, { filter, words, orderBy, after, rowsMax: pageSize + 1 }, signal);
  const totalSize = request.includeTotalSize ? await countUsers(database, { filter, words }, signal) : undefined;
  const page = rows.slice(0, fitting(rows, pageSize));
  const last = page.at(-1);
  return {
    users: page.map((row) => row.user),
    nextPageToken:
      last === undefined || page.length === rows.length ? '' : pageTokens.seal(positionOf(last, orderBy), scope),
    totalSize,
  };
}

/** How many of the rows go into one message: a page may be shorter than asked for, but never empty. */
function fitting(rows: readonly ListedUser[], pageSize: number): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += userBytesMax(row.user, row.attributesBytes);
    if (index === pageSize || (index > 0 && bytes > usersBytesMax)) return index;
  }
  return rows.length;
}
