/** Finds the row that was in view before a reload, without the rows before it. */
import type { Directory } from '../calls/directory.js';
import type { UserPages } from './user-pages.js';

/** Returns whether the row is known now. It is not if the user was deleted, or the call failed. */
export async function restoreRow(directory: Directory, pages: UserPages, row: number, id: string): Promise<boolean> {
  if (pages.userAt(row) !== undefined) return true;
  try {
    const { users } = await directory.listUsers({ filter: `id == ${JSON.stringify(id)}`, pageSize: 1 });
    return users[0] !== undefined && pages.place(users[0], row);
  } catch {
    // The list then begins at its top, and its own calls report the failure.
    return false;
  }
}
