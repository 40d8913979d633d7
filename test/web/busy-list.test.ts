/** Tests how a list with a filter follows many changes by others, with users in memory and slow responses. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { User, type UserChange } from '../../generated/users/v1/user.js';
import { ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { changeTypes } from '../../web/calls/change-types.js';
import type { Directory } from '../../web/calls/directory.js';
import { UserList } from '../../web/list/user-list.js';
import { createSelection } from '../../web/users/selection.js';

const usersMany = 4_000;
const rowsInView = 40;
const idOf = (at: number) => `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`;

/** Answers as the server does, after `latencyMs`, with the users as they were when the call was sent. */
class MemoryDirectory {
  readonly users = new Map<string, User>();
  latencyMs = 20;
  checks = 0;
  counts = 0;
  checksNow = 0;
  checksNowMax = 0;
  readonly checkedAt: number[] = [];
  #version = 0;

  /** Creates the oldest user first. */
  constructor(departments: readonly string[]) {
    for (const [at, department] of departments.entries()) {
      const time = new Date(1_700_000_000_000 + at * 1_000);
      const id = idOf(at);
      const times = { createTime: time, updateTime: time };
      this.users.set(id, User.fromPartial({ id, email: `${at}@example.com`, attributes: { department }, ...times }));
    }
  }

  readonly listUsers: Directory['listUsers'] = async (request, { signal } = {}) => {
    const { filter = '', pageSize = 50, pageToken = '', includeTotalSize = false } = request;
    const isCheck = filter.startsWith('id in [');
    const ids = isCheck ? new Set(filter.match(/[0-9a-f-]{36}/g)) : undefined;
    const department = /department == "(\w+)"/.exec(filter)?.[1];
    const matches = [...this.users.values()]
      .filter((user) => (ids?.has(user.id) ?? true) && user.attributes?.department === department)
      .reverse();
    if (includeTotalSize) this.counts++;
    if (isCheck) this.#onCheck();
    await new Promise((resolve) => setTimeout(resolve, this.latencyMs));
    if (isCheck) this.checksNow--;
    signal?.throwIfAborted();
    const start = Number(pageToken);
    return ListUsersResponse.fromPartial({
      users: matches.slice(start, start + pageSize),
      nextPageToken: start + pageSize < matches.length ? String(start + pageSize) : '',
      ...(includeTotalSize && { totalSize: matches.length }),
    });
  };

  #onCheck(): void {
    this.checks++;
    this.checksNow++;
    this.checksNowMax = Math.max(this.checksNowMax, this.checksNow);
    this.checkedAt.push(performance.now());
  }

  /** Changes a user, and returns what the feed reports. */
  move(id: string, department: string): UserChange {
    const before = this.users.get(id);
    const user = User.fromPartial({
      ...before,
      attributes: { department },
      updateTime: new Date(),
      etag: String(++this.#version),
    });
    this.users.set(id, user);
    return { type: changeTypes.updated, user } as UserChange;
  }
}

const lists: UserList[] = [];

/** The list of the users of Sales, newest first. */
async function openSales(directory: MemoryDirectory): Promise<UserList> {
  const query = { query: '', filter: 'attributes.department == "Sales"', orderBy: 'create_time desc' };
  const list = new UserList(directory as unknown as Directory, query);
  lists.push(list);
  await vi.advanceTimersByTimeAsync(1_000);
  list.show(0, Math.min(rowsInView, list.rows) - 1);
  await vi.advanceTimersByTimeAsync(1_000);
  return list;
}

/** Changes 100 users without rows in view each 100 ms, for a time. None of them match before. */
async function stayBusy(list: UserList, directory: MemoryDirectory, ms: number): Promise<void> {
  const support = [...directory.users.values()].filter(({ attributes }) => attributes?.department === 'Support');
  for (let past = 0, next = 0; past < ms; past += 100) {
    const ids = Array.from({ length: 100 }, () => support[next++ % support.length]?.id ?? '');
    list.apply(ids.map((id) => directory.move(id, 'Support')));
    await vi.advanceTimersByTimeAsync(100);
  }
}

const isGone = (list: UserList, id: string) => list.rowOf(id) < 0 || list.leavingReason(id) !== undefined;

/** Moves a user into the list, and returns while the check of this change waits for its response. Later ones are fast. */
async function startSlowCheck(directory: MemoryDirectory, list: UserList, id: string): Promise<void> {
  directory.latencyMs = 3_000;
  list.apply([directory.move(id, 'Sales')]);
  while (directory.checks === 0) await vi.advanceTimersByTimeAsync(100);
  directory.latencyMs = 5;
}

describe('a list with a filter, while others change many users', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('requestAnimationFrame', (run: () => void) => Number(setTimeout(run, 16)));
    vi.stubGlobal('cancelAnimationFrame', (timer: number) => clearTimeout(timer));
  });
  afterEach(() => {
    for (const list of lists.splice(0)) list.close();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const crowd = () => Array.from({ length: usersMany }, (_, at) => (at % 20 === 0 ? 'Sales' : 'Support'));

  it('checks the rows in view first', async () => {
    const directory = new MemoryDirectory(crowd());
    const list = await openSales(directory);
    await stayBusy(list, directory, 5_000);
    const ids = Array.from({ length: 10 }, (_, row) => list.userAt(row)?.id ?? '');
    list.apply(ids.map((id) => directory.move(id, 'Support')));
    await stayBusy(list, directory, 5_000);
    expect(ids.filter((id) => !isGone(list, id))).toEqual([]);
  });

  it('checks selected users that are not in view first', async () => {
    const directory = new MemoryDirectory(crowd());
    const list = await openSales(directory);
    const selection = createSelection();
    list.selection = selection;
    const gone: string[] = [];
    list.onNoMatch((id) => gone.push(id));
    const [moved = '', stays = ''] = [60, 61].map((row) => list.userAt(row)?.id ?? '');
    selection.toggleRange([moved, stays], true);
    await stayBusy(list, directory, 5_000);
    list.apply([directory.move(moved, 'Support'), directory.move(stays, 'Sales')]);
    await stayBusy(list, directory, 5_000);
    expect(selection.has(moved) && gone.includes(moved)).toBe(true);
    expect(gone).not.toContain(stays);
    expect(isGone(list, moved)).toBe(true);
    expect(isGone(list, stays)).toBe(false);
  });

  it('does not count a selected user as new whose row is no longer in memory', async () => {
    const salesMany = 6_000;
    const directory = new MemoryDirectory(Array.from({ length: salesMany }, () => 'Sales'));
    const list = await openSales(directory);
    const id = list.userAt(60)?.id ?? '';
    const selection = createSelection();
    selection.toggle(id);
    list.selection = selection;
    for (let row = 0; row < salesMany - rowsInView; row += 150) {
      list.show(row, row + rowsInView - 1);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(list.rowOf(id)).toBe(-1);
    const { checks } = directory;
    list.apply([directory.move(id, 'Sales')]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(directory.checks).toBe(checks + 1);
    expect([list.arrivals.count, list.total]).toEqual([0, { kind: 'exact', count: salesMany }]);
    list.apply([directory.move(id, 'Support')]);
    const isGone = new Promise<string>((resolve) => list.onNoMatch(resolve));
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await isGone).toBe(id);
    expect(list.total).toEqual({ kind: 'exact', count: salesMany - 1 });
  });

  it('counts again at least every 40 seconds', async () => {
    const directory = new MemoryDirectory(crowd());
    const list = await openSales(directory);
    await vi.advanceTimersByTimeAsync(30_000);
    const { counts } = directory;
    // Not in view, so only a count notices it.
    list.apply([directory.move(list.userAt(60)?.id ?? '', 'Support')]);
    await stayBusy(list, directory, 45_000);
    expect(list.total).toEqual({ kind: 'exact', count: usersMany / 20 - 1 });
    await stayBusy(list, directory, 80_000);
    expect(directory.counts - counts).toBeGreaterThanOrEqual(3);
    expect(directory.counts - counts).toBeLessThanOrEqual(7);
  });

  it('counts as new matches only users that match', async () => {
    const directory = new MemoryDirectory(crowd());
    const list = await openSales(directory);
    list.show(list.rows - rowsInView, list.rows - 1);
    await vi.advanceTimersByTimeAsync(1_000);
    list.apply([directory.move(idOf(usersMany - 1), 'Sales')]);
    await stayBusy(list, directory, 25_000);
    await vi.advanceTimersByTimeAsync(30_000);
    expect([list.arrivals.count, list.arrivals.isMany]).toEqual([1, false]);
  });

  it('checks a row in view whose user changes while the list is read', async () => {
    const directory = new MemoryDirectory(['Sales', 'Sales', 'Sales']);
    const list = await openSales(directory);
    list.request(list.query);
    await vi.advanceTimersByTimeAsync(5);
    list.apply([directory.move(idOf(1), 'Support')]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(list.rowOf(idOf(1))).toBe(-1);
    expect([list.rows, list.total]).toEqual([2, { kind: 'exact', count: 2 }]);
  });

  it('ignores a response that is older than the last change', async () => {
    const directory = new MemoryDirectory(['Sales', 'Sales', 'Support']);
    const list = await openSales(directory);
    const id = idOf(2);
    await startSlowCheck(directory, list, id);
    list.apply([directory.move(id, 'Support')]);
    const wasRow = [];
    for (let past = 0; past < 10_000; past += 100) {
      await vi.advanceTimersByTimeAsync(100);
      wasRow.push(list.rowOf(id) >= 0);
    }
    expect(wasRow).not.toContain(true);
    expect([list.rows, list.total]).toEqual([2, { kind: 'exact', count: 2 }]);
  });

  it('shows the result of an own change that a slower check of an earlier change contradicts', async () => {
    const directory = new MemoryDirectory(['Sales', 'Sales', 'Sales']);
    const list = await openSales(directory);
    const id = idOf(2);
    await startSlowCheck(directory, list, id);
    const { user } = directory.move(id, 'Support');
    list.put(user ?? User.create());
    await vi.advanceTimersByTimeAsync(5_000);
    expect(list.rowOf(id)).toBe(-1);
    expect([list.rows, list.total]).toEqual([2, { kind: 'exact', count: 2 }]);
  });

  it.each([20, 4_000])(
    'sends one check at a time, at most one a second, with responses after %i ms',
    async (latencyMs) => {
      const directory = new MemoryDirectory(crowd());
      const list = await openSales(directory);
      directory.latencyMs = latencyMs;
      await stayBusy(list, directory, 25_000);
      expect(directory.checksNowMax).toBe(1);
      expect(directory.checks).toBeGreaterThan(25_000 / (2_000 + latencyMs) - 1);
      const pauses = directory.checkedAt.map((at, index) => at - (directory.checkedAt[index - 1] ?? 0)).slice(1);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000 + latencyMs);
      // Otherwise all pages would send their checks at the same time.
      expect(new Set(pauses.map(Math.round)).size).toBeGreaterThan(1);
    },
  );
});
