/** Loads the pages of the list for one query: those in view, and some around them before they come into view. */
import type { User } from '../generated/users/v1/user.js';
import { type CallError, callErrorOf, isAborted } from './call-error.js';
import type { Directory } from './directory.js';
import type { ListQuery } from './list-query.js';
import { type Page, UserPages } from './user-pages.js';

/** A screen shows 15 to 40 rows, and 200 users take 2 to 4 ms to decode. */
export const pageSize = 200;
/** The maximum number of pages in memory, together 4,000 users. */
const pagesMax = 20;
/** The number of rows to load before they come into view, in each direction. */
const rowsPreloaded = 150;
const loadsMax = 2;

export interface PageLoader {
  readonly pages: UserPages;
  /** Why a page could not be loaded. No other page is loaded until `retry` is called. */
  readonly failure: CallError | undefined;
  readonly isLoading: boolean;
  /** The users of the rows in view. */
  usersInView(): User[];
  /** Loads these rows, which are in view, and some around them. */
  show(first: number, last: number): void;
  load(): void;
  retry(): void;
  /** Loads the rows in view again, and drops the rest. */
  reload(): void;
  /** Whether the page with the user's position is not in memory, or may be out of date. */
  isUnread(user: User): boolean;
  close(): void;
}

export interface PageLoaderOptions {
  readonly directory: Directory;
  readonly query: ListQuery;
  isPaused(): boolean;
  /** Called with the users of a loaded page, and the time at which its request was sent. */
  onLoaded(users: readonly User[], sentAt: number): void;
  /** Called if pages can no longer be loaded, because the server's key for tokens has changed. */
  onExpired(): void;
  /** Called after each request. */
  onSettled(): void;
}

export function createPageLoader(options: PageLoaderOptions): PageLoader {
  const { directory, query } = options;
  const pages = new UserPages(query.orderBy, pagesMax);
  const requests = new Map<Page, AbortController>();
  /** Loaded pages whose users may be out of date. */
  const stale = new Set<Page>();
  let view = { first: 0, last: 0 };
  let failure: CallError | undefined;
  let isClosed = false;

  const isWanted = (page: Page) => (page.users === undefined || stale.has(page)) && !requests.has(page);

  function load(): void {
    if (isClosed || failure !== undefined || options.isPaused()) return;
    for (const page of pagesAround(pages, view)) {
      if (requests.size >= loadsMax) return;
      if (isWanted(page)) void loadPage(page);
    }
  }

  async function loadPage(page: Page): Promise<void> {
    const controller = new AbortController();
    const { signal } = controller;
    requests.set(page, controller);
    const sentAt = performance.now();
    try {
      const { users, nextPageToken } = await directory.listUsers(
        { ...query, pageSize, pageToken: page.token },
        { signal },
      );
      if (!isClosed) {
        pages.fill(page, users, nextPageToken);
        stale.delete(page);
        options.onLoaded(users, sentAt);
        pages.keep(view.first, view.last);
      }
    } catch (error) {
      if (!isAborted(error) && !isClosed) fail(error);
    } finally {
      if (requests.get(page) === controller) requests.delete(page);
      if (!isClosed) {
        options.onSettled();
        load();
      }
    }
  }

  function fail(error: unknown): void {
    const problem = callErrorOf(error);
    if (problem.reason === 'INVALID_PAGE_TOKEN') options.onExpired();
    else failure = problem;
  }

  function abort(): void {
    for (const request of requests.values()) request.abort();
    requests.clear();
  }

  function rowsInView(): number[] {
    return Array.from({ length: view.last - view.first + 1 }, (_, index) => view.first + index);
  }

  function retry(): void {
    failure = undefined;
    load();
  }

  return {
    pages,
    get failure() {
      return failure;
    },
    get isLoading() {
      return requests.size > 0;
    },
    usersInView: () => rowsInView().flatMap((row) => pages.userAt(row) ?? []),
    show(first, last) {
      if (view.first === first && view.last === last && requests.size > 0) return;
      view = { first, last };
      pages.keep(first, last);
      load();
    },
    load,
    retry,
    reload() {
      abort();
      pages.keepOnly(view.first, view.last);
      for (const row of rowsInView()) {
        const page = pages.pageOf(row);
        if (page?.users !== undefined) stale.add(page);
      }
      retry();
    },
    isUnread(user) {
      const page = pages.pageFor(user);
      return page?.users === undefined || stale.has(page);
    },
    close() {
      isClosed = true;
      abort();
    },
  };
}

/** The pages in view, then those below, then those above. */
function pagesAround(pages: UserPages, { first, last }: { first: number; last: number }): Set<Page> {
  const found = new Set<Page>();
  for (const [from, to] of [
    [first, last],
    [last + 1, last + rowsPreloaded],
    [first - rowsPreloaded, first - 1],
  ] as const) {
    for (let row = Math.max(0, from); row <= to; ) {
      const page = pages.pageOf(row);
      if (page === undefined) break;
      found.add(page);
      if (page.count === 0) break;
      row = page.start + page.count;
    }
  }
  return found;
}
