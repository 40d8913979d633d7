/** Selects rows of the grid: single ones, ranges with Shift, and all that match. */
import { useCallback, useEffect, useRef } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { closeToast, showToast } from '../ui/toasts.js';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';
import type { UserList } from './user-list.js';

export interface RowSelection {
  isSelected(id: string): boolean;
  /** Whether the user can be selected, or no longer be selected. */
  canSelect(id: string): boolean;
  /**
   * Toggles a row, or gives the rows of a range the state of the last one that was toggled. A range with rows that are not in
   * memory stays as it is, because actions would change only a part of it. Returns whether the row is selected now.
   */
  onSelect(row: number, isRange: boolean): boolean;
  onSelectAll(): void;
  /** Handles a key in a row. Returns the row that gets the focus, or undefined if the key does not select. */
  onSelectKey(event: KeyboardEvent, active: number): number | undefined;
}

/** Selects nothing while the list is outdated, because nobody has asked for its rows. */
export function useRowSelection(list: UserList, selection: Selection): RowSelection {
  useStore(selection);
  /** The user that was toggled last, where a range begins. */
  const start = useRef('');

  // Rows that are about to disappear do not match.
  const canSelect = (id: string) => !list.isOutdated && list.leavingReason(id) === undefined;
  const isSelected = (id: string) => selection.has(id) && !(selection.isAll && list.leavingReason(id) !== undefined);
  const refuseRange = useRangeRefusal(list, selection);
  const onSelect = useCallback(
    (row: number, isRange: boolean) => {
      const id = list.userAt(row)?.id ?? '';
      if (id === '' || !canSelect(id)) return isSelected(id);
      const from = list.rowOf(start.current);
      if (isRange && (from >= 0 || isElsewhere(start.current, selection))) {
        const ids = from < 0 ? undefined : idsBetween(list, from, row);
        const selects = selection.has(start.current);
        if (ids === undefined) refuseRange(selects);
        else selection.toggleRange(ids.filter(canSelect), selects);
      } else {
        start.current = id;
        selection.toggle(id);
      }
      return isSelected(id);
    },
    [list, selection, refuseRange],
  );

  const onSelectAll = () => {
    if (!list.isOutdated) selection.selectAll();
  };

  const onSelectKey = (event: KeyboardEvent, active: number): number | undefined => {
    const { key, shiftKey, ctrlKey, metaKey } = event;
    if (ctrlKey || metaKey) {
      if (key.toLowerCase() !== 'a' || shiftKey) return undefined;
      onSelectAll();
      return active;
    }
    if (key.toLowerCase() === 'x') onSelect(active, shiftKey);
    else if (key === 'Escape' && !selection.isEmpty) selection.clear();
    else if (shiftKey && (key === 'ArrowDown' || key === 'ArrowUp')) {
      const target = Math.max(0, Math.min(active + (key === 'ArrowDown' ? 1 : -1), list.rows - 1));
      const id = list.userAt(active)?.id;
      if (id !== undefined && !selection.has(id)) onSelect(active, false);
      else if (list.rowOf(start.current) < 0) start.current = id ?? '';
      onSelect(target, true);
      return target;
    } else return undefined;
    return active;
  };

  return { isSelected, canSelect, onSelect, onSelectAll, onSelectKey };
}

/** Whether the row of a user who was toggled in this list is not in memory. A deleted user is no longer in the selection. */
function isElsewhere(id: string, { ids, excluded, earlier }: Selection): boolean {
  return (ids.has(id) || excluded.has(id)) && !earlier.has(id);
}

/** The users from one row to another. Undefined if one of them is not in memory. */
function idsBetween(list: UserList, from: number, to: number): string[] | undefined {
  const ids: string[] = [];
  for (let row = Math.min(from, to); row <= Math.max(from, to); row++) {
    const user = list.userAt(row);
    if (user === undefined) return undefined;
    ids.push(user.id);
  }
  return ids;
}

/** Returns a function that says why a range stays as it is. If the range was to be selected, it offers to select all users. */
function useRangeRefusal(list: UserList, selection: Selection): (selects: boolean) => void {
  const toast = useRef(0);
  const { query, filter } = list.requestedQuery;
  // With another query, the offer would select other users.
  useEffect(() => () => closeToast(toast.current), [query, filter]);
  return useCallback(
    (selects) => {
      closeToast(toast.current);
      const { total } = list;
      const offer = {
        label: total.kind === 'exact' ? `Select all ${formatCount(total.count)}` : 'Select all that match',
        run: () => !list.isOutdated && selection.selectAll(),
      };
      toast.current = showToast({
        text: 'Only rows that are loaded can be selected as a range.',
        offer: selects ? offer : undefined,
      });
    },
    [list, selection],
  );
}
