/** How the person wants to see the list: its columns, their widths, and the density. The browser stores it. */
import { type ColumnWidths, readColumnIds } from './columns.js';

export const densities = { comfortable: 'Comfortable', compact: 'Compact' } as const;
export type Density = keyof typeof densities;

export interface GridLook {
  /** The ids of the columns in their order. Undefined while the page chooses them, by the width and the data. */
  readonly columns: readonly string[] | undefined;
  /** Those of columns whose width was changed. */
  readonly widths: ColumnWidths;
  /** The measured widths of the contents of columns, so that the next visit starts with them. */
  readonly contentWidths: ColumnWidths;
  readonly density: Density;
}

export interface GridSettings {
  readonly look: GridLook;
  change(change: Partial<GridLook>): void;
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

const key = 'roster-grid';
export const widthPxMin = 64;
export const widthPxMax = 900;

const start: GridLook = { columns: undefined, widths: {}, contentWidths: {}, density: 'comfortable' };

export function createGridSettings(): GridSettings {
  let look = readLook();
  const listeners = new Set<() => void>();
  return {
    get look() {
      return look;
    },
    change(change) {
      look = { ...look, ...change };
      try {
        localStorage.setItem(key, JSON.stringify(look));
      } catch {
        // If the browser cannot store it, it lasts until the page is closed.
      }
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function readLook(): GridLook {
  try {
    return lookOf(JSON.parse(localStorage.getItem(key) ?? '{}'));
  } catch {
    return start;
  }
}

/** Ignores what another version of the page may have stored. */
function lookOf(stored: unknown): GridLook {
  if (typeof stored !== 'object' || stored === null) return start;
  const { columns, widths, contentWidths, density }: Partial<Record<keyof GridLook, unknown>> = stored;
  return {
    columns: Array.isArray(columns) ? readColumnIds(columns) : undefined,
    widths: widthsOf(widths),
    contentWidths: widthsOf(contentWidths),
    density: density === 'compact' ? 'compact' : 'comfortable',
  };
}

function widthsOf(stored: unknown): ColumnWidths {
  return Object.fromEntries(
    Object.entries(typeof stored === 'object' && stored !== null ? stored : {}).filter(
      ([, px]) => typeof px === 'number' && px >= widthPxMin && px <= widthPxMax,
    ),
  );
}
