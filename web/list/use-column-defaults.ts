/** Which columns the page offers and chooses by the attributes that users have. */
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { selectsAll } from '../address/list-query.js';
import { defaultCardColumns, keysOf } from './columns.js';
import type { GridSettings } from './grid-settings.js';
import type { UserList } from './user-list.js';

export interface ColumnDefaults {
  /** The keys of the attributes, the most frequent first. */
  readonly keys: readonly string[];
  /** The columns of a card if the person has chosen none. */
  readonly card: readonly string[];
}

/** The number of users whose attributes decide. */
const sampleMax = 200;

interface Sample {
  /** The state of the list from which the users are. */
  readonly of: string;
  /** Whether the list had all users, and not only those who match a search or a filter. */
  readonly isOfAll: boolean;
  readonly users: readonly User[];
  readonly keys: readonly string[];
}

/**
 * They stay the same once some user has attributes, so that no column moves. Only the first list of all users replaces those
 * of a search, whose few users may have other attributes than most.
 */
export function useColumnDefaults(list: UserList, isCards: boolean, { look }: GridSettings): ColumnDefaults {
  const remembered = useRememberedKeys(list, look.columns === undefined && !isCards);
  const sample = useRef<Sample>({ of: '', isOfAll: false, users: [], keys: [] });
  const isOfAll = selectsAll(list.query);
  const of = `${list.generation} ${list.rows} ${isOfAll}`;
  const isOpen = sample.current.keys.length === 0 || (isOfAll && !sample.current.isOfAll);
  if (isOpen && sample.current.of !== of && list.userAt(0) !== undefined) {
    const users = [...list.loadedUsers()].slice(0, sampleMax);
    sample.current = { of, isOfAll, users, keys: keysOf(users) };
  }
  const { users, keys } = sample.current;
  const card = useMemo(() => (isCards ? defaultCardColumns(users) : []), [users, isCards]);
  return { keys: remembered.length > 0 ? remembered : keys, card };
}

const storageKey = 'roster-attributes';
const rememberedMax = 50;
/** The first rows and what is needed for them come first. */
const sampleAfterMs = 2_000;

/**
 * Returns the keys from the sample that an earlier visit of the same caller read, and reads a sample for the next visit if
 * the columns `areAutomatic`. Without it, the columns would be other ones after each import, and other ones for each filter.
 */
function useRememberedKeys(list: UserList, areAutomatic: boolean): readonly string[] {
  const { actor } = list.directory.caller;
  const remembered = useMemo(() => readRemembered(actor), [actor]);
  const isNeeded = areAutomatic && list.generation > 0;
  useEffect(() => {
    if (!isNeeded) return;
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const { readSampledUsers } = await import('../calls/sampled-users.js');
        const keys = keysOf(await readSampledUsers(list.directory, controller.signal)).slice(0, rememberedMax);
        if (!controller.signal.aborted) localStorage.setItem(storageKey, JSON.stringify({ actor, keys }));
      } catch {
        // The next visit chooses by its first rows.
      }
    }, sampleAfterMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [list.directory, isNeeded, actor]);
  return remembered;
}

/** Empty if another caller has used the browser, who may see other attributes. */
function readRemembered(caller: string): readonly string[] {
  try {
    const { actor, keys }: { actor?: unknown; keys?: unknown } = JSON.parse(localStorage.getItem(storageKey) ?? '{}');
    const isOwn = actor === caller && Array.isArray(keys);
    return isOwn ? keys.filter((key) => typeof key === 'string').slice(0, rememberedMax) : [];
  } catch {
    return [];
  }
}
