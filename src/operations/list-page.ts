/** Lists one page of users, with a token for the next page. */
import { createPause } from '../concurrency/event-loop.js';
import type { Database } from '../database/database.js';
import type { PageTokens } from '../model/page-token.js';
import type { ListUsersRequest } from '../model/requests.js';
import type { JsonValue, User } from '../model/user.js';
import { countUsers, type ListedUser, type ListIndexLookup, listUsers, positionOf } from '../store/list-users.js';
import { userBytesMax, usersBytesMax } from './message-bytes.js';

export interface UserPage {
  users: User[];
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
  const { page, isLast } = await fittingPage(rows, pageSize);
  const last = page.at(-1);
  return {
    users: page.map((row) => row.user),
    nextPageToken: last === undefined || isLast ? '' : pageTokens.seal(positionOf(last, orderBy), scope),
    totalSize,
  };
}

// The maximum number of values in the attributes of a page. They take about 20 ms to encode or to convert to JSON.
const valuesMax = 50_000;

/** The rows that fit into one message and are quick to encode: possibly fewer than requested, but at least one. */
async function fittingPage(
  rows: Iterable<ListedUser>,
  pageSize: number,
): Promise<{ page: ListedUser[]; isLast: boolean }> {
  const page: ListedUser[] = [];
  const pause = createPause();
  let bytes = 0;
  let values = 0;
  for (const row of rows) {
    bytes += userBytesMax(row.user, row.attributesBytes);
    values += countValues(row.user.attributes);
    const isFull = bytes > usersBytesMax || values > valuesMax;
    if (page.length === pageSize || (page.length > 0 && isFull)) return { page, isLast: false };
    page.push(row);
    await pause();
  }
  return { page, isLast: true };
}

function countValues(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 1;
  let count = 1;
  for (const child of Object.values(value)) count += countValues(child);
  return count;
}
