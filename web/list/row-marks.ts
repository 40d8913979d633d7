/** Marks rows for a short time: changed users are highlighted, and users that leave the list stay for a moment. */

/** How long a changed row is highlighted. */
export const flashMs = 2_000;
const forgetMs = 5_000;

/** Whether a user was deleted, no longer matches the query, or was created by this page and does not match it. */
export type LeavingReason = 'deleted' | 'unmatched' | 'foreign';

/** The creator of a user looks for its row, and has to read why it disappears. */
const leavingMs: Readonly<Record<LeavingReason, number>> = { deleted: 1_200, unmatched: 1_200, foreign: 5_000 };

export interface RowMarks {
  /** When a user was last changed, as in performance.now(); 0 if that is long ago. */
  changedAt(id: string): number;
  leavingReason(id: string): LeavingReason | undefined;
  markChanged(id: string): void;
  /** Calls `onGone` later with the users that are still marked. */
  markLeaving(ids: ReadonlySet<string>, reason: LeavingReason, onGone: (gone: ReadonlySet<string>) => void): void;
  /** Returns false if the user was not marked. */
  endLeaving(id: string): boolean;
  endAllLeaving(): void;
  /** Forgets old marks. Calls `onHighlightsEnd` after the current highlights have ended. */
  endHighlights(): void;
  close(): void;
}

export function createRowMarks(onHighlightsEnd: () => void): RowMarks {
  const changed = new Map<string, number>();
  const leaving = new Map<string, LeavingReason>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    changedAt: (id) => changed.get(id) ?? 0,
    leavingReason: (id) => leaving.get(id),
    markChanged(id) {
      changed.set(id, performance.now());
    },
    markLeaving(ids, reason, onGone) {
      for (const id of ids) leaving.set(id, reason);
      setTimeout(() => onGone(new Set([...ids].filter((id) => leaving.delete(id)))), leavingMs[reason]);
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
