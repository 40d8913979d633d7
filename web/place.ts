/**
 * Where in the page somebody is, as the URL's hash has it: `#query=ada&order_by=last_name&user=…`.
 *
 * In the hash and not in the query string, because what people search for is personal data and a query string is told to
 * the server, its log and every proxy between. Reload and the back button bring a place back.
 */
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { Question } from './user-list.js';

export interface Place {
  readonly view: 'list' | 'activity';
  readonly query: string;
  readonly filter: string;
  /** As ListUsers has it: a field, perhaps with ` desc`. */
  readonly orderBy: string;
  /** The id of the user who is open, or `new`; empty for none. */
  readonly user: string;
  readonly dialog: '' | 'import' | 'export';
}

/** Newest first: whoever was just added is on top. */
const start: Place = { view: 'list', query: '', filter: '', orderBy: 'create_time desc', user: '', dialog: '' };

const names = { view: 'view', query: 'query', filter: 'filter', orderBy: 'order_by', user: 'user', dialog: 'dialog' };

const dialogs = ['import', 'export'] as const;

const orderForm = /^(?:create_time|update_time|first_name|last_name|email)(?: desc)?$/;

/** Never fails: what is not understood is left out. */
export function readPlace(hash: string): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const text = (name: keyof typeof names) => given.get(names[name]) ?? start[name];
  const orderBy = text('orderBy');
  return {
    view: text('view') === 'activity' ? 'activity' : 'list',
    query: text('query'),
    filter: text('filter'),
    orderBy: orderForm.test(orderBy) ? orderBy : start.orderBy,
    user: text('user'),
    dialog: dialogs.find((dialog) => dialog === text('dialog')) ?? '',
  };
}

/** Without what is as it is at the start. */
export function writePlace(place: Place): string {
  const written = new URLSearchParams();
  for (const key of Object.keys(names) as (keyof Place)[]) {
    if (place[key] !== start[key]) written.set(names[key], place[key]);
  }
  return written.size === 0 ? '' : `#${written}`;
}

/** What the place asks of the list. */
export function questionOf({ query, filter, orderBy }: Place): Question {
  return { query, filter, orderBy };
}

export type Go = (change: Partial<Place>, how?: { replace?: boolean }) => void;

/** The place now, and how to go to another one: as a step that the back button undoes, or, with `replace`, not. */
export function usePlace(): readonly [Place, Go] {
  const [place, setPlace] = useState(() => readPlace(location.hash));
  useEffect(() => {
    const read = () => setPlace(readPlace(location.hash));
    window.addEventListener('popstate', read);
    window.addEventListener('hashchange', read);
    return () => {
      window.removeEventListener('popstate', read);
      window.removeEventListener('hashchange', read);
    };
  }, []);
  const go = useCallback<Go>((change, { replace = false } = {}) => {
    const now = readPlace(location.hash);
    const next = { ...now, ...change };
    const url = `${location.pathname}${location.search}${writePlace(next)}`;
    // Where the step before leads to the same place, as behind a dialog that was closed, one of the two is enough.
    const isSpare = history.state?.from === writePlace(now);
    if (replace || isSpare) history.replaceState(history.state, '', url);
    else history.pushState({ from: writePlace(now) }, '', url);
    setPlace(next);
  }, []);
  return [place, go];
}
