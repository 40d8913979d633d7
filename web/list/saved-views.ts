/**
 * The views that a person has saved: a search, a filter, an order and the columns of the list, under a name. They are in
 * the browser's storage, for each caller separately, because a filter may contain personal data.
 */
import type { Route } from '../address/route.js';
import { readColumnIds } from './columns.js';

export interface SavedView {
  readonly name: string;
  readonly query: string;
  readonly filter: string;
  readonly orderBy: string;
  /** As in the address (`writeColumns`); empty if the page chooses the columns. */
  readonly columns: string;
}

export interface SavedViews {
  readonly views: readonly SavedView[];
  /** The view that the page starts with; empty for all people. */
  readonly startName: string;
  /** Adds the view, or replaces the one with the same name. */
  save(view: SavedView): void;
  rename(from: string, to: string): void;
  remove(name: string): void;
  startWith(name: string): void;
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

interface Stored {
  readonly views: readonly SavedView[];
  readonly startName: string;
}

export const viewNameMax = 60;
const viewsMax = 100;
const nothing: Stored = { views: [], startName: '' };

/** `actor` is empty if the server does not know its callers. */
export function createSavedViews(actor: string): SavedViews {
  const key = actor === '' ? 'roster-views' : `roster-views ${actor}`;
  const listeners = new Set<() => void>();
  let stored = readStored(key);
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const write = (next: Stored) => {
    stored = next;
    try {
      localStorage.setItem(key, JSON.stringify(next));
    } catch {
      // If the browser cannot store them, they last until the page is closed.
    }
    changed();
  };
  // Another tab of this browser has changed them.
  const onStorage = (event: StorageEvent) => {
    if (event.key !== key && event.key !== null) return;
    stored = readStored(key);
    changed();
  };
  return {
    get views() {
      return stored.views;
    },
    get startName() {
      return stored.startName;
    },
    save(view) {
      const isKnown = stored.views.some(({ name }) => name === view.name);
      const views = isKnown
        ? stored.views.map((old) => (old.name === view.name ? view : old))
        : [...stored.views, view].slice(-viewsMax);
      write({ ...stored, views });
    },
    rename(from, to) {
      const others = stored.views.filter(({ name }) => name === from || name !== to);
      const views = others.map((view) => (view.name === from ? { ...view, name: to } : view));
      write({ views, startName: stored.startName === from ? to : stored.startName });
    },
    remove(removed) {
      const views = stored.views.filter(({ name }) => name !== removed);
      write({ views, startName: stored.startName === removed ? '' : stored.startName });
    },
    startWith: (name) => write({ ...stored, startName: name }),
    subscribe(listener) {
      if (listeners.size === 0) addEventListener('storage', onStorage);
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) removeEventListener('storage', onStorage);
      };
    },
  };
}

function readStored(key: string): Stored {
  try {
    return storedOf(JSON.parse(localStorage.getItem(key) ?? '{}'));
  } catch {
    return nothing;
  }
}

/** Ignores what another version of the page may have stored. */
function storedOf(value: unknown): Stored {
  if (typeof value !== 'object' || value === null) return nothing;
  const { views, startName }: { views?: unknown; startName?: unknown } = value;
  return {
    views: Array.isArray(views) ? views.flatMap((view) => viewOf(view) ?? []) : [],
    startName: typeof startName === 'string' ? startName : '',
  };
}

function viewOf(value: unknown): SavedView | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const view: Partial<Record<keyof SavedView, unknown>> = value;
  const text = (part: keyof SavedView) => (typeof view[part] === 'string' ? view[part] : '');
  if (text('name') === '') return undefined;
  return {
    name: text('name'),
    query: text('query'),
    filter: text('filter'),
    orderBy: text('orderBy'),
    columns: text('columns'),
  };
}

/** The columns as one text for the address: their ids with commas between them. */
export function writeColumns(ids: readonly string[] | undefined): string {
  return (ids ?? []).map((id) => id.replaceAll('%', '%25').replaceAll(',', '%2C')).join(',');
}

/** Returns undefined if the page chooses the columns, because the text is empty or has only unknown ones. */
export function readColumns(text: string): readonly string[] | undefined {
  return readColumnIds(text.split(',').map((id) => id.replaceAll('%2C', ',').replaceAll('%25', '%')));
}

/** The part of the route that a view is. */
export function viewRoute({ name, query, filter, orderBy, columns }: SavedView): Partial<Route> {
  return { name, query, filter, orderBy, columns };
}

export function isSameView(a: Omit<SavedView, 'name'>, b: Omit<SavedView, 'name'>): boolean {
  return a.query === b.query && a.filter === b.filter && a.orderBy === b.orderBy && a.columns === b.columns;
}
