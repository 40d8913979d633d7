/** Asks the server whether changed users still match the list's query, because only the server evaluates filters. */
import type { User } from '../../generated/users/v1/user.js';
import { type ListQuery, selectsAll } from '../address/list-query.js';
import { callErrorOf, isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';

export interface MatchCheck {
  check(id: string): void;
  /** Checks together with other changes, after a moment. */
  checkSoon(id: string): void;
  /** Forgets the checks of the previous query. */
  cancel(): void;
}

export interface MatchCheckOptions {
  readonly directory: Directory;
  queryNow(): ListQuery;
  onMatch(users: readonly User[]): void;
  onNoMatch(ids: readonly string[]): void;
}

/** More ids may exceed the 2048 characters of a filter. Rows of other users stay as they are. */
function idsMax(filter: string): number {
  const idCharacters = 40;
  // With room for the rest of the condition, and for days that move, which are longer when they are sent.
  return Math.max(1, Math.min(20, Math.floor((1984 - filter.length) / idCharacters)));
}
const soonMs = 1_000;

export function createMatchCheck({ directory, queryNow, onMatch, onNoMatch }: MatchCheckOptions): MatchCheck {
  const pending = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let controller = new AbortController();

  async function read(): Promise<void> {
    timer = undefined;
    const ids = [...pending];
    pending.clear();
    const { signal } = controller;
    const { query, filter } = queryNow();
    const ofIds = `id in [${ids.map((id) => JSON.stringify(id)).join(', ')}]`;
    const both = filter === '' ? ofIds : `${ofIds} && (${filter})`;
    try {
      const { users } = await directory.listUsers({ query, filter: both, pageSize: ids.length }, { signal });
      if (signal.aborted) return;
      const found = new Set(users.map(({ id }) => id));
      onMatch(users);
      // A pending id has changed again since the request.
      onNoMatch(ids.filter((id) => !found.has(id) && !pending.has(id)));
    } catch (error) {
      // Without an answer the row stays, as after a change that the page did not receive.
      if (!isAborted(error)) callErrorOf(error);
    }
  }

  function add(id: string, waitMs: number): void {
    if (selectsAll(queryNow()) || (pending.size >= idsMax(queryNow().filter) && !pending.has(id))) return;
    pending.add(id);
    if (waitMs === 0) {
      clearTimeout(timer);
      void read();
    } else timer ??= setTimeout(() => void read(), waitMs);
  }

  return {
    check: (id) => add(id, 0),
    checkSoon: (id) => add(id, soonMs),
    cancel() {
      clearTimeout(timer);
      timer = undefined;
      pending.clear();
      controller.abort();
      controller = new AbortController();
    },
  };
}
