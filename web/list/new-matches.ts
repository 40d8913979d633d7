/** Finds the users that others have created or changed so that they match the list's query now, and that have no rows. */
import type { User, UserChange } from '../../generated/users/v1/user.js';
import { hasWords, type ListQuery, selectsAll } from '../address/list-query.js';
import { changeTypes } from '../calls/change-types.js';
import { sentQuery } from '../text/sent-query.js';
import type { Arrivals } from './arrivals.js';
import type { MatchCheck } from './match-check.js';
import { type PageLoader, pageSize } from './page-loader.js';
import type { RowMarks } from './row-marks.js';

export interface NewMatches {
  /** Call this with each change of the feed. Returns whether the user was counted as an arrival before. */
  follow(change: UserChange): boolean;
  /** Call this if the user matches after a change at this time, as in performance.now(). */
  add(user: User, changedAt?: number): void;
  /** Call this if the user does not match after a change at this time. */
  remove(id: string, changedAt: number): void;
  /** Users created up to this time are rows of the list, loaded or not. */
  readUpTo(time: Date | undefined): void;
}

export interface NewMatchesOptions {
  readonly arrivals: Arrivals;
  readonly marks: RowMarks;
  matchesNow(): MatchCheck;
  queryNow(): ListQuery;
  loaderNow(): PageLoader;
  addToTotal(difference: number, changedAt?: number): void;
  countSoon(): void;
}

export function createNewMatches(options: NewMatchesOptions): NewMatches {
  const { arrivals, marks, matchesNow, queryNow, loaderNow, addToTotal, countSoon } = options;
  let rowsUpTo = 0;

  /** Only the server evaluates filters. */
  function check(id: string): void {
    matchesNow().checkSoon(id, 'other');
    countSoon();
  }

  function add(user: User, changedAt?: number): void {
    const { pages } = loaderNow();
    const isChanged = Number(user.updateTime) > Number(user.createTime);
    // A user that this page has created can be new to its list after a change by somebody else.
    if (isChanged ? arrivals.has(user.id) : arrivals.isKnown(user.id)) return;
    addToTotal(1, changedAt);
    // In a list of one or two screens, inserting a row does not lose the user's place.
    if (!pages.hasMore && pages.rows < pageSize && pages.insert(user)) marks.markChanged(user.id);
    else arrivals.add(user.id, isChanged);
  }

  function onCreated(user: User): void {
    const { query, filter } = queryNow();
    if (arrivals.isKnown(user.id) || loaderNow().pages.has(user.id)) return;
    // The user will be loaded when its position scrolls into view.
    const isRow = Number(user.createTime) <= rowsUpTo && loaderNow().isUnread(user);
    if (isRow) countSoon();
    else if (filter !== '') check(user.id);
    else if (hasWords(user, sentQuery(query))) add(user);
  }

  function onUpdated(user: User): void {
    if (selectsAll(queryNow())) return;
    countSoon();
    const { pages } = loaderNow();
    const mayBeNew = !pages.has(user.id) && pages.hadNoRow(user);
    if (mayBeNew || arrivals.has(user.id)) check(user.id);
  }

  return {
    follow({ type, user }) {
      if (user === undefined) return false;
      const wasCounted = arrivals.has(user.id);
      if (type === changeTypes.created && isStored(user)) onCreated(user);
      else if (type === changeTypes.updated && isStored(user)) onUpdated(user);
      else if (type === changeTypes.deleted) {
        arrivals.remove(user.id);
        matchesNow().forget(user.id);
      }
      return wasCounted;
    },
    add,
    remove(id, changedAt) {
      if (arrivals.remove(id)) addToTotal(-1, changedAt);
    },
    readUpTo(time) {
      rowsUpTo = Math.max(rowsUpTo, time?.getTime() ?? 0);
    },
  };
}

/** A user without an email has been deleted since the change, and a separate change reports that. */
export function isStored({ email }: User): boolean {
  return email !== '';
}
