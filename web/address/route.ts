/**
 * Keeps the page's state in the URL's hash, so that a reload restores it: `#query=ada&order_by=last_name&user=…`.
 *
 * The state is not in the query string, because a search is personal data, and browsers send the query string to the
 * server and its proxies.
 */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { orderFields } from '../../src/fields.js';
import { readOrder, writeOrder } from '../users/user-order.js';
import type { ListQuery } from './list-query.js';

export interface Route {
  readonly view: 'list' | 'metrics';
  readonly query: string;
  readonly filter: string;
  /** As in ListUsers: a field or an attribute, optionally followed by ` desc`. */
  readonly orderBy: string;
  /** The columns of a saved view, as saved-views.ts writes them. Empty if the list has the person's own columns. */
  readonly columns: string;
  /** The name of the saved view that is open; empty for all people. */
  readonly name: string;
  /** The id of the open user, or `new`; empty if no user is open. */
  readonly user: string;
  readonly dialog: '' | 'import' | 'export';
  /** Whether all people are meant, even if a saved view is the first thing that the page shows. */
  readonly isAll: boolean;
}

/** The order is newest first, so that a new user is at the top. */
const start: Route = {
  view: 'list',
  name: '',
  query: '',
  filter: '',
  orderBy: 'create_time desc',
  columns: '',
  user: '',
  dialog: '',
  isAll: false,
};

/** The list without a search, a filter or a saved view. */
export const allPeople = { name: '', query: '', filter: '', orderBy: start.orderBy, columns: '' } as const;

/** Shows the metrics, and closes the open user. */
export const metrics = { view: 'metrics', user: '' } as const;

const names = {
  view: 'view',
  name: 'name',
  query: 'query',
  filter: 'filter',
  orderBy: 'order_by',
  columns: 'columns',
  user: 'user',
  dialog: 'dialog',
};

/** The hash of all people. It is empty unless the page starts with a saved view. */
const allHash = `#${names.view}=all`;

const dialogs = ['import', 'export'] as const;

/** Replaces invalid values by the defaults. */
export function readRoute(hash: string): Route {
  const parameters = new URLSearchParams(hash.replace(/^#/, ''));
  const text = (name: keyof typeof names) => parameters.get(names[name]) ?? start[name];
  const orderBy = text('orderBy');
  return {
    // `activity` was the name of this view. Bookmarks may still contain it.
    view: ['metrics', 'activity'].includes(text('view')) ? 'metrics' : 'list',
    name: text('name'),
    query: text('query'),
    filter: text('filter'),
    columns: text('columns'),
    orderBy: readableOrder(orderBy) ?? start.orderBy,
    user: text('user'),
    dialog: dialogs.find((dialog) => dialog === text('dialog')) ?? '',
    isAll: hash === allHash,
  };
}

/** Undefined if the page cannot sort by it. The limit is that of the server. */
function readableOrder(orderBy: string): string | undefined {
  const order = readOrder(orderBy);
  const { by, keys = [] } = order;
  const isStorable = keys.every((key) => key.isWellFormed() && !key.includes('\0'));
  const isAttribute = keys.length > 0 && keys.length <= levelsMax && isStorable;
  return isAttribute || orderFields.some((field) => field === by) ? writeOrder(order) : undefined;
}

/** As in ListUsers. */
const levelsMax = 32;

/** Omits the default values. */
function writeRoute(route: Route): string {
  const parameters = new URLSearchParams();
  for (const key of Object.keys(names) as (keyof typeof names)[]) {
    if (route[key] !== start[key]) parameters.set(names[key], route[key]);
  }
  if (parameters.size === 0) return route.isAll ? allHash : '';
  return `#${parameters}`;
}

/** Returns the hash with the parts that this page knows, and nothing else. */
export function ownHash(hash: string): string {
  return writeRoute(readRoute(hash));
}

export function listQueryOf({ query, filter, orderBy }: Route): ListQuery {
  return { query, filter, orderBy };
}

export type Go = (change: Partial<Route>, how?: { replace?: boolean }) => void;

/** Returns the current route, and a function to change it. The back button undoes a change that is not a `replace`. */
export function useRoute(): readonly [Route, Go] {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  useEffect(() => {
    const read = () => setRoute(readRoute(location.hash));
    window.addEventListener('popstate', read);
    window.addEventListener('hashchange', read);
    // The hash may have changed since the first render.
    if (ownHash(location.hash) !== writeRoute(route)) read();
    return () => {
      window.removeEventListener('popstate', read);
      window.removeEventListener('hashchange', read);
    };
  }, []);
  const go = useCallback<Go>((change, { replace = false } = {}) => {
    const now = readRoute(location.hash);
    const next = { ...now, ...change };
    const url = `${location.pathname}${location.search}${writeRoute(next)}`;
    // If the previous entry of the history has the same route, as after a dialog was closed, the current entry is not
    // needed, so replace it.
    const isDuplicate = history.state?.from === writeRoute(now);
    if (replace || isDuplicate) history.replaceState(history.state, '', url);
    else history.pushState({ ...history.state, from: writeRoute(now) }, '', url);
    setRoute(next);
  }, []);
  return [route, go];
}
