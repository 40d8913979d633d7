/** Finds people for the palette while the user types. */
import { useEffect, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { callErrorOf, isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';

/** Too short to notice, but long enough to type most of a word. */
const searchAfterMs = 150;
const peopleMax = 6;

export interface FoundPeople {
  readonly people: readonly User[];
  readonly isSearching: boolean;
  /** Whether the search for the current words found nobody. */
  readonly foundNobody: boolean;
  /** Why the search failed; empty if it did not. */
  readonly problem: string;
}

const nothing: FoundPeople = { people: [], isSearching: false, foundNobody: false, problem: '' };

export function usePeople(directory: Directory, query: string): FoundPeople {
  const [found, setFound] = useState(nothing);
  useEffect(() => {
    if (query === '') return setFound(nothing);
    const controller = new AbortController();
    // The people of the previous query stay until the answer arrives.
    setFound(({ people }) => ({ ...nothing, people, isSearching: true }));
    const timer = setTimeout(async () => {
      try {
        const { users } = await directory.listUsers({ query, pageSize: peopleMax }, { signal: controller.signal });
        setFound({ ...nothing, people: users, foundNobody: users.length === 0 });
      } catch (error) {
        if (!isAborted(error)) setFound({ ...nothing, problem: callErrorOf(error).message });
      }
    }, searchAfterMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [directory, query]);
  return found;
}
