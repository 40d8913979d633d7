/**
 * The list of users: keeps the rows of the last query, applies changes from the feed to them, and counts new users.
 *
 * Changes by others never move rows: an updated user stays in its row, a deleted one is removed, and new ones are only
 * counted until the user asks for them. Changes are applied once per frame.
 */
import type { User, UserChange } from '../../generated/users/v1/user.js';
import { isSameQuery, type ListQuery, selectsAll } from '../address/list-query.js';
import { type CallError, callErrorOf, isAborted } from '../calls/call-error.js';
import { changeTypes } from '../calls/change-types.js';
import type { Directory } from '../calls/directory.js';
import type { Selection } from '../users/selection.js';
import { createArrivals } from './arrivals.js';
import { createLeavingRows, type LeavingRows } from './leaving-rows.js';
import { createNewMatches, isStored, type NewMatches } from './new-matches.js';
import { createPageLoader, type PageLoader, pageSize } from './page-loader.js';
import { restoreRow } from './page-restore.js';
import { createRowMarks, type LeavingReason, type RowMarks } from './row-marks.js';
import { createUserCount, type Total, type UserCount } from './user-count.js';

export class UserList {
  readonly directory: Directory;
  readonly #count: UserCount;
  readonly #marks: RowMarks = createRowMarks(() => this.#changeSoon());
  readonly #listeners = new Set<() => void>();
  readonly #noMatchListeners = new Set<(id: string) => void>();
  readonly #leaving: LeavingRows;
  readonly #newMatches: NewMatches;
  /** Changes of its users are followed even if they are not in view. */
  selection: Selection | undefined;

  #query: ListQuery;
  #requestedQuery: ListQuery;
  #request: AbortController | undefined;
  #queryError: CallError | undefined;
  #generation = 0;
  #loader: PageLoader;

  readonly arrivals = createArrivals();
  /** Users deleted by this page. The feed will deliver these changes again. */
  readonly #dropped = new Set<string>();
  #pendingChanges: UserChange[] = [];
  /** Changes that arrived while a page was loading. The page may have been read before them. */
  #recentChanges: { readonly at: number; readonly change: UserChange }[] = [];
  #mustRefresh = false;
  #frame = 0;
  #isClosed = false;

  constructor(directory: Directory, query: ListQuery) {
    this.directory = directory;
    this.#query = query;
    this.#requestedQuery = query;
    this.#loader = this.#createLoader();
    const queryNow = () => this.#query;
    const onChange = () => this.#changeSoon();
    this.#count = createUserCount(directory, queryNow, onChange);
    const shared = {
      marks: this.#marks,
      queryNow,
      addToTotal: (...change: readonly [number, number?]) => this.#addToTotal(...change),
    };
    this.#leaving = createLeavingRows({
      ...shared,
      directory,
      pagesNow: () => this.#pages,
      usersInView: () => this.#loader.usersInView(),
      selectionNow: () => this.selection,
      onArrival: (...change) => this.#newMatches.add(...change),
      onNoMatch: (id, changedAt) => {
        this.#newMatches.remove(id, changedAt);
        for (const listener of this.#noMatchListeners) listener(id);
      },
      onChange,
    });
    this.#newMatches = createNewMatches({
      ...shared,
      arrivals: this.arrivals,
      matchesNow: () => this.#leaving.matches,
      loaderNow: () => this.#loader,
      countSoon: () => this.#count.countSoon(),
    });
    this.request(query);
  }

  /** The query of the rows. The response to another one may be pending (`isRequesting`). */
  get query(): ListQuery {
    return this.#query;
  }
  get requestedQuery(): ListQuery {
    return this.#requestedQuery;
  }
  get isRequesting(): boolean {
    return this.#request !== undefined;
  }
  /** Counts the results shown so far. If it changes, the view must scroll to the top. */
  get generation(): number {
    return this.#generation;
  }
  /** Why the last query failed. The rows are still those of the previous one. */
  get queryError(): CallError | undefined {
    return this.#queryError;
  }
  /** Why a page of the rows could not be loaded. */
  get pageError(): CallError | undefined {
    return this.#loader.failure;
  }
  get rows(): number {
    return this.#pages.rows;
  }
  get hasMore(): boolean {
    return this.#pages.hasMore;
  }
  get total(): Total {
    return this.#count.total;
  }
  get #pages() {
    return this.#loader.pages;
  }

  userAt(row: number): User | undefined {
    return this.#pages.userAt(row);
  }

  /** Whether the number of the row is known, and not estimated. */
  isExact(row: number): boolean {
    return this.#pages.isExact(row);
  }

  loadedUsers(): Iterable<User> {
    return this.#pages.users();
  }

  /** Returns -1 if the user is not in memory. */
  rowOf(id: string): number {
    return this.#pages.rowOf(id);
  }

  /** When a user was last changed, as in performance.now(); 0 if that is long ago. */
  changedAt(id: string): number {
    return this.#marks.changedAt(id);
  }

  /** Why the user's row is about to disappear; undefined if it is not. */
  leavingReason(id: string): LeavingReason | undefined {
    return this.#marks.leavingReason(id);
  }

  /** Whether the rows are those of this query, and no other one is pending. */
  isShowing(query: ListQuery): boolean {
    const isLast = isSameQuery(query, this.#query) && isSameQuery(query, this.#requestedQuery);
    return this.#generation > 0 && !this.isRequesting && isLast;
  }

  /** Whether the last query failed, so the rows and the count are those of another one. Also while the next one is pending. */
  get isOutdated(): boolean {
    return (!this.isRequesting || this.#queryError !== undefined) && !isSameQuery(this.#query, this.#requestedQuery);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The listener receives the ids of users that no longer match the query. */
  onNoMatch(listener: (id: string) => void): () => void {
    this.#noMatchListeners.add(listener);
    return () => this.#noMatchListeners.delete(listener);
  }

  close(): void {
    this.#isClosed = true;
    cancelAnimationFrame(this.#frame);
    this.#count.close();
    this.#leaving.matches.cancel();
    this.#marks.close();
    this.#request?.abort();
    this.#loader.close();
  }

  /** Sends a query, which may be the current one. Its result replaces the rows. */
  request(query: ListQuery): void {
    void this.#read(query);
  }

  /** Loads these rows, which are in view, and some around them. */
  show(first: number, last: number): void {
    this.#loader.show(first, last);
  }

  restore(row: number, id: string): Promise<boolean> {
    return restoreRow(this.directory, this.#pages, row, id).finally(() => this.#changeSoon());
  }

  /** Repeats the requests that failed. */
  retry(): void {
    const canSucceed = this.#queryError !== undefined && this.#queryError.code !== 'INVALID_ARGUMENT';
    if (canSucceed || this.#generation === 0) this.request(this.#requestedQuery);
    this.#loader.retry();
    if (this.total.kind === 'unknown') this.#count.count();
    this.#changeSoon();
  }

  /** Call this after the server can be reached again. */
  resume(): void {
    this.retry();
    // The feed may repeat changes, which would then be counted twice.
    this.#count.countSoon();
  }

  /**
   * Re-reads the rows in view and drops the rest, because changes were missed or because this page has changed many users:
   * imported some, the last of them at `importedUpTo`, or `deleted` those with these ids.
   */
  refresh(own: { importedUpTo?: Date | undefined; deleted?: Iterable<string> | undefined } = {}): void {
    this.#newMatches.readUpTo(own.importedUpTo);
    for (const id of own.deleted ?? []) this.#dropped.add(id);
    // The pending response may have been read too early.
    this.#mustRefresh = this.isRequesting;
    if (this.#mustRefresh) return;
    this.arrivals.clear();
    this.#leaving.matches.cancel();
    this.#loader.reload();
    this.#count.count();
    this.#changeSoon();
  }

  apply(changes: readonly UserChange[]): void {
    const at = performance.now();
    for (const change of changes) {
      this.#pendingChanges.push(change);
      if (this.#isReading) this.#recentChanges.push({ at, change });
    }
    this.#changeSoon();
  }

  /** Adds a user that this page has just created. */
  add(user: User): void {
    const isCounted = this.arrivals.addOwn(user.id);
    if (this.#pages.has(user.id)) this.#update(user);
    else {
      if (this.#pages.insert(user)) this.#marks.markChanged(user.id);
      if (selectsAll(this.#query) && !isCounted) this.#addToTotal(1);
      else if (!isCounted) this.#leaving.checkCreated(user.id);
    }
    this.#changeSoon();
  }

  /** Replaces a user that this page has just changed. */
  put(user: User): void {
    this.#update(user);
    // The user may match now, or no longer match.
    if (!selectsAll(this.#query)) this.#count.countSoon();
    this.#leaving.checkOwn(user.id);
    this.#changeSoon();
  }

  /** Removes a user that this page has just deleted. */
  drop(id: string): void {
    this.#changeSoon();
    if (!this.#pages.has(id)) return;
    this.#pages.remove(new Set([id]));
    // If the row was marked already, the feed was faster.
    if (this.#marks.endLeaving(id)) return;
    this.#dropped.add(id);
    this.#addToTotal(-1);
  }

  #changeSoon(): void {
    if (this.#frame === 0 && !this.#isClosed) this.#frame = requestAnimationFrame(() => this.#onFrame());
  }

  #onFrame(): void {
    this.#frame = 0;
    const changes = this.#pendingChanges;
    this.#pendingChanges = [];
    if (changes.length > 0) this.#applyNow(changes);
    const { total } = this;
    this.#pages.expect(total.kind === 'exact' ? total.count - this.arrivals.count : undefined);
    for (const listener of this.#listeners) listener();
  }

  async #read(query: ListQuery): Promise<void> {
    this.#request?.abort();
    const controller = new AbortController();
    this.#request = controller;
    this.#requestedQuery = query;
    this.#changeSoon();
    const sentAt = performance.now();
    try {
      const { signal } = controller;
      const { users, nextPageToken } = await this.directory.listUsers({ ...query, pageSize }, { signal });
      if (this.#request === controller) this.#request = undefined;
      this.#showResult(query, users, nextPageToken);
      this.#recountArrivals(sentAt);
      this.#applyRecentChanges(sentAt);
    } catch (error) {
      if (!isAborted(error)) this.#queryError = callErrorOf(error);
    } finally {
      if (this.#request === controller) this.#request = undefined;
      // Even if the query failed, because then the old rows stay.
      if (this.#mustRefresh) this.refresh();
      this.#onSettled();
    }
  }

  #showResult(query: ListQuery, users: readonly User[], nextPageToken: string): void {
    const isOther = query.query !== this.#query.query || query.filter !== this.#query.filter;
    this.#query = query;
    this.#generation++;
    this.#queryError = undefined;
    this.arrivals.clear();
    this.#marks.endAllLeaving();
    this.#leaving.matches.cancel();
    this.#loader.close();
    this.#loader = this.#createLoader();
    const page = this.#pages.pageOf(0);
    if (page !== undefined) this.#pages.fill(page, users, nextPageToken);
    if (nextPageToken === '') this.#count.set(users.length);
    else {
      if (isOther) this.#count.forget();
      this.#count.count();
    }
  }

  #createLoader(): PageLoader {
    return createPageLoader({
      directory: this.directory,
      query: this.#query,
      // A pending query will replace these pages. If it fails, they are loaded afterwards.
      isPaused: () => this.isRequesting,
      onLoaded: (users, sentAt) => {
        for (const { id } of users) this.arrivals.remove(id);
        this.#applyRecentChanges(sentAt);
      },
      onExpired: () => {
        if (!this.isRequesting) this.request(this.#query);
      },
      onSettled: () => this.#onSettled(),
    });
  }

  get #isReading(): boolean {
    return this.isRequesting || this.#loader.isLoading;
  }

  /** Applies the changes since the request to the users that were just read. */
  #applyRecentChanges(sentAt: number): void {
    const gone = new Set<string>();
    for (const { at, change } of this.#recentChanges) {
      if (at < sentAt || change.user === undefined) continue;
      if (change.type === changeTypes.deleted) gone.add(change.user.id);
      else if (isStored(change.user) && this.#replaceOlder(change.user)) this.#leaving.checkRead(change.user.id);
    }
    this.#pages.remove(gone);
  }

  /** Counts users that were created after the request as new, because so far only the previous result counted them. */
  #recountArrivals(sentAt: number): void {
    for (const { at, change } of this.#recentChanges) {
      if (at < sentAt) continue;
      this.#newMatches.follow(change);
      // The server's count may or may not include this change.
      this.#count.countSoon();
    }
  }

  #onSettled(): void {
    if (!this.#isReading) this.#recentChanges = [];
    this.#changeSoon();
  }

  #applyNow(changes: readonly UserChange[]): void {
    const gone = new Set<string>();
    for (const change of changes) {
      const { type, user } = change;
      if (user === undefined) continue;
      const isNew = this.#newMatches.follow(change);
      if (type === changeTypes.updated && isStored(user)) {
        this.#update(user);
        this.#leaving.checkChanged(user.id);
      } else if (type === changeTypes.deleted) {
        if (this.#dropped.delete(user.id)) continue;
        if (this.#pages.has(user.id)) gone.add(user.id);
        const isCounted = selectsAll(this.#query) || isNew || gone.has(user.id);
        if (isCounted && this.leavingReason(user.id) === undefined) this.#addToTotal(-1);
      }
    }
    this.#leaving.removeDeleted(gone);
    this.#marks.endHighlights();
  }

  #update(user: User): void {
    if (this.#replaceOlder(user)) this.#marks.markChanged(user.id);
  }

  /** Returns false if the list does not have the user, or has this version or a newer one. */
  #replaceOlder(user: User): boolean {
    const before = this.userAt(this.rowOf(user.id));
    if (before === undefined || before.etag === user.etag) return false;
    if ((before.updateTime?.getTime() ?? 0) > (user.updateTime?.getTime() ?? 0)) return false;
    return this.#pages.replace(user);
  }

  #addToTotal(difference: number, changedAt?: number): void {
    this.#count.add(difference, changedAt);
    if (this.arrivals.isMany) this.#count.countSoon();
  }
}
