/** Renders a component again after each change of a store. */
import { useLayoutEffect, useReducer } from 'preact/hooks';

export interface Store {
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

/** Returns a number that differs after each change. */
export function useStore(store: Store): number {
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  // An effect after the paint would miss a change that comes before it.
  useLayoutEffect(() => store.subscribe(() => redraw()), [store]);
  return version;
}
