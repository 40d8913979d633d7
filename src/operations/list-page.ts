/** Lists one page of users, with a token for the next page. */
import type { Database } from '../database/database.js';
import type { PageTokens } from '../model/page-token.js';
import type { ListUsersRequest } from '../model/requests.js';
import { attributeValuesMax, type StoredUser } from '../model/stored-user.js';
import { countUsers, type ListIndexLookup, listUsers, positionOf } from '../store/list-users.js';
import { storedUserBytesMax, usersBytesMax } from './message-bytes.js';

export interface UserPage {
  users: StoredUser[];
  /** Empty on the last page. */
  nextPageToken: string;
  /** Set if it was requested. */
  totalSize: number | undefined;
}

export async function listPage(
  database: Database,
  indexes: ListIndexLookup,
  pageTokens: PageTokens,
  request: ListUsersRequest,
  signal: AbortSignal,
): Promise<UserPage> {
  const { filter, words, orderBy, pageSize, pageToken, scope } = request;
  const after = pageToken === '' ? undefined : pageTokens.open(pageToken, scope);
  // One row more than requested shows whether there is a next page.
  const rows = await listUsers(database, indexes, { filter, words, orderBy, after, rowsMax: pageSize + 1 }, signal);
  const totalSize = request.includeTotalSize ? await countUsers(database, { filter, words }, signal) : undefined;
  const users = rows.slice(0, fittingRows(rows, pageSize));
  const last = users.at(-1);
  return {
    users,
    nextPageToken:
      last === undefined || users.length === rows.length ? '' : pageTokens.seal(positionOf(last, orderBy), scope),
    totalSize,
  };
}

// The maximum number of values in the attributes of a page. They take about 20 ms to encode or to convert to JSON.
const valuesMax = 50_000;

/** How many rows fit into one message and are quick to encode: possibly fewer than requested, but at least one. */
function fittingRows(rows: readonly StoredUser[], pageSize: number): number {
  let bytes = 0;
  let values = 0;
  for (const [index, row] of rows.entries()) {
    bytes += storedUserBytesMax(row);
    values += attributeValuesMax(row);
    const isFull = bytes > usersBytesMax || values > valuesMax;
    if (index === pageSize || (index > 0 && isFull)) return index;
  }
  return rows.length;
}
