/** The selection of the list. Knows when the search or the filter changes, and which users were deleted or stopped matching. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Route } from '../address/route.js';
import { changeTypes } from '../calls/change-types.js';
import { createSelection, type Selection } from '../users/selection.js';
import type { ChangeListeners } from './open-user.js';
import type { UserList } from './user-list.js';

export function useSelection({ query, filter }: Route, changeListeners: ChangeListeners, list: UserList): Selection {
  const isShown = useRef<() => boolean>(() => false);
  isShown.current = () => list.query.query === query && list.query.filter === filter;
  const [selection] = useState(() => createSelection(() => isShown.current()));
  useLayoutEffect(() => selection.leaveQuery(), [query, filter, selection]);
  useEffect(() => {
    const forget: Parameters<ChangeListeners['add']>[0] = (changes) => {
      const deleted = changes.filter(({ type }) => type === changeTypes.deleted);
      selection.forget(deleted.flatMap(({ user }) => user?.id ?? []));
    };
    changeListeners.add(forget);
    return () => {
      changeListeners.delete(forget);
    };
  }, [selection, changeListeners]);
  // A later action would change these users unseen.
  useEffect(() => list.onNoMatch((id) => selection.setMatching(id, false)), [selection, list]);
  useEffect(
    () =>
      list.onChange(() => {
        for (const id of selection.away)
          if (list.rowOf(id) >= 0 && list.leavingReason(id) === undefined) selection.setMatching(id, true);
      }),
    [selection, list],
  );
  return selection;
}
