/** Which columns the page chooses by the attributes that users have, if the person has chosen none. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { selectsAll } from '../address/list-query.js';
import { defaultCardColumns, keysOf, readColumnIds } from './columns.js';
import type { UserList } from './user-list.js';

interface Choice {
  /** The keys of the attributes, the most frequent first. */
  readonly keys: readonly string[];
  /** The columns of a card. */
  readonly card: readonly string[];
}

export interface ColumnDefaults extends Choice {
  /** Chooses by the attributes that users have now. */
  chooseAgain(): void;
}

/** The number of users whose attributes decide. */
const usersMax = 200;
const keysMax = 50;
/** The attributes of fewer users may be those of a trial. */
const usersMin = 20;

function choiceOf(users: readonly User[]): Choice {
  return { keys: keysOf(users).slice(0, keysMax), card: defaultCardColumns(users) };
}

/**
 * The browser keeps the choice of the first visit with more than a few users. Otherwise the columns would be other ones after an import, and other ones
 * for each filter. The panel of the columns offers newer attributes.
 */
export function useColumnDefaults(list: UserList): ColumnDefaults {
  const { directory } = list;
  const { isKnown, caller } = directory.session;
  const { actor } = caller;
  const kept = useMemo(() => readKept(actor), [actor]);
  const [latest, setLatest] = useState<Choice>();
  const first = useFirstChoice(list);
  const isFirst = isKnown && kept === undefined && latest === undefined;
  const { isTypical, choice } = first;
  useEffect(() => {
    if (isFirst && isTypical && choice.keys.length > 0) keep(actor, choice);
  }, [isFirst, isTypical, choice, actor]);
  const chooseAgain = useCallback(async () => {
    try {
      const { readSampledUsers } = await import('../calls/sampled-users.js');
      const next = choiceOf(await readSampledUsers(directory, new AbortController().signal));
      keep(actor, next);
      setLatest(next);
    } catch {
      // The columns stay as they are.
    }
  }, [directory, actor]);
  return { ...(latest ?? kept ?? choice), chooseAgain };
}

interface FirstChoice {
  /** The state of the list from which the users are. */
  readonly of: string;
  /** Whether the list had all users, and not only those who match a search or a filter. */
  readonly isOfAll: boolean;
  /** Whether these are enough users to keep the choice for later visits. */
  readonly isTypical: boolean;
  readonly choice: Choice;
}

/**
 * Stays the same once some user has attributes, so that no column moves. Only the first list of all users replaces those of a
 * search, whose few users may have other attributes than most.
 */
function useFirstChoice(list: UserList): FirstChoice {
  const first = useRef<FirstChoice>({ of: '', isOfAll: false, isTypical: false, choice: choiceOf([]) });
  const isOfAll = selectsAll(list.query);
  const of = `${list.generation} ${list.rows} ${isOfAll}`;
  const isOpen = first.current.choice.keys.length === 0 || (isOfAll && !first.current.isOfAll);
  if (isOpen && first.current.of !== of && list.userAt(0) !== undefined) {
    const users = [...list.loadedUsers()].slice(0, usersMax);
    first.current = { of, isOfAll, isTypical: isOfAll && users.length >= usersMin, choice: choiceOf(users) };
  }
  return first.current;
}

const storageKey = 'roster-attributes';

function keep(actor: string, choice: Choice): void {
  try {
    localStorage.setItem(storageKey, JSON.stringify({ actor, ...choice }));
  } catch {
    // If the browser cannot store it, the next visit chooses again.
  }
}

/** Returns undefined if another caller has used the browser, who may see other attributes. */
function readKept(caller: string): Choice | undefined {
  try {
    const stored: { actor?: unknown; keys?: unknown; card?: unknown } = JSON.parse(
      localStorage.getItem(storageKey) ?? '{}',
    );
    const { actor, keys, card } = stored;
    if (actor !== caller || !Array.isArray(keys) || !Array.isArray(card)) return undefined;
    const known = keys.filter((key) => typeof key === 'string').slice(0, keysMax);
    return { keys: known, card: readColumnIds(card) ?? [] };
  } catch {
    return undefined;
  }
}
