/**
 * The list's memory: the token of each page, and the users of a few pages. Sends no requests.
 *
 * These are keyset pages, so a dropped page can be loaded again by its token, with the users that are in that part of
 * the order by then.
 */
import type { User } from '../generated/users/v1/user.js';
import { createUserOrder, type OrderKey } from './user-order.js';

export interface Page {
  /** The token to load it with, from the previous page; empty for the first page. */
  readonly token: string;
  /** The number of its first row. */
  readonly start: number;
  /** The number of its rows, or the last known number. */
  readonly count: number;
  /** Undefined if the page was not loaded yet, or was dropped. */
  readonly users: readonly User[] | undefined;
}

interface OwnPage {
  readonly token: string;
  start: number;
  count: number;
  users: User[] | undefined;
  /** The last user's position when the next page was added; undefined without a next page. */
  upTo: OrderKey | undefined;
  usedAt: number;
}

export interface UserPages {
  /** The number of known rows, loaded or not. */
  readonly rows: number;
  /** Whether there are rows after the known ones. */
  readonly hasMore: boolean;
  readonly loadedPages: number;
  /** The page of a row. After the known rows, the next page to load. */
  pageOf(row: number): Page | undefined;
  /** The page that contains the user's position in the order, even if the user is not in it. */
  pageFor(user: User): Page | undefined;
  userAt(row: number): User | undefined;
  /** Returns -1 if the user is not in memory. */
  rowOf(id: string): number;
  has(id: string): boolean;
  /** Stores the server's answer for a page. */
  fill(page: Page, users: readonly User[], nextToken: string): void;
  /** Replaces a user without moving it. Returns false if the user is not in memory. */
  replace(user: User): boolean;
  remove(ids: ReadonlySet<string>): void;
  /** Inserts a user at its position. Returns false if that position is not in memory. */
  insert(user: User): boolean;
  /**
   * Keeps the `pagesMax` pages that were used last, and all with rows from `first` to `last`. Drops the other pages'
   * users.
   */
  keep(first: number, last: number): void;
  /** Drops the users of all pages except those with rows from `first` to `last`. */
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
    // Several pages may begin at the same row if all but the last of them are empty.
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
      // Another answer has removed this page.
      if (page === undefined) return;
      drop(page);
      page.usedAt = ++clock;
      let own = [...users];
      const last = own.at(-1);
      if (nextToken === '') {
        // All later users are in this answer.
        for (const gone of pages.splice(at + 1)) drop(gone);
        page.upTo = undefined;
      } else if (page.upTo === undefined) {
        page.upTo = last && order.keyOf(last);
        pages.push(newPage(nextToken, undefined));
      } else {
        const { upTo } = page;
        // Users may have left this page since then. The users sent in their place belong to the next page.
        own = own.filter((user) => order.compare(order.keyOf(user), upTo) <= 0);
        if (own.length === users.length && last !== undefined && order.compare(order.keyOf(last), upTo) < 0) {
          // New users were added here, so the rest of this part becomes a separate page.
          page.upTo = order.keyOf(last);
          const rest = newPage(nextToken, upTo);
          rest.count = 1;
          pages.splice(at + 1, 0, rest);
        }
      }
      for (const { id } of own) {
        // A user that moved here from another loaded page is still in that one, too.
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
