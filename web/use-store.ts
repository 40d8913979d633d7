/** Renders a component again after each change of a store. */
import { useEffect, useReducer } from 'preact/hooks';

export interface Store {
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

/** Returns a number that differs after each change. */
export function useStore(store: Store): number {
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  useEffect(() => store.subscribe(() => redraw()), [store]);
  return version;
}
