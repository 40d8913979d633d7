/** The keys of an open person that work in the panel and in the list: `e` edits, `j` and `k` go to another person. */
import { useEffect, useRef } from 'preact/hooks';

/** By the key. A key without a function does nothing. */
export type PanelKeys = Readonly<Partial<Record<'e' | 'j' | 'k', (() => void) | undefined>>>;

/** Whether a dialog or a menu is open, which then gets the keys. */
export function isCovered(): boolean {
  return document.querySelector('dialog[open], :popover-open') !== null;
}

export function usePanelKeys(keys: PanelKeys): void {
  const current = useRef(keys);
  current.current = keys;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const { key, target } = event;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (key !== 'e' && key !== 'j' && key !== 'k') return;
      if (!(target instanceof Element) || isCovered()) return;
      if (target.closest('input, textarea, select, [contenteditable], [role=menu], [role=listbox]') !== null) return;
      const act = current.current[key];
      if (act === undefined) return;
      event.preventDefault();
      act();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}
