/** The keys of the list that also work if nothing has the focus: the arrow down, as in the search, and Ctrl+A. */
import { useEffect, useRef } from 'preact/hooks';
import { isCovered } from '../ui/panel-keys.js';

/** Both keys move the focus into the list, where Escape clears the selection. */
export function useUnfocusedKeys(focusList: () => void, selectAll: () => void): void {
  const current = useRef({ focusList, selectAll });
  current.current = { focusList, selectAll };
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.target !== document.body || event.altKey || event.shiftKey || isCovered()) return;
      const hasMod = event.ctrlKey || event.metaKey;
      if (hasMod && event.key.toLowerCase() === 'a') current.current.selectAll();
      else if (hasMod || event.key !== 'ArrowDown') return;
      event.preventDefault();
      current.current.focusList();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}
