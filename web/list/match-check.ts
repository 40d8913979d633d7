/** Asks the server whether users match the list's query after a change, because only the server evaluates filters. */
import type { User } from '../../generated/users/v1/user.js';
import { type ListQuery, selectsAll } from '../address/list-query.js';
import { callErrorOf, isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';

/** Users in view are checked first, then those in the selection. */
export type Place = 'inView' | 'selected' | 'other';

export interface MatchCheck {
  check(id: string): void;
  /** Checks together with other changes, after a moment. Returns false if too many other users wait for their checks. */
  checkSoon(id: string, place: Place): boolean;
  /** The user was deleted. */
  forget(id: string): void;
  /** Forgets the checks of the previous query. */
  cancel(): void;
}

export interface MatchCheckOptions {
  readonly directory: Directory;
  queryNow(): ListQuery;
  /** Called for each user that matches, with the time of its change, as in performance.now(). */
  onMatch(user: User, changedAt: number): void;
  onNoMatch(id: string, changedAt: number): void;
}

/** More ids may exceed the 2048 characters of a filter. */
function idsMax(filter: string): number {
  const idCharacters = 40;
  // With room for the rest of the condition, and for days that move, which are longer when they are sent.
  return Math.max(1, Math.min(20, Math.floor((1984 - filter.length) / idCharacters)));
}
const soonMs = 1_000;
/** Takes 10 seconds to check. During an import of many users, the page checks only some of them. */
const othersMax = 200;

export function createMatchCheck({ directory, queryNow, onMatch, onNoMatch }: MatchCheckOptions): MatchCheck {
  /** The time of each change. */
  const queues: Record<Place, Map<string, number>> = { inView: new Map(), selected: new Map(), other: new Map() };
  const inOrder = [queues.inView, queues.selected, queues.other];
  const sent = new Set<Map<string, number>>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let controller = new AbortController();

  const isQueued = (id: string) => inOrder.some((queue) => queue.has(id));
  const unqueue = (id: string) => inOrder.some((queue) => queue.delete(id));

  async function read(asked: Map<string, number>): Promise<void> {
    const { signal } = controller;
    const { query, filter } = queryNow();
    const ofIds = `id in [${[...asked.keys()].map((id) => JSON.stringify(id)).join(', ')}]`;
    const both = filter === '' ? ofIds : `${ofIds} && (${filter}\n)`;
    sent.add(asked);
    try {
      const { users } = await directory.listUsers({ query, filter: both, pageSize: asked.size }, { signal });
      if (signal.aborted) return;
      for (const user of users) {
        const changedAt = asked.get(user.id);
        asked.delete(user.id);
        if (changedAt !== undefined) onMatch(user, changedAt);
      }
      // A queued user has changed again since the request.
      for (const [id, changedAt] of asked) if (!isQueued(id)) onNoMatch(id, changedAt);
    } catch (error) {
      // Without an answer the row stays, as after a change that the page did not receive.
      if (!isAborted(error)) callErrorOf(error);
    } finally {
      sent.delete(asked);
    }
  }

  function readNext(): void {
    timer = undefined;
    const next = inOrder.flatMap((queue) => [...queue]).slice(0, idsMax(queryNow().filter));
    for (const [id] of next) unqueue(id);
    if (inOrder.some(({ size }) => size > 0)) timer = setTimeout(readNext, soonMs);
    if (next.length > 0) void read(new Map(next));
  }

  return {
    check(id) {
      if (selectsAll(queryNow())) return;
      unqueue(id);
      void read(new Map([[id, performance.now()]]));
    },
    checkSoon(id, place) {
      if (selectsAll(queryNow())) return true;
      if (place === 'other' && queues.other.size >= othersMax && !isQueued(id)) return false;
      // A queued user keeps its position, unless the new place is checked earlier.
      const earlier = inOrder.slice(0, inOrder.indexOf(queues[place]));
      const queue = earlier.find((each) => each.has(id)) ?? queues[place];
      if (!queue.has(id)) unqueue(id);
      queue.set(id, performance.now());
      timer ??= setTimeout(readNext, soonMs);
      return true;
    },
    forget(id) {
      unqueue(id);
      for (const asked of sent) asked.delete(id);
    },
    cancel() {
      clearTimeout(timer);
      timer = undefined;
      for (const queue of inOrder) queue.clear();
      controller.abort();
      controller = new AbortController();
    },
  };
}
