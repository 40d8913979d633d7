/** New users that the list does not show yet. */

/** More are not counted one by one. */
const arrivalsMax = 5_000;

export interface Arrivals {
  readonly count: number;
  /** Whether there are more than `count`. */
  readonly isMany: boolean;
  has(id: string): boolean;
  add(id: string): void;
  /** Returns whether the user was new. */
  delete(id: string): boolean;
  clear(): void;
}

export function createArrivals(): Arrivals {
  const ids = new Set<string>();
  let isMany = false;
  return {
    get count() {
      return ids.size;
    },
    get isMany() {
      return isMany;
    },
    has: (id) => ids.has(id),
    add(id) {
      if (ids.size < arrivalsMax) ids.add(id);
      else isMany = true;
    },
    delete: (id) => ids.delete(id),
    clear() {
      ids.clear();
      isMany = false;
    },
  };
}
