/** The selection of the list. Ends with the search and the filter, because "all that match" would mean other users. */
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { changeTypes } from './change-types.js';
import type { ChangeListeners } from './open-user.js';
import type { Route } from './route.js';
import { createSelection, type Selection } from './selection.js';

export function useSelection({ query, filter }: Route, changeListeners: ChangeListeners): Selection {
  const [selection] = useState(createSelection);
  useLayoutEffect(() => selection.clear(), [query, filter, selection]);
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
  return selection;
}
