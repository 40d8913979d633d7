/** Which columns the page offers and chooses by the attributes of the first users. */
import { useMemo, useRef } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { defaultCardColumns, keysOf } from './columns.js';
import { selectsAll } from './list-query.js';
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
export function useColumnDefaults(list: UserList, isCards: boolean): ColumnDefaults {
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
  return { keys, card };
}
