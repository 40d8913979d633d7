/** Knows how much of the list's end toasts and the bar of the selection cover, so that the list can end above them. */
import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

const heights = new Map<string, number>();
const listeners = new Set<() => void>();

export const listCover = {
  /** The height together, with the space around it. */
  get px(): number {
    return [...heights.values()].reduce((sum, px) => sum + px, 0);
  },
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

/** The space below each of them, and above the last one. */
const spacePx = 16;

function setHeight(name: string, px: number): void {
  if ((heights.get(name) ?? 0) === px) return;
  heights.set(name, px);
  // The toasts are above the bar of the selection.
  document.documentElement.style.setProperty(`--${name}-height`, `${px}px`);
  for (const listener of listeners) listener();
}

/** Reports the height of an element while it is shown. */
export function useListCover(name: 'toasts' | 'selection', element: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    const measured = element.current;
    if (measured === null) return;
    const observer = new ResizeObserver(() => {
      setHeight(name, measured.offsetHeight === 0 ? 0 : measured.offsetHeight + spacePx);
    });
    observer.observe(measured);
    return () => {
      observer.disconnect();
      setHeight(name, 0);
    };
  }, [name]);
}
