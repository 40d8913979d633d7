/** Lists one page of the changes to a user, with a token for the next page. */
import type { Database } from '../database/database.js';
import type { ChangePageTokens } from '../model/page-token.js';
import type { ListUserChangesRequest } from '../model/requests.js';
import { listChanges, type UserChangeEntry } from '../store/list-changes.js';

export interface ChangePage {
  readonly changes: readonly UserChangeEntry[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export async function changePage(
  database: Database,
  pageTokens: ChangePageTokens,
  { id, pageSize, pageToken }: ListUserChangesRequest,
): Promise<ChangePage> {
  const before = pageToken === '' ? undefined : pageTokens.open(pageToken, id);
  // One row more than requested shows whether there is a next page.
  const rows = await listChanges(database, { userId: id, before, rowsMax: pageSize + 1 });
  const changes = rows.slice(0, pageSize);
  const last = changes.at(-1);
  const isLast = last === undefined || changes.length === rows.length;
  return { changes, nextPageToken: isLast ? '' : pageTokens.seal(last.seq, id) };
}
