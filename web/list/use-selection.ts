/** The selection of the list. Knows when the search or the filter changes, and which users were deleted or stopped matching. */
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import type { Route } from '../address/route.js';
import { changeTypes } from '../calls/change-types.js';
import { createSelection, type Selection } from '../users/selection.js';
import type { ChangeListeners } from './open-user.js';
import type { UserList } from './user-list.js';

export function useSelection({ query, filter }: Route, changeListeners: ChangeListeners, list: UserList): Selection {
  const [selection] = useState(createSelection);
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
  useEffect(() => list.onNoMatch((id) => selection.forget([id])), [selection, list]);
  return selection;
}
