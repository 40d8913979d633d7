/** Which columns the page offers and chooses by the attributes of the first users. */
import { useMemo, useRef } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { defaultCardColumns, keysOf } from './columns.js';
import type { UserList } from './user-list.js';

export interface ColumnDefaults {
  /** The keys of the attributes, the most frequent first. */
  readonly keys: readonly string[];
  /** The columns of a card if the person has chosen none. */
  readonly card: readonly string[];
}

/** The number of users whose attributes decide. */
const sampleMax = 200;

/** They stay the same once some user has attributes, so that no column moves. */
export function useColumnDefaults(list: UserList, isCards: boolean): ColumnDefaults {
  const sample = useRef({ of: '', users: [] as readonly User[], keys: [] as readonly string[] });
  const of = `${list.generation} ${list.rows}`;
  if (sample.current.keys.length === 0 && sample.current.of !== of && list.userAt(0) !== undefined) {
    const users = [...list.loadedUsers()].slice(0, sampleMax);
    sample.current = { of, users, keys: keysOf(users) };
  }
  const { users, keys } = sample.current;
  const card = useMemo(() => (isCards ? defaultCardColumns(users) : []), [users, isCards]);
  return { keys, card };
}
