/** Marks rows for a short time: changed users are highlighted, and deleted users stay before they disappear. */

/** How long a changed row is highlighted. */
export const flashMs = 2_000;
const leavingMs = 1_200;
const forgetMs = 5_000;

export interface RowMarks {
  /** When a user was last changed, as in performance.now(); 0 if that is long ago. */
  changedAt(id: string): number;
  isLeaving(id: string): boolean;
  markChanged(id: string): void;
  markLeaving(ids: ReadonlySet<string>, onGone: () => void): void;
  /** Returns false if the user was not marked. */
  endLeaving(id: string): boolean;
  endAllLeaving(): void;
  /** Forgets old marks. Calls `onHighlightsEnd` after the current highlights have ended. */
  endHighlights(): void;
  close(): void;
}

export function createRowMarks(onHighlightsEnd: () => void): RowMarks {
  const changed = new Map<string, number>();
  const leaving = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    changedAt: (id) => changed.get(id) ?? 0,
    isLeaving: (id) => leaving.has(id),
    markChanged(id) {
      changed.set(id, performance.now());
    },
    markLeaving(ids, onGone) {
      for (const id of ids) leaving.add(id);
      setTimeout(() => {
        for (const id of ids) leaving.delete(id);
        onGone();
      }, leavingMs);
    },
    endLeaving: (id) => leaving.delete(id),
    endAllLeaving: () => leaving.clear(),
    endHighlights() {
      const now = performance.now();
      for (const [id, at] of changed) if (now - at > forgetMs) changed.delete(id);
      clearTimeout(timer);
      timer = setTimeout(onHighlightsEnd, flashMs);
    },
    close: () => clearTimeout(timer),
  };
}
