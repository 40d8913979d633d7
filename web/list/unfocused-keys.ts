/**
 * The keys of the list that also work if nothing has the focus: the arrow down, as in the search, and Ctrl+A. Escape clears the
 * selection, also in its bar, whose buttons lose the focus when they disappear.
 */
import { useEffect, useRef } from 'preact/hooks';
import { isCovered } from '../ui/panel-keys.js';
import type { Selection } from '../users/selection.js';

/** The first two keys move the focus into the list. */
export function useUnfocusedKeys(focusList: () => void, selectAll: () => void, selection: Selection): void {
  const current = useRef({ focusList, selectAll, selection });
  current.current = { focusList, selectAll, selection };
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.altKey || event.shiftKey || isCovered()) return;
      const { target, key } = event;
      const hasMod = event.ctrlKey || event.metaKey;
      if (key === 'Escape' && !hasMod && isAtBar(target) && !current.current.selection.isEmpty) {
        current.current.selection.clear();
        event.preventDefault();
        return;
      }
      if (target !== document.body) return;
      if (hasMod && key.toLowerCase() === 'a') current.current.selectAll();
      else if (hasMod || key !== 'ArrowDown') return;
      event.preventDefault();
      current.current.focusList();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}

function isAtBar(target: EventTarget | null): boolean {
  return target === document.body || (target instanceof Element && target.closest('.selection-bar') !== null);
}
