/**
 * Stores the list's pages: the token of each page, and the users of the pages that were used last. Sends no requests.
 *
 * A token stands for a position in the order, so a dropped page can be loaded again by its token. It then has the users
 * that are in its part of the order at that time.
 *
 * A gap is a part of the list that was never loaded. The last page is a gap until the end of the list is loaded. Others
 * arise from a jump to rows far away. Only estimates are known of the number of their rows.
 */
import type { User } from '../../generated/users/v1/user.js';
import { keyBefore } from '../users/order-keys.js';
import { createUserOrder, type OrderKey, type UserOrder } from '../users/user-order.js';

export interface Page {
  /** The token to load the page with, from the previous page; empty for the first page, and after a jump. */
  readonly token: string;
  /** Where a jump led: the token belongs to the list from this position on. */
  readonly from: OrderKey | undefined;
  /** The number of its first row. */
  readonly start: number;
  /** The number of its rows, or the last known number. */
  readonly count: number;
  /** Undefined if the page was not loaded yet, or was dropped. */
  readonly users: readonly User[] | undefined;
  readonly isGap: boolean;
}

interface StoredPage {
  readonly token: string;
  readonly from: OrderKey | undefined;
  start: number;
  count: number;
  users: User[] | undefined;
  isGap: boolean;
  /** The last user's position when the next page was added; undefined without a next page. */
  upTo: OrderKey | undefined;
  usedAt: number;
}

export class UserPages {
  readonly #order: UserOrder;
  readonly #pagesMax: number;
  readonly #pages: StoredPage[] = [newPage({ token: '', from: undefined }, undefined)];
  readonly #pagesByUser = new Map<string, StoredPage>();
  /** When `insert` added a user, as in performance.now(). */
  readonly #insertedAt = new Map<string, number>();
  #rows = 0;
  #hasGaps = true;
  #total: number | undefined;
  #clock = 0;

  constructor(orderBy: string, pagesMax: number) {
    this.#order = createUserOrder(orderBy);
    this.#pagesMax = pagesMax;
  }

  /** The number of known rows, loaded or not, and of those that gaps are estimated to have. */
  get rows(): number {
    return this.#rows;
  }

  /** Whether a part of the list was never loaded. */
  get hasMore(): boolean {
    return this.#hasGaps;
  }

  /** Whether the number of the row is known, and not estimated. */
  isExact(row: number): boolean {
    return this.#pages.every(({ isGap, start }) => !isGap || start > row);
  }

  /** Fits the estimates to the number of users that the list has, if it is known. */
  expect(total: number | undefined): void {
    if (this.#total === total) return;
    this.#total = total;
    this.#countRows();
  }

  /** Returns the position after which a page begins; undefined for the first page. */
  lowerEnd(page: Page): OrderKey | undefined {
    return this.#pages[this.#indexOf(page) - 1]?.upTo;
  }

  /** Returns the last position that belongs to a page; undefined if the list may end with it. */
  upperEnd(page: Page): OrderKey | undefined {
    return this.#pages[this.#indexOf(page)]?.upTo;
  }

  #indexOf({ token, from }: Page): number {
    return this.#pages.findIndex((stored) => stored.token === token && stored.from === from);
  }

  /** Divides a gap, so that a user's position becomes the beginning of the page that begins at the row. */
  split(gap: Page, row: number, key: OrderKey): void {
    const index = this.#indexOf(gap);
    const page = this.#pages[index];
    if (page === undefined || !page.isGap) return;
    // The gap may begin later by now. Without a division, a jump would be repeated forever.
    const countBefore = Math.max(1, row - gap.start);
    const after = newPage({ token: '', from: key }, page.upTo);
    this.#pages.splice(index + 1, 0, { ...after, count: Math.max(1, page.count - countBefore) });
    page.count = countBefore;
    page.upTo = keyBefore(key);
    this.#countRows();
  }

  /** Makes a user's position the row, if it is not known yet. Returns false if the user must be before known ones. */
  place(user: User, row: number): boolean {
    const gap = this.pageOf(row);
    const key = this.#order.keyOf(user);
    const low = gap && this.lowerEnd(gap);
    if (gap === undefined || low === undefined || this.#order.compare(key, low) <= 0) return false;
    if (gap.isGap && row > gap.start) this.split(gap, row, key);
    return true;
  }

  /** The users in memory, in their order. */
  *users(): Iterable<User> {
    for (const { users = [] } of this.#pages) yield* users;
  }

  get loadedPages(): number {
    return this.#loaded.length;
  }

  get #loaded(): StoredPage[] {
    return this.#pages.filter((page) => page.users !== undefined);
  }

  /** Returns the page of a row. For a row after the known ones, returns the next page to load. */
  pageOf(row: number): Page | undefined {
    const last = this.#pages.at(-1);
    if (row >= this.#rows) return last?.users === undefined ? last : undefined;
    // If several pages begin at the same row, all but the last of them are empty.
    return lastPageFrom(this.#pages, row);
  }

  /** Returns the page that contains the user's position in the order, even if the user is not in it. */
  pageFor(user: User): Page | undefined {
    return this.#pageAt(this.#order.keyOf(user));
  }

  #pageAt(key: OrderKey): StoredPage | undefined {
    return this.#pages.find(({ upTo }) => upTo === undefined || this.#order.compare(key, upTo) <= 0);
  }

  userAt(row: number): User | undefined {
    const page = row < this.#rows ? this.pageOf(row) : undefined;
    return page?.users?.[row - page.start];
  }

  /** Returns -1 if the user is not in memory. */
  rowOf(id: string): number {
    const page = this.#pagesByUser.get(id);
    const index = page?.users?.findIndex((user) => user.id === id) ?? -1;
    return page === undefined || index < 0 ? -1 : page.start + index;
  }

  has(id: string): boolean {
    return this.#pagesByUser.has(id);
  }

  /** Whether a user that is not in memory was certainly no row before its last change: that part of the list is in memory. */
  hadNoRow(user: User): boolean {
    if (this.#pages.every(({ users }) => users !== undefined)) return true;
    return this.#order.isFixed && this.pageFor(user)?.users !== undefined;
  }

  /** Stores the server's response for a page. Keeps users that were inserted after the request. */
  fill(given: Page, users: readonly User[], nextToken: string, sentAt = Number.POSITIVE_INFINITY): void {
    const page = this.#pages.find((stored) => stored === given);
    // Another response has removed this page.
    if (page === undefined) return;
    // The server may have read the page before these users were created.
    const inserted = (page.users ?? []).filter(({ id }) => (this.#insertedAt.get(id) ?? 0) >= sentAt);
    this.#drop(page);
    page.usedAt = ++this.#clock;
    const own = this.#fit(page, users, nextToken);
    for (const { id } of own) {
      // A user that moved here from another loaded page is still in that one, too.
      const before = this.#pagesByUser.get(id);
      if (before?.users !== undefined) before.users = before.users.filter((user) => user.id !== id);
      this.#pagesByUser.set(id, page);
    }
    page.users = own;
    page.isGap = false;
    this.#countRows();
    for (const user of inserted) this.insert(user);
  }

  /** Returns the users of a response that belong to its page. Adds or removes pages after it. */
  #fit(page: StoredPage, users: readonly User[], nextToken: string): User[] {
    const next = this.#pages.indexOf(page) + 1;
    const last = users.at(-1);
    const { upTo } = page;
    if (nextToken === '') {
      // This is the last page now.
      for (const gone of this.#pages.splice(next)) this.#drop(gone);
      page.upTo = undefined;
      return [...users];
    }
    if (upTo === undefined) {
      page.upTo = last && this.#order.keyOf(last);
      this.#pages.push(newPage({ token: nextToken, from: page.from }, undefined));
      return [...users];
    }
    // If users have left this page since then, the response continues with users of the next page.
    const own = users.filter((user) => this.#order.compare(this.#order.keyOf(user), upTo) <= 0);
    if (own.length === users.length && last !== undefined && this.#order.compare(this.#order.keyOf(last), upTo) < 0) {
      // The rest of a gap, or of a page to which users were added, becomes a separate page.
      page.upTo = this.#order.keyOf(last);
      const count = Math.max(1, page.count - users.length);
      this.#pages.splice(next, 0, { ...newPage({ token: nextToken, from: page.from }, upTo), count });
    }
    return own;
  }

  /** Replaces a user without moving it. Returns false if the user is not in memory. */
  replace(user: User): boolean {
    const { users } = this.#pagesByUser.get(user.id) ?? {};
    const index = users?.findIndex(({ id }) => id === user.id) ?? -1;
    if (users === undefined || index < 0) return false;
    users[index] = user;
    return true;
  }

  remove(ids: ReadonlySet<string>): void {
    const touched = new Set<StoredPage>();
    for (const id of ids) {
      const page = this.#pagesByUser.get(id);
      if (page !== undefined) touched.add(page);
      this.#pagesByUser.delete(id);
    }
    for (const page of touched) page.users = page.users?.filter(({ id }) => !ids.has(id));
    if (touched.size > 0) this.#countRows();
  }

  /** Inserts a user at its position. Returns false if that position is not in memory. */
  insert(user: User): boolean {
    const key = this.#order.keyOf(user);
    const page = this.#pageAt(key);
    if (page?.users === undefined || this.has(user.id)) return false;
    const index = page.users.findIndex((other) => this.#order.compare(this.#order.keyOf(other), key) > 0);
    page.users.splice(index < 0 ? page.users.length : index, 0, user);
    this.#pagesByUser.set(user.id, page);
    this.#insertedAt.set(user.id, performance.now());
    this.#countRows();
    return true;
  }

  /**
   * Keeps the `pagesMax` pages that were used last, and all pages with rows from `first` to `last`. Drops the users of
   * the other pages.
   */
  keep(first: number, last: number): void {
    const loaded = this.#loaded;
    for (const page of loaded) if (hasRows(page, first, last)) page.usedAt = ++this.#clock;
    if (loaded.length <= this.#pagesMax) return;
    loaded.sort((a, b) => a.usedAt - b.usedAt);
    const oldest = loaded.slice(0, loaded.length - this.#pagesMax);
    for (const page of oldest) if (!hasRows(page, first, last)) this.#drop(page);
  }

  /** Drops the users of all pages except those with rows from `first` to `last`. */
  keepOnly(first: number, last: number): void {
    for (const page of this.#pages) if (!hasRows(page, first, last)) this.#drop(page);
  }

  #drop(page: StoredPage): void {
    for (const { id } of page.users ?? []) if (this.#pagesByUser.get(id) === page) this.#pagesByUser.delete(id);
    page.users = undefined;
  }

  #countRows(): void {
    for (const page of this.#pages) if (page.users !== undefined) page.count = page.users.length;
    // Estimates are wrong, but not their sum.
    const gap = this.#pages.findLast(({ isGap }) => isGap);
    this.#hasGaps = gap !== undefined;
    if (gap !== undefined && this.#total !== undefined) {
      const others = this.#pages.reduce((sum, { count }) => sum + count, -gap.count);
      gap.count = Math.max(1, this.#total - others);
    }
    this.#rows = 0;
    for (const page of this.#pages) {
      page.start = this.#rows;
      this.#rows += page.count;
    }
  }
}

function newPage(position: Pick<Page, 'token' | 'from'>, upTo: OrderKey | undefined): StoredPage {
  return { ...position, start: 0, count: 0, users: undefined, isGap: true, upTo, usedAt: 0 };
}

/** Returns the last page that begins at the row or before it. */
function lastPageFrom(pages: readonly StoredPage[], row: number): StoredPage | undefined {
  let low = 0;
  let high = pages.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((pages[middle]?.start ?? 0) <= row) low = middle;
    else high = middle - 1;
  }
  return pages[low];
}

function hasRows(page: Page, first: number, last: number): boolean {
  return page.start <= last && page.start + page.count > first;
}
