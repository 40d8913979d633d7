/** How the person wants to see the list: its columns, their widths, and the density. The browser stores it. */

export const densities = { comfortable: 'Comfortable', compact: 'Compact' } as const;
export type Density = keyof typeof densities;

export interface GridLook {
  /** The ids of the columns in their order. Undefined while the page chooses them, by the width and the data. */
  readonly columns: readonly string[] | undefined;
  /** In pixels, by the column's id, for columns whose width was changed. */
  readonly widths: Readonly<Record<string, number>>;
  readonly density: Density;
}

export interface GridSettings {
  readonly look: GridLook;
  change(change: Partial<GridLook>): void;
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}

const key = 'roster-grid';
const columnsMax = 100;
export const widthPxMin = 64;
export const widthPxMax = 900;

const start: GridLook = { columns: undefined, widths: {}, density: 'comfortable' };

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
  const { columns, widths, density }: { columns?: unknown; widths?: unknown; density?: unknown } = stored;
  return {
    columns: Array.isArray(columns) ? columns.filter((id) => typeof id === 'string').slice(0, columnsMax) : undefined,
    widths: Object.fromEntries(
      Object.entries(typeof widths === 'object' && widths !== null ? widths : {}).filter(
        ([, px]) => typeof px === 'number' && px >= widthPxMin && px <= widthPxMax,
      ),
    ),
    density: density === 'compact' ? 'compact' : 'comfortable',
  };
}
