/** Sets the title of the browser's tab: what is open, and then the view behind it. */
import { useLayoutEffect } from 'preact/hooks';

const titles = { view: '', open: '' };

/** `open` is a person or a dialog over the view. It goes before the view's name until the component is gone. */
export function usePageTitle(layer: keyof typeof titles, title: string): void {
  useLayoutEffect(() => {
    titles[layer] = title;
    show();
    return () => {
      if (titles[layer] !== title) return;
      titles[layer] = '';
      show();
    };
  }, [layer, title]);
}

function show(): void {
  const title = titles.open === '' ? titles.view : titles.open;
  document.title = title === '' ? 'Roster' : `${title} · Roster`;
}
