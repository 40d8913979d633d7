/** The buttons of a user's dialog, and the question whether to discard the edits. */
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { View } from './user-writes.js';

export function DiscardQuestion({ onKeep, onDiscard }: { onKeep(): void; onDiscard(): void }) {
  const ref = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => ref.current?.focus(), []);
  return (
    <>
      <p class="grow" role="alert">
        Discard your changes?
      </p>
      <button ref={ref} type="button" class="button" onClick={onKeep}>
        Keep editing
      </button>
      <button type="button" class="button danger" onClick={onDiscard}>
        Discard
      </button>
    </>
  );
}

export interface UserDialogButtonsProps {
  readonly view: View['kind'];
  readonly isNew: boolean;
  readonly name: string;
  readonly isBusy: boolean;
  readonly maySave: boolean;
  readonly mayDelete: boolean;
  onClose(): void;
  onBack(): void;
  onDelete(): void;
}

/** Busy buttons have aria-disabled instead of disabled, because a disabled button loses the focus. */
export function UserDialogButtons(props: UserDialogButtonsProps) {
  const { view, isNew, name, isBusy, maySave, mayDelete, onClose, onBack, onDelete } = props;
  const backRef = useRef<HTMLButtonElement>(null);
  // Focus the safe button.
  useLayoutEffect(() => {
    if (view === 'delete') backRef.current?.focus();
  }, [view]);
  if (view === 'gone') {
    return (
      <button type="button" class="button primary" onClick={onClose}>
        Close
      </button>
    );
  }
  if (view === 'form') {
    return (
      <>
        {isNew || !mayDelete ? null : (
          <button type="button" class="button quiet danger-text start" onClick={onDelete}>
            Delete…
          </button>
        )}
        <button type="button" class="button" onClick={onClose}>
          {maySave ? 'Cancel' : 'Close'}
        </button>
        {maySave && (
          <button type="submit" class="button primary" aria-disabled={isBusy}>
            {isNew ? (isBusy ? 'Creating…' : 'Create') : isBusy ? 'Saving…' : 'Save'}
          </button>
        )}
      </>
    );
  }
  return (
    <>
      <button ref={backRef} type="button" class="button" onClick={onBack}>
        {view === 'delete' ? 'Keep' : 'Back'}
      </button>
      {view === 'delete' ? (
        <button type="submit" class="button danger" aria-disabled={isBusy}>
          <span class="truncate">{isBusy ? 'Deleting…' : ['Delete ', <bdi key="name">{name}</bdi>]}</span>
        </button>
      ) : (
        <button type="submit" class="button primary" aria-disabled={isBusy}>
          {isBusy ? 'Saving…' : 'Save'}
        </button>
      )}
    </>
  );
}
