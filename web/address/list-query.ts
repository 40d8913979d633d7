/** The query of the list: search words, a filter and an order. */
import type { User } from '../../generated/users/v1/user.js';
import { textFields } from '../../src/fields.js';
import { foldText } from '../text/fold-text.js';

export interface ListQuery {
  readonly query: string;
  readonly filter: string;
  /** As in ListUsers: a field, optionally followed by ` desc`. */
  readonly orderBy: string;
}

export function isSameQuery(a: ListQuery, b: ListQuery): boolean {
  return a.query === b.query && a.filter === b.filter && a.orderBy === b.orderBy;
}

/** Whether every user matches. */
export function selectsAll({ query, filter }: Omit<ListQuery, 'orderBy'>): boolean {
  return query === '' && filter === '';
}

/** Matches as the server's `query` does: each word must be the user's id, or occur in one of the fields. */
export function hasWords(user: User, words: string): boolean {
  const texts = textFields.filter((field) => 'isSearched' in field).map(({ name }) => user[name]);
  const text = foldText(texts.join('\n'));
  return words.split(/\s+/u).every((word) => word.toLowerCase() === user.id || text.includes(foldText(word)));
}
