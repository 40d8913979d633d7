/** The users that match since the list was read, because others have created or changed them, and which have no rows yet. */

export interface Arrivals {
  readonly count: number;
  /** Whether there are more than it counts. */
  readonly isMany: boolean;
  /** Whether some of the users existed before, and were changed so that they match. */
  readonly hasChanged: boolean;
  /** Whether the user is counted. */
  has(id: string): boolean;
  /** Whether the user is not new to this page: already counted, or created by the page itself. */
  isKnown(id: string): boolean;
  add(id: string, isChanged: boolean): void;
  /** Returns whether the user was counted. */
  remove(id: string): boolean;
  /** The page has created this user itself. Returns whether the user was counted, because the feed was faster. */
  addOwn(id: string): boolean;
  clear(): void;
}

const countMax = 5_000;

export function createArrivals(): Arrivals {
  const ids = new Set<string>();
  const own = new Set<string>();
  let isMany = false;
  let hasChanged = false;
  return {
    get count() {
      return ids.size;
    },
    get isMany() {
      return isMany;
    },
    get hasChanged() {
      return hasChanged;
    },
    has: (id) => ids.has(id),
    isKnown: (id) => ids.has(id) || own.has(id),
    add(id, isChanged) {
      hasChanged ||= isChanged;
      if (ids.size >= countMax) isMany = true;
      else ids.add(id);
    },
    remove: (id) => ids.delete(id),
    addOwn(id) {
      own.add(id);
      return ids.delete(id);
    },
    clear() {
      ids.clear();
      isMany = false;
      hasChanged = false;
    },
  };
}
