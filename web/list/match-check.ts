/** Asks the server whether users match the list's query after a change, because only the server evaluates filters. */
import type { User } from '../../generated/users/v1/user.js';
import { type ListQuery, selectsAll } from '../address/list-query.js';
import { callErrorOf, isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';

/** Users in view are checked first, then those in the selection. */
export type Place = 'inView' | 'selected' | 'other';

export interface MatchCheck {
  check(id: string): void;
  /** Checks together with other changes, after a moment. Ignores other users if too many wait for their checks. */
  checkSoon(id: string, place: Place): void;
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
/** Each page waits for another time, up to twice as long, so that not all pages send their checks at the same time. */
const soonMs = 1_000;
/** Takes 10 to 20 seconds to check. During an import of many users, the page checks only some of them. */
const othersMax = 200;

export function createMatchCheck({ directory, queryNow, onMatch, onNoMatch }: MatchCheckOptions): MatchCheck {
  /** The time of each change. */
  const queues: Record<Place, Map<string, number>> = { inView: new Map(), selected: new Map(), other: new Map() };
  const inOrder = [queues.inView, queues.selected, queues.other];
  const sent = new Set<Map<string, number>>();
  /** The one in `sent` that comes from the queues. */
  let batch: Map<string, number> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let controller = new AbortController();

  const isKnown = (id: string) => inOrder.some((queue) => queue.has(id)) || batch?.has(id) === true;
  const unqueue = (id: string) => inOrder.some((queue) => queue.delete(id));

  async function read(asked: Map<string, number>): Promise<void> {
    const { signal } = controller;
    const { query, filter } = queryNow();
    const ofIds = `id in [${[...asked.keys()].map((id) => JSON.stringify(id)).join(', ')}]`;
    const both = filter === '' ? ofIds : `${ofIds} && (${filter}\n)`;
    // The responses may arrive in another order.
    for (const earlier of sent) for (const id of asked.keys()) earlier.delete(id);
    sent.add(asked);
    try {
      const { users } = await directory.listUsers({ query, filter: both, pageSize: asked.size }, { signal });
      if (signal.aborted) return;
      for (const user of users) {
        const changedAt = asked.get(user.id);
        asked.delete(user.id);
        if (changedAt !== undefined) onMatch(user, changedAt);
      }
      for (const [id, changedAt] of asked) onNoMatch(id, changedAt);
    } catch (error) {
      // Without an answer the row stays, as after a change that the page did not receive.
      if (!isAborted(error)) callErrorOf(error);
    } finally {
      sent.delete(asked);
    }
  }

  function readSoon(): void {
    if (batch !== undefined || inOrder.every(({ size }) => size === 0)) return;
    timer ??= setTimeout(() => void readNext(), soonMs * (1 + Math.random()));
  }

  async function readNext(): Promise<void> {
    timer = undefined;
    const { signal } = controller;
    const next = inOrder.flatMap((queue) => [...queue]).slice(0, idsMax(queryNow().filter));
    if (next.length === 0) return;
    for (const [id] of next) unqueue(id);
    batch = new Map(next);
    try {
      await read(batch);
    } finally {
      if (!signal.aborted) {
        batch = undefined;
        readSoon();
      }
    }
  }

  return {
    check(id) {
      if (selectsAll(queryNow())) return;
      unqueue(id);
      void read(new Map([[id, performance.now()]]));
    },
    checkSoon(id, place) {
      if (selectsAll(queryNow())) return;
      if (place === 'other' && queues.other.size >= othersMax && !isKnown(id)) return;
      // A queued user keeps its position, unless the new place is checked earlier.
      const earlier = inOrder.slice(0, inOrder.indexOf(queues[place]));
      const queue = earlier.find((each) => each.has(id)) ?? queues[place];
      if (!queue.has(id)) unqueue(id);
      queue.set(id, performance.now());
      // The user has changed again since the request.
      batch?.delete(id);
      readSoon();
    },
    forget(id) {
      unqueue(id);
      for (const asked of sent) asked.delete(id);
    },
    cancel() {
      clearTimeout(timer);
      timer = undefined;
      batch = undefined;
      for (const queue of inOrder) queue.clear();
      controller.abort();
      controller = new AbortController();
    },
  };
}
