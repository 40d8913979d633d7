/**
 * The list of users: loads pages before they come into view, applies changes from the feed, and counts the users.
 *
 * Its memory is bounded (`pagesMax`). Changes by others never move rows: an updated user stays in its row, a deleted
 * one is removed, and new ones are only counted until the user asks for them. Changes are applied once per frame.
 */
import { type User, type UserChange, UserChange_Type } from '../generated/users/v1/user.js';
import { CallError, type Directory, isAborted } from './directory.js';
import { createUserPages, type Page, type UserPages } from './user-pages.js';

export interface ListQuery {
  readonly query: string;
  readonly filter: string;
  readonly orderBy: string;
}

/** The number of matching users, if it is known. */
export type Total = { readonly kind: 'unknown' | 'counting' } | { readonly kind: 'exact'; readonly count: number };

export interface UserList {
  /** The question that the rows answer. The answer to another one may be pending (`isAsking`). */
  readonly question: ListQuery;
  /** The last question. */
  readonly asked: ListQuery;
  /** Counts the answers. If it changes, the view must scroll to the top. */
  readonly answer: number;
  readonly isAsking: boolean;
  /** Why the last question failed. The rows still answer the previous one. */
  readonly refusal: CallError | undefined;
  /** Why a page of this answer could not be loaded. */
  readonly failure: CallError | undefined;
  readonly rows: number;
  readonly hasMore: boolean;
  readonly total: Total;
  /** New users that match, as far as the page can tell; `isMany` if there are more than it counts. */
  readonly arrivals: { readonly count: number; readonly isMany: boolean };
  userAt(row: number): User | undefined;
  /** Returns -1 if the user is not in memory. */
  rowOf(id: string): number;
  /** When a user was last changed, as in performance.now(); 0 if that is long ago. */
  changedAt(id: string): number;
  isLeaving(id: string): boolean;
  /** Whether the rows answer this question, and no other one is pending. */
  isAnswered(question: ListQuery): boolean;
  ask(question: ListQuery): void;
  /** Loads these rows, which are in view, and some around them. */
  show(first: number, last: number): void;
  /** Repeats the requests that failed. */
  retry(): void;
  /** Call this after the server can be reached again. */
  resume(): void;
  /**
   * Re-reads the rows in view and drops the rest, because changes were missed or because this page has imported users,
   * the last of them at `ownUpTo`.
   */
  refresh(ownUpTo?: Date): void;
  apply(changes: readonly UserChange[]): void;
  /** Adds a user that this page has just created. */
  add(user: User): void;
  /** Replaces a user that this page has just changed. */
  put(user: User): void;
  drop(id: string): void;
  onChange(listener: () => void): () => void;
  close(): void;
}

/** A screen shows 15 to 40 rows, and 200 users take 2 to 4 ms to decode. */
export const pageSize = 200;
/** So many pages stay in memory: 4,000 users. */
export const pagesMax = 20;
/** Rows that are loaded before they come into view, in each direction. */
const rowsPreloaded = 150;
const loadsMax = 2;
/** How long a changed row is highlighted. */
export const flashMs = 2_000;
const leavingMs = 1_200;
const arrivalsMax = 5_000;
/** Users are counted again after so long without changes, and not more often than `countEveryMs`. */
const quietMs = 2_000;
const countEveryMs = 10_000;
/** A count may or may not include a change so soon before or after it. */
const doubtMs = 1_500;

export function createUserList(directory: Directory, first: ListQuery): UserList {
  let question = first;
  let asked = first;
  let answer = 0;
  let pages: UserPages = createUserPages(first.orderBy, pagesMax);
  let asking: AbortController | undefined;
  let refusal: CallError | undefined;
  let failure: CallError | undefined;
  let view = { first: 0, last: 0 };
  const loads = new Map<Page, AbortController>();
  /** Loaded pages whose users may be out of date. */
  const stale = new Set<Page>();

  let total: Total = { kind: 'unknown' };
  let counting: AbortController | undefined;
  let countedAt = 0;
  let isDoubtful = false;
  let countTimer: ReturnType<typeof setTimeout> | undefined;

  let arrivals = new Set<string>();
  let isMany = false;
  /** Users created until then existed when the list was read: they are rows of it, loaded or not. */
  let readUpTo = 0;
  const changed = new Map<string, number>();
  const leaving = new Set<string>();
  /** Users deleted by this page. The feed will deliver these changes again. */
  const dropped = new Set<string>();
  let pendingChanges: UserChange[] = [];
  /** Changes that arrived while a page was loading. The page may have been read before them. */
  let recentChanges: { readonly at: number; readonly change: UserChange }[] = [];
  let mustRefresh = false;
  let calmTimer: ReturnType<typeof setTimeout> | undefined;
  let frame = 0;
  let closed = false;
  const listeners = new Set<() => void>();

  const changeSoon = () => {
    if (frame === 0 && !closed) frame = requestAnimationFrame(onFrame);
  };

  function onFrame(): void {
    frame = 0;
    const changes = pendingChanges;
    pendingChanges = [];
    if (changes.length > 0) applyNow(changes);
    for (const listener of listeners) listener();
  }

  function ask(next: ListQuery): void {
    asking?.abort();
    const controller = new AbortController();
    asking = controller;
    asked = next;
    changeSoon();
    const sentAt = performance.now();
    directory
      .listUsers({ ...next, pageSize }, { signal: controller.signal })
      .then(
        (response) => {
          if (asking === controller) asking = undefined;
          begin(next, response);
          recall(sentAt);
          correct(sentAt);
        },
        (error) => {
          if (!isAborted(error)) refusal = callErrorOf(error);
        },
      )
      .finally(() => {
        if (asking === controller) asking = undefined;
        // Also if the question failed, because the old rows stay then.
        if (mustRefresh) list.refresh();
        dropRecentChanges();
        changeSoon();
      });
  }

  function begin(next: ListQuery, { users, nextPageToken }: { users: User[]; nextPageToken: string }): void {
    for (const load of loads.values()) load.abort();
    loads.clear();
    stale.clear();
    const isOther = next.query !== question.query || next.filter !== question.filter;
    question = next;
    answer++;
    refusal = undefined;
    failure = undefined;
    arrivals = new Set();
    isMany = false;
    leaving.clear();
    pages = createUserPages(next.orderBy, pagesMax);
    const page = pages.pageOf(0);
    if (page !== undefined) pages.fill(page, users, nextPageToken);
    view = { first: 0, last: 0 };
    if (nextPageToken === '') {
      counting?.abort();
      setTotal(users.length);
    } else {
      if (isOther) total = { kind: 'unknown' };
      count();
    }
  }

  function setTotal(count: number): void {
    total = { kind: 'exact', count };
    countedAt = performance.now();
    isDoubtful = false;
  }

  /** In a separate call, because the server reads all matches. */
  function count(): void {
    clearTimeout(countTimer);
    countTimer = undefined;
    counting?.abort();
    const controller = new AbortController();
    counting = controller;
    isDoubtful = false;
    if (total.kind === 'unknown') total = { kind: 'counting' };
    const { query, filter } = question;
    directory
      .listUsers({ query, filter, pageSize: 1, includeTotalSize: true }, { signal: controller.signal })
      .then(
        ({ totalSize }) => {
          total = { kind: 'exact', count: Number(totalSize ?? 0) };
          countedAt = performance.now();
        },
        (error) => {
          // The list works without the count.
          if (!isAborted(error) && total.kind === 'counting') total = { kind: 'unknown' };
        },
      )
      .finally(() => {
        if (counting === controller) {
          counting = undefined;
          if (isDoubtful) countSoon();
        }
        changeSoon();
      });
  }

  function countSoon(): void {
    isDoubtful = true;
    if (counting !== undefined) return;
    clearTimeout(countTimer);
    const waitMs = Math.max(quietMs, countedAt + countEveryMs - performance.now());
    countTimer = setTimeout(count, waitMs);
  }

  function wantedPages(): Page[] {
    const wanted = new Set<Page>();
    // First the rows in view, then those below, then those above.
    for (const [from, to] of [
      [view.first, view.last],
      [view.last + 1, view.last + rowsPreloaded],
      [view.first - rowsPreloaded, view.first - 1],
    ] as const) {
      for (let row = Math.max(0, from); row <= to; ) {
        const page = pages.pageOf(row);
        if (page === undefined) break;
        if (page.users === undefined || stale.has(page)) wanted.add(page);
        if (page.count === 0) break;
        row = page.start + page.count;
      }
    }
    return [...wanted].filter((page) => !loads.has(page));
  }

  function load(): void {
    // A pending question will replace these pages. If it fails, this function is called again.
    if (asking !== undefined || failure !== undefined || directory.needsSignIn) return;
    for (const page of wantedPages()) {
      if (loads.size >= loadsMax) return;
      const controller = new AbortController();
      loads.set(page, controller);
      const own = pages;
      const sentAt = performance.now();
      directory
        .listUsers({ ...question, pageSize, pageToken: page.token }, { signal: controller.signal })
        .then(
          ({ users, nextPageToken }) => {
            if (own !== pages) return;
            pages.fill(page, users, nextPageToken);
            for (const { id } of users) arrivals.delete(id);
            stale.delete(page);
            correct(sentAt);
            pages.keep(view.first, view.last);
          },
          (error) => {
            if (isAborted(error) || own !== pages) return;
            const problem = callErrorOf(error);
            // The server's key has changed since the list began, so start from the top.
            if (problem.reason !== 'INVALID_PAGE_TOKEN') failure = problem;
            else if (asking === undefined) ask(question);
          },
        )
        .finally(() => {
          if (loads.get(page) === controller) loads.delete(page);
          dropRecentChanges();
          changeSoon();
          load();
        });
    }
  }

  /** Applies the changes since the request to the users that were just read. */
  function correct(sentAt: number): void {
    const gone = new Set<string>();
    for (const { at, change } of recentChanges) {
      if (at < sentAt || change.user === undefined) continue;
      if (change.type === UserChange_Type.TYPE_DELETED) gone.add(change.user.id);
      else if (change.user.email !== '') update(change.user, 0);
    }
    pages.remove(gone);
  }

  /** Counts the users that were created after the request, because only the previous answer has counted them. */
  function recall(sentAt: number): void {
    const isWhole = question.query === '' && question.filter === '';
    for (const { at, change } of recentChanges) {
      if (at < sentAt) continue;
      const { type, user } = change;
      if (type === UserChange_Type.TYPE_CREATED && user?.email) arrive(user, isWhole);
      else if (type === UserChange_Type.TYPE_DELETED && user !== undefined) arrivals.delete(user.id);
      // The answer's count may or may not include this change.
      countSoon();
    }
  }

  function dropRecentChanges(): void {
    if (asking === undefined && loads.size === 0) recentChanges = [];
  }

  function applyNow(changes: readonly UserChange[]): void {
    const now = performance.now();
    for (const [id, at] of changed) if (now - at > 5_000) changed.delete(id);
    const isWhole = question.query === '' && question.filter === '';
    const gone = new Set<string>();
    for (const { type, user } of changes) {
      if (user === undefined) continue;
      // Without an email the user has been deleted since then, and a separate change says so.
      const isThere = user.email !== '';
      if (type === UserChange_Type.TYPE_CREATED && isThere) arrive(user, isWhole);
      else if (type === UserChange_Type.TYPE_UPDATED && isThere) {
        update(user, now);
        if (!isWhole) countSoon();
      } else if (type === UserChange_Type.TYPE_DELETED) {
        const isNew = arrivals.delete(user.id);
        if (dropped.delete(user.id)) continue;
        if (pages.has(user.id)) gone.add(user.id);
        if (isWhole || isNew || gone.has(user.id)) addToTotal(-1);
      }
    }
    leave(gone);
    clearTimeout(calmTimer);
    calmTimer = setTimeout(changeSoon, flashMs);
  }

  function update(user: User, now: number): void {
    const before = pages.userAt(pages.rowOf(user.id));
    if (before === undefined || before.etag === user.etag) return;
    if ((before.updateTime?.getTime() ?? 0) > (user.updateTime?.getTime() ?? 0)) return;
    pages.replace(user);
    if (now > 0) changed.set(user.id, now);
  }

  function arrive(user: User, isWhole: boolean): void {
    if (arrivals.has(user.id) || pages.has(user.id)) return;
    if (isUnloadedRow(user)) {
      countSoon();
      return;
    }
    if (question.filter !== '') {
      countSoon();
      return;
    }
    if (!isWhole && !matches(user, question.query)) return;
    addToTotal(1);
    // In a list of one or two screens, inserting a row does not lose the user's place.
    if (!pages.hasMore && pages.rows < pageSize && pages.insert(user)) {
      changed.set(user.id, performance.now());
      return;
    }
    if (arrivals.size >= arrivalsMax) isMany = true;
    else arrivals.add(user.id);
  }

  /** Whether the user will be loaded when its position scrolls into view. */
  function isUnloadedRow(user: User): boolean {
    if ((user.createTime?.getTime() ?? 0) > readUpTo) return false;
    const page = pages.pageFor(user);
    return page?.users === undefined || stale.has(page);
  }

  function addToTotal(difference: number): void {
    if (total.kind === 'exact') total = { kind: 'exact', count: Math.max(0, total.count + difference) };
    if (counting !== undefined || performance.now() - countedAt < doubtMs || isMany) countSoon();
  }

  function leave(ids: ReadonlySet<string>): void {
    if (ids.size === 0) return;
    const visible = new Set<string>();
    for (let row = view.first; row <= view.last; row++) {
      const user = pages.userAt(row);
      if (user !== undefined && ids.has(user.id)) visible.add(user.id);
    }
    pages.remove(new Set([...ids].filter((id) => !visible.has(id))));
    if (visible.size === 0) return;
    for (const id of visible) leaving.add(id);
    setTimeout(() => {
      pages.remove(visible);
      for (const id of visible) leaving.delete(id);
      changeSoon();
    }, leavingMs);
  }

  const list: UserList = {
    get question() {
      return question;
    },
    get asked() {
      return asked;
    },
    get answer() {
      return answer;
    },
    get isAsking() {
      return asking !== undefined;
    },
    get refusal() {
      return refusal;
    },
    get failure() {
      return failure;
    },
    get rows() {
      return pages.rows;
    },
    get hasMore() {
      return pages.hasMore;
    },
    get total() {
      return total;
    },
    get arrivals() {
      return { count: arrivals.size, isMany };
    },
    userAt: (row) => pages.userAt(row),
    rowOf: (id) => pages.rowOf(id),
    changedAt: (id) => changed.get(id) ?? 0,
    isLeaving: (id) => leaving.has(id),
    isAnswered: (wanted) => answer > 0 && asking === undefined && isSame(wanted, question) && isSame(wanted, asked),
    ask,
    show(first, last) {
      if (view.first === first && view.last === last && loads.size > 0) return;
      view = { first, last };
      pages.keep(first, last);
      load();
    },
    retry() {
      const hadRefusal = refusal !== undefined && refusal.code !== 'INVALID_ARGUMENT';
      failure = undefined;
      if (hadRefusal || answer === 0) ask(asked);
      else load();
      if (total.kind === 'unknown') count();
      changeSoon();
    },
    resume() {
      list.retry();
      // Changes after the last token arrive twice.
      countSoon();
    },
    refresh(ownUpTo) {
      readUpTo = Math.max(readUpTo, ownUpTo?.getTime() ?? 0);
      // The pending answer may have been read too early.
      mustRefresh = asking !== undefined;
      if (mustRefresh) return;
      for (const load of loads.values()) load.abort();
      loads.clear();
      pages.keepOnly(view.first, view.last);
      for (let row = view.first; row <= view.last; row++) {
        const page = pages.pageOf(row);
        if (page?.users !== undefined) stale.add(page);
      }
      failure = undefined;
      arrivals.clear();
      isMany = false;
      load();
      count();
      changeSoon();
    },
    apply(changes) {
      const at = performance.now();
      const isReading = asking !== undefined || loads.size > 0;
      for (const change of changes) {
        pendingChanges.push(change);
        if (isReading) recentChanges.push({ at, change });
      }
      changeSoon();
    },
    add(user) {
      const { query, filter } = question;
      if (pages.has(user.id)) update(user, performance.now());
      else if (pages.insert(user)) {
        changed.set(user.id, performance.now());
        // If the feed was faster than the answer, the user is already counted.
        const isCounted = arrivals.delete(user.id);
        // The page shows a user that it has just created even if it does not match; then the total stays the same.
        if (filter !== '') countSoon();
        else if (!isCounted && matches(user, query)) addToTotal(1);
      } else arrive(user, query === '' && filter === '');
      changeSoon();
    },
    put(user) {
      update(user, performance.now());
      // The user may match now, or no longer match.
      if (question.query !== '' || question.filter !== '') countSoon();
      changeSoon();
    },
    drop(id) {
      if (pages.has(id)) {
        pages.remove(new Set([id]));
        // Otherwise the feed was faster.
        if (!leaving.delete(id)) {
          dropped.add(id);
          addToTotal(-1);
        }
      }
      changeSoon();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      closed = true;
      cancelAnimationFrame(frame);
      clearTimeout(countTimer);
      clearTimeout(calmTimer);
      asking?.abort();
      counting?.abort();
      for (const load of loads.values()) load.abort();
    },
  };
  ask(first);
  return list;
}

export function isSame(a: ListQuery, b: ListQuery): boolean {
  return a.query === b.query && a.filter === b.filter && a.orderBy === b.orderBy;
}

/** Like the server's `query`: each word must occur in one of the fields, in any case. */
function matches(user: User, query: string): boolean {
  const text = `${user.firstName}\n${user.lastName}\n${user.email}`.normalize('NFC').toLowerCase();
  const words = query.normalize('NFC').toLowerCase().split(/\s+/u);
  return words.every((word) => text.includes(word));
}

function callErrorOf(error: unknown): CallError {
  // Any other error is a bug in this page. Show it on the console.
  if (error instanceof CallError) return error;
  throw error;
}
