/**
 * The number of users that match the list's query. A separate call counts them, because the server must read all
 * matches to do so.
 */
import type { ListQuery } from '../address/list-query.js';
import { isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';

/** The number of matching users, if it is known. */
export type Total = { readonly kind: 'unknown' | 'counting' } | { readonly kind: 'exact'; readonly count: number };

export interface UserCount {
  readonly total: Total;
  /** Stores a total that is known without the server. */
  set(count: number): void;
  forget(): void;
  /**
   * Adds to the total, unless the server has counted since the change, whose time is as in performance.now(). Counts again if
   * the server may have counted this change already.
   */
  add(difference: number, changedAt?: number): void;
  count(): void;
  /** Counts after the changes stop for a moment, or after a longer time if they do not stop. */
  countSoon(): void;
  close(): void;
}

/** Users are counted again after this time without changes, but not more often than every `countEveryMs`. */
const quietMs = 2_000;
const countEveryMs = 10_000;
/** While changes continue. Each page waits for another time, so that not all pages count at the same time. */
const busyMs = () => 30_000 + 10_000 * Math.random();
/** A count may or may not include a change within this time before or after it. */
const uncertainMs = 1_500;

export function createUserCount(directory: Directory, queryNow: () => ListQuery, onChange: () => void): UserCount {
  let total: Total = { kind: 'unknown' };
  let request: AbortController | undefined;
  let countedAt = 0;
  /** When the request of the last count was sent. */
  let countedFrom = 0;
  /** Changes during a request may be missing from its response. */
  let isUncertain = false;
  /** When to count even if the changes have not stopped. */
  let countBy: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function read(signal: AbortSignal): Promise<void> {
    const { query, filter } = queryNow();
    const sentAt = performance.now();
    try {
      const { totalSize } = await directory.listUsers(
        { query, filter, pageSize: 1, includeTotalSize: true },
        { signal },
      );
      total = { kind: 'exact', count: Number(totalSize ?? 0) };
      countedAt = performance.now();
      countedFrom = sentAt;
    } catch (error) {
      // The list works without the count.
      if (!isAborted(error) && total.kind === 'counting') total = { kind: 'unknown' };
    }
  }

  async function count(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    countBy = undefined;
    request?.abort();
    const controller = new AbortController();
    request = controller;
    isUncertain = false;
    if (total.kind === 'unknown') total = { kind: 'counting' };
    await read(controller.signal);
    if (request === controller) {
      request = undefined;
      if (isUncertain) countSoon();
    }
    onChange();
  }

  function countSoon(): void {
    isUncertain = true;
    if (request !== undefined) return;
    clearTimeout(timer);
    const now = performance.now();
    countBy ??= now + busyMs();
    const waitMs = Math.max(Math.min(quietMs, countBy - now), countedAt + countEveryMs - now);
    timer = setTimeout(() => void count(), waitMs);
  }

  return {
    get total() {
      return total;
    },
    set(known) {
      request?.abort();
      total = { kind: 'exact', count: known };
      countedAt = performance.now();
      countedFrom = 0;
      isUncertain = false;
    },
    forget() {
      total = { kind: 'unknown' };
    },
    add(difference, changedAt = Number.POSITIVE_INFINITY) {
      if (changedAt < countedFrom) return;
      if (total.kind === 'exact') total = { kind: 'exact', count: Math.max(0, total.count + difference) };
      if (request !== undefined || performance.now() - countedAt < uncertainMs) countSoon();
    },
    count: () => void count(),
    countSoon,
    close() {
      clearTimeout(timer);
      request?.abort();
    },
  };
}
