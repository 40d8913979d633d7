/** On a page where nothing has the focus, the arrow down goes to the list, as it does in the search. */
import { useEffect, useRef } from 'preact/hooks';
import { isCovered } from './panel-keys.js';

export function useFirstRowKey(focusList: () => void): void {
  const current = useRef(focusList);
  current.current = focusList;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'ArrowDown' || event.target !== document.body || isCovered()) return;
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
      event.preventDefault();
      current.current();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}
