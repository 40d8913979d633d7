/** Selects rows of the grid: single ones, ranges with Shift, and all that match. */
import { useCallback, useRef } from 'preact/hooks';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';
import type { UserList } from './user-list.js';

export interface RowSelection {
  isSelected(id: string): boolean;
  /** Whether the user can be selected, or no longer be selected. */
  canSelect(id: string): boolean;
  /** Toggles a row, or gives the rows of a range the state of the last one that was toggled. */
  onSelect(row: number, isRange: boolean): void;
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
  const onSelect = useCallback(
    (row: number, isRange: boolean) => {
      const id = list.userAt(row)?.id;
      if (id === undefined || !canSelect(id)) return;
      const from = list.rowOf(start.current);
      if (isRange && from >= 0) {
        const ids = idsBetween(list, from, row).filter(canSelect);
        return selection.toggleRange(ids, selection.has(start.current));
      }
      start.current = id;
      selection.toggle(id);
    },
    [list, selection],
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

  const isSelected = (id: string) => selection.has(id) && !(selection.isAll && list.leavingReason(id) !== undefined);
  return { isSelected, canSelect, onSelect, onSelectAll, onSelectKey };
}

/** The users from one row to another. Ends before the first one that is not in memory, so that the range has no gaps. */
function idsBetween(list: UserList, from: number, to: number): string[] {
  const ids: string[] = [];
  const step = from <= to ? 1 : -1;
  for (let row = from; row !== to + step; row += step) {
    const user = list.userAt(row);
    if (user === undefined) break;
    ids.push(user.id);
  }
  return ids;
}
