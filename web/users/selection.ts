/** Which users of the list are selected: single users, or all users that match the list's query except some. */

export interface Selection {
  /** The selected users. Empty if all users that match are selected. */
  readonly ids: ReadonlySet<string>;
  /** Whether all users that match the list's query are selected, loaded or not, except those in `excluded`. */
  readonly isAll: boolean;
  /** Empty unless `isAll`. */
  readonly excluded: ReadonlySet<string>;
  /** The excluded users that no longer match the list's query. They stay excluded, in case they match again. */
  readonly away: ReadonlySet<string>;
  /** The selected users that were selected before the last change of the query. Empty if `isAll`. */
  readonly earlier: ReadonlySet<string>;
  readonly isEmpty: boolean;
  has(id: string): boolean;
  /** The number of selected users, or undefined if `total`, the number of users that match, is needed but unknown. */
  count(total: number | undefined): number | undefined;
  toggle(id: string): void;
  /** Gives all these users the state of `isSelected`. */
  toggleRange(ids: Iterable<string>, isSelected: boolean): void;
  /** False while the list still shows the users of another query than the one that was asked for last. */
  readonly maySelectAll: boolean;
  /** Does nothing unless `maySelectAll`. */
  selectAll(): void;
  clear(): void;
  /** Call this if the query changes. Keeps single users, but not "all that match", which would mean other users. */
  leaveQuery(): void;
  /** Call this after users were deleted. */
  forget(ids: Iterable<string>): void;
  /**
   * Call this if a user begins or stops to match the list's query. A user who stops to match is no longer selected, except one
   * who was selected before the last change of the query.
   */
  setMatching(id: string, isMatching: boolean): void;
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

export function createSelection(maySelectAll = () => true): Selection {
  let isAll = false;
  /** Those whose state differs from `isAll`. */
  let different = new Set<string>();
  const none: ReadonlySet<string> = new Set();
  let earlier = none;
  let away = none;
  const listeners = new Set<() => void>();

  const changed = () => {
    for (const listener of listeners) listener();
  };
  const restart = (all: boolean) => {
    if (isAll === all && different.size === 0) return;
    isAll = all;
    different = new Set();
    earlier = none;
    away = none;
    changed();
  };
  /** Replaces the set, so that a reader can keep the previous one. */
  const write = (ids: Iterable<string>, isDifferent: (id: string) => boolean) => {
    const next = new Set(different);
    for (const id of ids) {
      if (isDifferent(id)) next.add(id);
      else next.delete(id);
    }
    different = next;
    earlier = new Set([...earlier].filter((id) => next.has(id)));
    away = new Set([...away].filter((id) => next.has(id)));
    changed();
  };

  const forget = (ids: Iterable<string>) => {
    const known = [...ids].filter((id) => different.has(id));
    if (known.length > 0) write(known, () => false);
  };

  return {
    get ids() {
      return isAll ? none : different;
    },
    get isAll() {
      return isAll;
    },
    get excluded() {
      return isAll ? different : none;
    },
    get earlier() {
      return earlier;
    },
    get away() {
      return away;
    },
    get isEmpty() {
      return !isAll && different.size === 0;
    },
    has: (id) => different.has(id) !== isAll,
    count(total) {
      if (!isAll) return different.size;
      return total === undefined ? undefined : Math.max(0, total - (different.size - away.size));
    },
    toggle: (id) => write([id], () => !different.has(id)),
    toggleRange: (ids, isSelected) => write(ids, () => isSelected !== isAll),
    get maySelectAll() {
      return maySelectAll();
    },
    selectAll() {
      if (maySelectAll()) restart(true);
    },
    clear: () => restart(false),
    leaveQuery() {
      if (isAll) return restart(false);
      earlier = different;
      if (earlier.size > 0) changed();
    },
    forget,
    setMatching(id, isMatching) {
      if (!isAll) {
        if (!isMatching && !earlier.has(id)) forget([id]);
      } else if (different.has(id) && away.has(id) === isMatching) {
        away = new Set(isMatching ? [...away].filter((other) => other !== id) : [...away, id]);
        changed();
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
