/**
 * Remembers the row at the top of the list in the entry of the browser's history, so that a reload and the back button
 * return to it. It stores the user's id, because the row may have moved until then.
 */
import { isSameQuery, type ListQuery } from '../address/list-query.js';

export interface RememberedRow {
  readonly row: number;
  /** How much of the row is above the view. Without it, the list's last row would be below the view after a reload. */
  readonly abovePx: number;
  readonly id: string;
}

export function rememberRow({ query, filter, orderBy }: ListQuery, { row, abovePx, id }: RememberedRow): void {
  store({ row, abovePx, id, query, filter, orderBy });
}

/** Call this before a read of the list that shows its beginning. */
export function forgetRow(): void {
  store(undefined);
}

function store(top: (RememberedRow & ListQuery) | undefined): void {
  try {
    history.replaceState({ ...history.state, top }, '');
  } catch {
    // Browsers limit how often a page may write. The next scroll writes again.
  }
}

/** Returns undefined if the entry belongs to another list or an older page, or if the list was at its beginning. */
export function rememberedRow(list: ListQuery): RememberedRow | undefined {
  const { top } = (history.state ?? {}) as { top?: RememberedRow & ListQuery };
  return top !== undefined && top.row + top.abovePx > 0 && isSameQuery(list, top) ? top : undefined;
}
