/**
 * The toasts: short texts that confirm what the user has just done, or say why it had no effect, some with an undo. The component in toast-list.tsx
 * shows them.
 */

/** A user for whom an action failed, and why. */
export interface FailedUser {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly reason: string;
}

export interface Toast {
  /** One sentence, such as "Saved Ada Lovelace." */
  readonly text: string;
  /** Reverts the action. If it rejects with an Error, another toast shows the error's message. */
  readonly undo?: (() => Promise<void>) | undefined;
  /** A button for what the user may want instead. It also closes the toast. */
  readonly offer?: { readonly label: string; run(): void } | undefined;
  /** The users for whom the action failed. A button shows them. */
  readonly failures?: readonly FailedUser[];
  /** A toast about a failure stays until the user closes it. */
  readonly tone?: 'neutral' | 'success' | 'danger';
}

/** An undo rejects with it if it has reverted the action for other users. The message says for how many. */
export class PartlyUndone extends Error {
  override readonly name = 'PartlyUndone';
  readonly failures: readonly FailedUser[];

  constructor(message: string, failures: readonly FailedUser[]) {
    super(message);
    this.failures = failures;
  }
}

export interface ShownToast extends Toast {
  readonly id: number;
  /** As in performance.now(). */
  readonly shownAt: number;
  readonly isUndoing: boolean;
}

/**
 * How long a toast stays, not counting the time in which the user points at the toasts or has the focus in them, or in which
 * a dialog covers them.
 */
export const toastMs = 10_000;

const shownMax = 3;

let toasts: readonly ShownToast[] = [];
let idLast = 0;
const listeners = new Set<() => void>();

function change(next: readonly ShownToast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function shownToasts(): readonly ShownToast[] {
  return toasts;
}

export function onToastsChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Returns the id of the toast. */
export function showToast(toast: Toast): number {
  const shown = { ...toast, id: ++idLast, shownAt: performance.now(), isUndoing: false };
  change([...toasts, shown].slice(-shownMax));
  return shown.id;
}

export function closeToast(id: number): void {
  change(toasts.filter((toast) => toast.id !== id));
}

/** Call this before somebody else uses the page, because toasts name users. */
export function closeAllToasts(): void {
  change([]);
}

/** The newest toast that has an undo. */
export function undoableToast(): ShownToast | undefined {
  return toasts.findLast((toast) => toast.undo !== undefined);
}

/** Reverts the action of the toast, once. */
export function undoToast(id: number): void {
  const toast = toasts.find((other) => other.id === id);
  if (toast?.undo !== undefined && !toast.isUndoing) void undo(id, toast.undo);
}

async function undo(id: number, revert: () => Promise<void>): Promise<void> {
  change(toasts.map((toast) => (toast.id === id ? { ...toast, isUndoing: true } : toast)));
  try {
    await revert();
    showToast({ text: 'Undone.' });
  } catch (error) {
    showToast({ ...toastOf(error), tone: 'danger' });
  } finally {
    closeToast(id);
  }
}

function toastOf(error: unknown): Toast {
  if (error instanceof PartlyUndone) return { text: error.message, failures: error.failures };
  const reason = error instanceof Error ? error.message : 'Something unexpected went wrong on this page.';
  return { text: `Not undone. ${reason}` };
}
