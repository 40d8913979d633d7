/**
 * What the page remembers of a list: every page's token, and the users of a few pages.
 *
 * Pages are keyset pages, so a page that was dropped can be had again by its token wherever it is, and holds whoever is
 * in that part of the order by then. Pure memory: calls nobody.
 */
import type { User } from '../generated/users/v1/user.js';
import { createUserOrder, type OrderKey } from './user-order.js';

export interface Page {
  /** What brings it: the server's token of the page before, or empty for the first. */
  readonly token: string;
  /** The row that it begins with. */
  readonly start: number;
  /** How many rows it has, or had when it was last seen. */
  readonly count: number;
  /** Undefined where it was not loaded yet, or dropped. */
  readonly users: readonly User[] | undefined;
}

interface OwnPage {
  readonly token: string;
  start: number;
  count: number;
  users: User[] | undefined;
  /** Who stood last when the next page began; undefined where there is no next one. */
  upTo: OrderKey | undefined;
  usedAt: number;
}

export interface UserPages {
  /** All rows that are known, loaded or not. */
  readonly rows: number;
  /** Whether there are rows behind the known ones. */
  readonly hasMore: boolean;
  readonly loadedPages: number;
  /** The page that has a row; behind the known rows the one that is to be loaded next. */
  pageOf(row: number): Page | undefined;
  /** The page that has the user's place in the order, whether or not the user is in it. */
  pageFor(user: User): Page | undefined;
  userAt(row: number): User | undefined;
  /** -1 where the user is not in memory. */
  rowOf(id: string): number;
  has(id: string): boolean;
  /** What the server sent for a page of these. */
  fill(page: Page, users: readonly User[], nextToken: string): void;
  /** In place, wherever the change would move them. False where the user is not in memory. */
  replace(user: User): boolean;
  remove(ids: ReadonlySet<string>): void;
  /** At its place, where that is surely in memory: says whether it was. */
  insert(user: User): boolean;
  /** Keeps the users of `pagesMax` pages: those that were used last, always those with rows from `first` to `last`. */
  keep(first: number, last: number): void;
  /** Drops the users of all pages but those with rows from `first` to `last`. */
  keepOnly(first: number, last: number): void;
}

export function createUserPages(orderBy: string, pagesMax: number): UserPages {
  const order = createUserOrder(orderBy);
  const pages: OwnPage[] = [newPage('', undefined)];
  const places = new Map<string, OwnPage>();
  let rows = 0;
  let clock = 0;

  function newPage(token: string, upTo: OrderKey | undefined): OwnPage {
    return { token, start: 0, count: 0, users: undefined, upTo, usedAt: 0 };
  }

  function count(): void {
    rows = 0;
    for (const page of pages) {
      page.start = rows;
      if (page.users !== undefined) page.count = page.users.length;
      rows += page.count;
    }
  }

  function drop(page: OwnPage): void {
    for (const { id } of page.users ?? []) if (places.get(id) === page) places.delete(id);
    page.users = undefined;
  }

  function indexOf(row: number): number {
    let low = 0;
    let high = pages.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((pages[middle]?.start ?? 0) <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function pageOf(row: number): OwnPage | undefined {
    const last = pages.at(-1);
    if (row >= rows) return last?.users === undefined ? last : undefined;
    // Several pages may begin at one row, where all but the last of them are empty.
    return pages[indexOf(row)];
  }

  function pageFor(user: User): OwnPage | undefined {
    const key = order.keyOf(user);
    return pages.find(({ upTo }) => upTo === undefined || order.compare(key, upTo) <= 0);
  }

  function isIn(page: OwnPage, first: number, last: number): boolean {
    return page.start <= last && page.start + page.count > first;
  }

  return {
    get rows() {
      return rows;
    },
    get hasMore() {
      return pages.at(-1)?.users === undefined && pages.at(-1)?.count === 0;
    },
    get loadedPages() {
      return pages.filter((page) => page.users !== undefined).length;
    },
    pageOf,
    pageFor,
    userAt(row) {
      const page = row < rows ? pageOf(row) : undefined;
      return page?.users?.[row - page.start];
    },
    rowOf(id) {
      const page = places.get(id);
      const index = page?.users?.findIndex((user) => user.id === id) ?? -1;
      return page === undefined || index < 0 ? -1 : page.start + index;
    },
    has: (id) => places.has(id),

    fill(given, users, nextToken) {
      const at = pages.indexOf(given as OwnPage);
      const page = pages[at];
      // Another answer has made it superfluous.
      if (page === undefined) return;
      drop(page);
      page.usedAt = ++clock;
      let own = [...users];
      const last = own.at(-1);
      if (nextToken === '') {
        // Whoever is behind is in this answer.
        for (const gone of pages.splice(at + 1)) drop(gone);
        page.upTo = undefined;
      } else if (page.upTo === undefined) {
        page.upTo = last && order.keyOf(last);
        pages.push(newPage(nextToken, undefined));
      } else {
        const { upTo } = page;
        // Some have gone from here since: what was sent in their place belongs to the next page.
        own = own.filter((user) => order.compare(order.keyOf(user), upTo) <= 0);
        if (own.length === users.length && last !== undefined && order.compare(order.keyOf(last), upTo) < 0) {
          // Others have come: the rest of this part is a page of its own.
          page.upTo = order.keyOf(last);
          const rest = newPage(nextToken, upTo);
          rest.count = 1;
          pages.splice(at + 1, 0, rest);
        }
      }
      for (const { id } of own) {
        // Whoever has moved here from a page that was loaded before stands in both.
        const before = places.get(id);
        if (before?.users !== undefined) before.users = before.users.filter((user) => user.id !== id);
        places.set(id, page);
      }
      page.users = own;
      count();
    },

    replace(user) {
      const { users } = places.get(user.id) ?? {};
      const index = users?.findIndex(({ id }) => id === user.id) ?? -1;
      if (users === undefined || index < 0) return false;
      users[index] = user;
      return true;
    },

    remove(ids) {
      const touched = new Set<OwnPage>();
      for (const id of ids) {
        const page = places.get(id);
        if (page !== undefined) touched.add(page);
        places.delete(id);
      }
      for (const page of touched) page.users = page.users?.filter(({ id }) => !ids.has(id));
      if (touched.size > 0) count();
    },

    insert(user) {
      const key = order.keyOf(user);
      const page = pageFor(user);
      if (page?.users === undefined || places.has(user.id)) return false;
      const index = page.users.findIndex((other) => order.compare(order.keyOf(other), key) > 0);
      page.users.splice(index < 0 ? page.users.length : index, 0, user);
      places.set(user.id, page);
      count();
      return true;
    },

    keep(first, last) {
      const loaded = pages.filter((page) => page.users !== undefined);
      for (const page of loaded) if (isIn(page, first, last)) page.usedAt = ++clock;
      if (loaded.length <= pagesMax) return;
      loaded.sort((a, b) => a.usedAt - b.usedAt);
      for (const page of loaded.slice(0, loaded.length - pagesMax)) if (!isIn(page, first, last)) drop(page);
    },

    keepOnly(first, last) {
      for (const page of pages) if (!isIn(page, first, last)) drop(page);
    },
  };
}
