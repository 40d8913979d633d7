/** Loads the pages of the list for one query: those in view, and some around them before they come into view. */
import type { User } from '../../generated/users/v1/user.js';
import type { ListQuery } from '../address/list-query.js';
import { type CallError, callErrorOf, isAborted } from '../calls/call-error.js';
import type { UserReader } from '../calls/directory.js';
import { conditionFrom, withCondition } from '../users/order-keys.js';
import { createJumper } from './page-jump.js';
import { type Page, UserPages } from './user-pages.js';

/** A screen shows 15 to 40 rows, and 200 users take 2 to 4 ms to decode. */
export const pageSize = 200;
/** The maximum number of pages in memory, together 4,000 users. */
const pagesMax = 20;
/** The number of rows to load before they come into view, in each direction. */
const rowsPreloaded = 150;
const loadsMax = 2;
/** Rows before those in view that are loaded early although they are in a gap. */
const rowsJumped = 60;

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
  readonly directory: UserReader;
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
  function load(): void {
    if (isClosed || failure !== undefined || options.isPaused()) return;
    for (const [page, row] of pagesAround(pages, view)) {
      // The beginning of a gap is the next page of the users before it.
      const isDeep = page.isGap && row - page.start >= pageSize;
      if (isDeep && page.start + page.count > view.first - rowsJumped) jumper.jumpTo(page, row);
      else if (!isDeep && (page.users === undefined || stale.has(page))) void loadPage(page);
    }
  }

  const jumper = createJumper({ directory, query, pages, pageSize, onMissed: loadPage, onEnd: settle });

  async function loadPage(page: Page): Promise<void> {
    if (requests.has(page) || requests.size >= loadsMax) return;
    const controller = new AbortController();
    requests.set(page, controller);
    const sentAt = performance.now();
    let problem: unknown;
    try {
      const { users, nextPageToken } = await directory.listUsers(requestFor(page, query), {
        signal: controller.signal,
      });
      if (!isClosed) {
        pages.fill(page, users, nextPageToken, sentAt);
        stale.delete(page);
        options.onLoaded(users, sentAt);
        pages.keep(view.first, view.last);
      }
    } catch (error) {
      problem = error;
    }
    if (requests.get(page) === controller) requests.delete(page);
    settle(problem);
  }

  function settle(error: unknown): void {
    if (isClosed) return;
    if (error !== undefined && !isAborted(error)) {
      const problem = callErrorOf(error);
      if (problem.reason === 'INVALID_PAGE_TOKEN') options.onExpired();
      else failure = problem;
    }
    options.onSettled();
    load();
  }

  function abort(): void {
    for (const request of requests.values()) request.abort();
    requests.clear();
    jumper.abort();
  }

  return {
    pages,
    get failure() {
      return failure;
    },
    get isLoading() {
      return requests.size > 0 || jumper.isJumping;
    },
    usersInView: () => rowsOf(view).flatMap((row) => pages.userAt(row) ?? []),
    show(first, last) {
      if (view.first === first && view.last === last && requests.size > 0) return;
      view = { first, last };
      pages.keep(first, last);
      load();
    },
    load,
    retry() {
      failure = undefined;
      load();
    },
    reload() {
      abort();
      pages.keepOnly(view.first, view.last);
      for (const row of rowsOf(view)) {
        const page = pages.pageOf(row);
        if (page?.users !== undefined) stale.add(page);
      }
      failure = undefined;
      load();
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

function requestFor({ token, from }: Page, query: ListQuery) {
  const filter = from === undefined ? query.filter : withCondition(query.filter, conditionFrom(query.orderBy, from));
  return { ...query, filter, pageSize, pageToken: token };
}

function rowsOf({ first, last }: { first: number; last: number }): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** The pages in view, then those below, then those above, each with its first wanted row. */
function pagesAround(pages: UserPages, { first, last }: { first: number; last: number }): Map<Page, number> {
  const found = new Map<Page, number>();
  for (const [from, to] of [
    [first, last],
    [last + 1, last + rowsPreloaded],
    [first - rowsPreloaded, first - 1],
  ] as const) {
    for (let row = Math.max(0, from); row <= to; ) {
      const page = pages.pageOf(row);
      if (page === undefined) break;
      if (!found.has(page)) found.set(page, row);
      // The rows after a gap at the end belong to the gap.
      if (page.start + page.count <= row) break;
      row = page.start + page.count;
    }
  }
  return found;
}
