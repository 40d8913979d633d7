/**
 * The list that is shown: asks for pages as they come near, follows the directory's changes, and counts.
 *
 * Its memory is bounded however far one scrolls (`pagesMax`). Rows never move by a change of somebody else: users change
 * where they stand, those who are deleted leave, and those who are new are counted until somebody wants to see them.
 * Changes are applied once per frame, however many there are.
 */
import { type User, type UserChange, UserChange_Type } from '../generated/users/v1/user.js';
import { CallError, type Directory, isAborted } from './directory.js';
import { createUserPages, type Page, type UserPages } from './user-pages.js';

export interface Question {
  readonly query: string;
  readonly filter: string;
  readonly orderBy: string;
}

/** What is known of how many users match. */
export type Total = { readonly kind: 'unknown' | 'counting' } | { readonly kind: 'exact'; readonly count: number };

export interface UserList {
  /** What the rows answer; another one may be under way (`isAsking`). */
  readonly question: Question;
  /** What was asked last. */
  readonly asked: Question;
  /** Counts answers: whoever shows rows begins at the top again when it changes. */
  readonly answer: number;
  readonly isAsking: boolean;
  /** Why there is no answer to what was asked last. The rows are still those of the one before. */
  readonly refusal: CallError | undefined;
  /** Why a page of this answer is missing. */
  readonly failure: CallError | undefined;
  readonly rows: number;
  readonly hasMore: boolean;
  readonly total: Total;
  /** Users who were added since and match, as far as this side can tell; `isMany` where they are more than is remembered. */
  readonly arrivals: { readonly count: number; readonly isMany: boolean };
  userAt(row: number): User | undefined;
  /** -1 where the user is not in memory. */
  rowOf(id: string): number;
  /** When it was changed by somebody, on performance.now()'s clock; 0 where that is long ago. */
  changedAt(id: string): number;
  isLeaving(id: string): boolean;
  /** Whether the rows are the answer to this question, and nothing else was asked since. */
  isAnswered(question: Question): boolean;
  ask(question: Question): void;
  /** These rows are looked at: brings them and some around. */
  show(first: number, last: number): void;
  /** Asks again for what has failed. */
  retry(): void;
  /** The directory can be reached again. */
  resume(): void;
  /**
   * Reads again what is shown and forgets the rest: changes were missed, or this page has imported users, the newest of
   * whom was created at `ownUpTo`.
   */
  refresh(ownUpTo?: Date): void;
  apply(changes: readonly UserChange[]): void;
  /** Whom this page itself has just created. */
  add(user: User): void;
  /** Whom this page itself has just changed. */
  put(user: User): void;
  drop(id: string): void;
  onChange(listener: () => void): () => void;
  close(): void;
}

/** Of 50 to 1000: a screen holds 15 to 40 rows, and 200 users take 2 to 4 ms to decode. */
export const pageSize = 200;
/** 4,000 users, wherever they are in the list. */
export const pagesMax = 20;
/** Rows that are loaded before they come into view, either way. */
const rowsAhead = 150;
const loadsMax = 2;
/** How long a change is marked. */
export const flashMs = 2_000;
const leavingMs = 1_200;
const arrivalsMax = 5_000;
/** How long it must be quiet before users are counted again, and how often at most. */
const quietMs = 2_000;
const countEveryMs = 10_000;
/** A count and a change that are so near each other may or may not have met. */
const doubtMs = 1_500;

export function createUserList(directory: Directory, first: Question): UserList {
  let question = first;
  let asked = first;
  let answer = 0;
  let pages: UserPages = createUserPages(first.orderBy, pagesMax);
  let asking: AbortController | undefined;
  let refusal: CallError | undefined;
  let failure: CallError | undefined;
  let view = { first: 0, last: 0 };
  const loads = new Map<Page, AbortController>();
  /** Pages whose users are shown, and perhaps no longer so. */
  const stale = new Set<Page>();

  let total: Total = { kind: 'unknown' };
  let counting: AbortController | undefined;
  let countedAt = 0;
  let isDoubtful = false;
  let countTimer: ReturnType<typeof setTimeout> | undefined;

  let arrivals = new Set<string>();
  let isMany = false;
  /** Users who were created until then were there when the list was read: they are rows of it, loaded or not. */
  let readUpTo = 0;
  const changed = new Map<string, number>();
  const leaving = new Set<string>();
  /** Deleted by this page itself: the feed will tell of them again. */
  const dropped = new Set<string>();
  let pendingChanges: UserChange[] = [];
  /** What was heard while a page was under way, which may have been read before. */
  let heard: { readonly at: number; readonly change: UserChange }[] = [];
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

  function ask(next: Question): void {
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
        // Also where what was asked is refused: what is shown stays then.
        if (mustRefresh) list.refresh();
        forgetHeard();
        changeSoon();
      });
  }

  function begin(next: Question, { users, nextPageToken }: { users: User[]; nextPageToken: string }): void {
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

  /** In a call of its own, because it reads all that match. */
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
          // The list is there without it.
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
    // What is in view first, then what is ahead, then what is behind.
    for (const [from, to] of [
      [view.first, view.last],
      [view.last + 1, view.last + rowsAhead],
      [view.first - rowsAhead, view.first - 1],
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
    // What is asked makes the pages of before superfluous; where it is refused, this comes again.
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
            // The server has another key than when the list began: from the top, then.
            if (problem.reason !== 'INVALID_PAGE_TOKEN') failure = problem;
            else if (asking === undefined) ask(question);
          },
        )
        .finally(() => {
          if (loads.get(page) === controller) loads.delete(page);
          forgetHeard();
          changeSoon();
          load();
        });
    }
  }

  /** Brings what was just read up to what was heard since it was asked for. */
  function correct(sentAt: number): void {
    const gone = new Set<string>();
    for (const { at, change } of heard) {
      if (at < sentAt || change.user === undefined) continue;
      if (change.type === UserChange_Type.TYPE_DELETED) gone.add(change.user.id);
      else if (change.user.email !== '') update(change.user, 0);
    }
    pages.remove(gone);
  }

  /** Who was added after an answer was read, but heard of before it came, when it was the list of before that counted them. */
  function recall(sentAt: number): void {
    const isWhole = question.query === '' && question.filter === '';
    for (const { at, change } of heard) {
      if (at < sentAt) continue;
      const { type, user } = change;
      if (type === UserChange_Type.TYPE_CREATED && user?.email) arrive(user, isWhole);
      else if (type === UserChange_Type.TYPE_DELETED && user !== undefined) arrivals.delete(user.id);
      // The answer's own number may be of before or after this.
      countSoon();
    }
  }

  function forgetHeard(): void {
    if (asking === undefined && loads.size === 0) heard = [];
  }

  function applyNow(changes: readonly UserChange[]): void {
    const now = performance.now();
    for (const [id, at] of changed) if (now - at > 5_000) changed.delete(id);
    const isWhole = question.query === '' && question.filter === '';
    const gone = new Set<string>();
    for (const { type, user } of changes) {
      if (user === undefined) continue;
      // Without an email it was deleted since, which is told by a change of its own.
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
    // Nobody loses their place where all that there is fits on a screen or two.
    if (!pages.hasMore && pages.rows < pageSize && pages.insert(user)) {
      changed.set(user.id, performance.now());
      return;
    }
    if (arrivals.size >= arrivalsMax) isMany = true;
    else arrivals.add(user.id);
  }

  /** Whether somebody who scrolls to the user's place sees the user. */
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
      // Changes behind the last token come twice.
      countSoon();
    },
    refresh(ownUpTo) {
      readUpTo = Math.max(readUpTo, ownUpTo?.getTime() ?? 0);
      // What is under way may have been read before.
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
        if (isReading) heard.push({ at, change });
      }
      changeSoon();
    },
    add(user) {
      const { query, filter } = question;
      if (pages.has(user.id)) update(user, performance.now());
      else if (pages.insert(user)) {
        changed.set(user.id, performance.now());
        // The feed was faster than the answer, and has counted this user already.
        const isCounted = arrivals.delete(user.id);
        // Shown to whoever has just created it even if the search is for others, who are then as many as before.
        if (filter !== '') countSoon();
        else if (!isCounted && matches(user, query)) addToTotal(1);
      } else arrive(user, query === '' && filter === '');
      changeSoon();
    },
    put(user) {
      update(user, performance.now());
      // Perhaps it matches now, or does so no longer.
      if (question.query !== '' || question.filter !== '') countSoon();
      changeSoon();
    },
    drop(id) {
      if (pages.has(id)) {
        pages.remove(new Set([id]));
        // Else the feed was first.
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

export function isSame(a: Question, b: Question): boolean {
  return a.query === b.query && a.filter === b.filter && a.orderBy === b.orderBy;
}

/** As the server's `query`: every word in one of the fields, whatever its case. */
function matches(user: User, query: string): boolean {
  const text = `${user.firstName}\n${user.lastName}\n${user.email}`.normalize('NFC').toLowerCase();
  const words = query.normalize('NFC').toLowerCase().split(/\s+/u);
  return words.every((word) => text.includes(word));
}

function callErrorOf(error: unknown): CallError {
  // Anything else is a bug of this page, and is seen on its console.
  if (error instanceof CallError) return error;
  throw error;
}
