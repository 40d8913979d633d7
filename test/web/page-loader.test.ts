/** Tests which pages of a long list the page loads, against a list in memory whose responses arrive in any order. */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { CallError } from '../../web/calls/call-error.js';
import type { UserReader } from '../../web/calls/directory.js';
import { createPageLoader, type PageLoader, pageSize } from '../../web/list/page-loader.js';
import { createUserOrder } from '../../web/users/user-order.js';

const usersMany = 20_000;
const rowsInView = 16;

const users = Array.from({ length: usersMany }, (_, index) => {
  const number = String(index).padStart(5, '0');
  const id = `01a2202d-6858-77d5-8af9-fd55d92${number}`;
  return User.fromPartial({
    id,
    lastName: `Family ${number.slice(0, 2)}`,
    email: `user-${number}@example.com`,
    etag: '1',
  });
});

interface MemoryReader extends UserReader {
  /** How long the next response takes. */
  latencyMs(): number;
  calls: number;
}

/** Answers as the server does. A token is the number of users before its page. */
function createReader(latencyMs: () => number): MemoryReader {
  const sorted = new Map<string, User[]>();
  const inOrder = (orderBy: string) => {
    const { keyOf, compare } = createUserOrder(orderBy);
    const known = sorted.get(orderBy) ?? [...users].sort((a, b) => compare(keyOf(a), keyOf(b)));
    sorted.set(orderBy, known);
    return known;
  };
  const reader: MemoryReader = {
    latencyMs,
    calls: 0,
    async listUsers(request, { signal } = {}) {
      reader.calls++;
      const { pageSize: size = 50, filter = '', orderBy = '', pageToken = '', includeTotalSize = false } = request;
      await new Promise<void>((resolve, reject) => {
        setTimeout(resolve, latencyMs());
        signal?.addEventListener('abort', () => reject(signal.reason));
      });
      if (size < 0) throw new CallError('INVALID_ARGUMENT', 'page_size must not be negative.');
      // The conditions that the page adds are also valid in JavaScript.
      const matches = new Function('{ email, lastName: last_name, id }', `return ${filter || true}`);
      const all = inOrder(orderBy).filter((user) => matches(user));
      const start = Number(pageToken);
      return ListUsersResponse.fromPartial({
        users: all.slice(start, start + size),
        nextPageToken: start + size < all.length ? String(start + size) : '',
        ...(includeTotalSize && { totalSize: all.length }),
      });
    },
  };
  return reader;
}

interface OpenedList {
  readonly loader: PageLoader;
  readonly reader: MemoryReader;
  /** Scrolls to a row. */
  show(row: number): void;
  /** Waits until all rows in view are loaded. */
  load(): Promise<void>;
}

/** A list whose first page is loaded. */
async function openList(orderBy: string, latencyMs: () => number): Promise<OpenedList> {
  const reader = createReader(latencyMs);
  let view = 0;
  const show = (row = view) => {
    view = row;
    loader.pages.expect(usersMany);
    loader.show(view, view + rowsInView - 1);
  };
  const loader = createPageLoader({
    directory: reader,
    query: { query: '', filter: '', orderBy },
    isPaused: () => false,
    onLoaded() {},
    onExpired() {},
    onSettled: () => show(),
  });
  const load = async () => {
    const isLoaded = () => loader.usersInView().length === rowsInView;
    for (let ms = 0; ms < 30_000 && !isLoaded(); ms += 10) await vi.advanceTimersByTimeAsync(10);
    expect([loader.failure?.message, isLoaded()]).toEqual([undefined, true]);
  };
  show(0);
  await load();
  return { loader, reader, show, load };
}

/** Repeats the same numbers from 0 to 1 for a seed. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

describe('the loader of pages', () => {
  // The first jump loads it, which would take real time.
  beforeAll(() => import('../../web/list/seek.js').then(() => {}));
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('jumps into a gap whose beginning is being loaded', async () => {
    const { loader, show, load } = await openList('email desc', () => 50);
    show(pageSize - rowsInView);
    expect(loader.isLoading).toBe(true);
    // The page after the first one arrives before the jump looks for its place.
    show(15_000);
    await load();
    expect(loader.pages.userAt(pageSize)?.email).toBe('user-19799@example.com');
    show(usersMany - rowsInView);
    await load();
    expect(loader.pages.userAt(usersMany - 1)?.email).toBe('user-00000@example.com');
  });

  it.each([
    ['last_name', 300],
    ['last_name', 900],
    ['last_name desc', 500],
    ['last_name desc', 19_900],
  ])('begins again among users with equal values: by %s at row %i', async (orderBy, row) => {
    const { keyOf, compare } = createUserOrder(orderBy);
    const sorted = users.toSorted((a, b) => compare(keyOf(a), keyOf(b)));
    const { loader, show, load } = await openList(orderBy, () => 20);
    const emailsAround = (read: (row: number) => User | undefined) =>
      [row - 100, row - 1, row].map((at) => read(at)?.email);
    loader.pages.place(sorted[row] ?? User.create(), row);
    show(row);
    await load();
    // The rows before it are loaded without being in view.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(emailsAround((at) => loader.pages.userAt(at))).toEqual(emailsAround((at) => sorted[at]));
    expect(loader.pages.rows).toBe(usersMany);
  });

  it.each(['email', 'email desc', 'last_name', 'last_name desc'])(
    'reaches all rows by %s, however long each response takes, and if the list is read again meanwhile',
    async (orderBy) => {
      for (const seed of [1, 2, 3]) {
        const random = createRandom(seed);
        const { loader, reader, show, load } = await openList(orderBy, () => random() * 150);
        const before = reader.calls;
        for (let jumps = 0; jumps < 8; jumps++) {
          // Each second place is soon replaced by the next one.
          show(Math.floor((random() < 0.2 ? 1 : random()) * (usersMany - rowsInView)));
          if (jumps % 2 === 0) await vi.advanceTimersByTimeAsync(random() * 400);
          else await load();
          if (random() < 0.3) loader.reload();
        }
        await load();
        expect(loader.pages.rows).toBe(usersMany);
        expect(reader.calls - before).toBeLessThan(250);
        loader.close();
      }
    },
  );
});
