/** Opens the palette with Ctrl+K or ⌘K, and runs commands by their single keys. */
import { useEffect } from 'preact/hooks';
import { commandsNow } from './commands.js';

/** `preload` is called when a key is pressed that may begin Ctrl+K, so that the palette is there for the next keys. */
export function useCommandKeys(openPalette: () => void, preload: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // A dialog has its own keys, and may contain something unsaved.
      if (event.defaultPrevented || event.isComposing || document.querySelector(':modal') !== null) return;
      if (event.altKey) return;
      if (event.key === 'Control' || event.key === 'Meta') preload();
      if (event.ctrlKey || event.metaKey) {
        if (event.key.toLowerCase() !== 'k' || event.shiftKey) return;
        event.preventDefault();
        openPalette();
        return;
      }
      if (isEditable(event.target)) return;
      const command = commandsNow().findLast(({ key }) => key === event.key);
      if (command === undefined) return;
      event.preventDefault();
      command.run();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, [openPalette, preload]);
}

function isEditable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, [contenteditable]') !== null;
}
