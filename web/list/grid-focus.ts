/** The grid's active row, which is the only one in the tab order, and the keys that make another row active. */
import { useCallback, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { GridScroll } from './grid-scroll.js';
import type { UserList } from './user-list.js';

export interface GridFocus {
  readonly active: number;
  activate(row: number): void;
  /** Moves the focus to a row. The default is the active row, or the row in view that is nearest to it. */
  focus(row?: number): void;
  onFocus(row: number, from: EventTarget | null): void;
  onKeyDown(event: KeyboardEvent): void;
}

export function useGridFocus(
  list: UserList,
  version: number,
  { scrollerRef, first, last, rowsInView, reveal }: GridScroll,
  onOpen: (id: string) => void,
  onSelectKey: (event: KeyboardEvent, active: number) => number | undefined,
): GridFocus {
  const [wanted, activate] = useState(0);
  // If the active row was removed, another one must take its place in the tab order.
  const active = Math.max(0, Math.min(wanted, list.rows - 1));
  /** The row that gets the focus as soon as it is active. */
  const focusNext = useRef<number>(undefined);

  const focusActive = () => {
    const row = scrollerRef.current?.querySelector<HTMLElement>('[data-active]');
    // A grid that has just been added has no rows until it knows its size.
    if (!row) return;
    focusNext.current = undefined;
    row.focus({ preventScroll: true });
  };

  const focus = (row = Math.max(first, Math.min(active, last))) => {
    const target = Math.max(0, Math.min(row, list.rows - 1));
    focusNext.current = target;
    // If the active row does not change, no render follows that could focus it.
    if (target === active) focusActive();
    activate(target);
    reveal(target);
  };

  // If the user of the focused row has moved to another row, the focus moves too.
  const before = useRef({ generation: 0, id: '' });
  useLayoutEffect(() => {
    const { generation, id } = before.current;
    const row = generation === list.generation ? list.rowOf(id) : 0;
    if (row < 0 || row === active) return;
    activate(row);
    if (rowAround(document.activeElement) !== null) focusNext.current = row;
  }, [version, list.generation]);
  useLayoutEffect(() => {
    before.current = { generation: list.generation, id: list.userAt(active)?.id ?? '' };
  });

  // The focused row may have been removed.
  const hadFocus = scrollerRef.current?.contains(document.activeElement) === true;
  useLayoutEffect(() => {
    if (focusNext.current === active || (hadFocus && document.activeElement === document.body)) focusActive();
  });

  const onFocus = useCallback((row: number, from: EventTarget | null) => {
    // A closing dialog restores the focus to an element whose user may be in another row now.
    if (from instanceof Element && from.closest('dialog') !== null) focusActive();
    else activate(row);
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.defaultPrevented) return;
    const focused = rowAround(event.target);
    if (event.altKey) return;
    if (focused === null) {
      // The head of the list.
      if (event.key === 'Escape' && onSelectKey(event, active) !== undefined) event.preventDefault();
      return;
    }
    const target = onSelectKey(event, active) ?? rowAfterKey(event, active, rowsInView, list.rows);
    if (target !== undefined) focus(target);
    else if ((event.key === 'Enter' || event.key === ' ') && !event.metaKey) {
      // Open the user on the screen, even if the list has changed since the last render.
      const { id } = focused.dataset;
      if (id !== undefined) onOpen(id);
    } else return;
    event.preventDefault();
  };

  return { active, activate, focus, onFocus, onKeyDown };
}

function rowAfterKey(
  { key, metaKey }: KeyboardEvent,
  active: number,
  rowsInView: number,
  rows: number,
): number | undefined {
  if (metaKey) return undefined;
  const rowsByKey: Record<string, number> = {
    ArrowDown: active + 1,
    ArrowUp: active - 1,
    PageDown: active + rowsInView,
    PageUp: active - rowsInView,
    Home: 0,
    End: rows - 1,
  };
  return rowsByKey[key];
}

function rowAround(target: EventTarget | null): HTMLElement | null {
  return target instanceof HTMLElement ? target.closest<HTMLElement>('[role=row][data-row]') : null;
}
