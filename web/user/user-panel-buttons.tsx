/** The buttons of a user's panel. */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { ArrowDownIcon, ArrowUpIcon } from '../ui/icons.js';
import type { View } from './user-writes.js';

/** The place of the person in the list, and the ways to the previous and the next one. */
export interface Place {
  /** The person's number, from 1, and the number of all, as far as the list knows them. */
  readonly shown: { readonly position: number; readonly total: number | undefined } | undefined;
  /** Undefined at the end of the list. */
  readonly onPrevious: (() => void) | undefined;
  readonly onNext: (() => void) | undefined;
}

export interface UserPanelToolsProps {
  readonly place: Place | undefined;
  /** A button without a function is not shown. */
  readonly onEdit: (() => void) | undefined;
  readonly onDelete: (() => void) | undefined;
}

/** The buttons above the name. */
export function UserPanelTools({ place, onEdit, onDelete }: UserPanelToolsProps) {
  return (
    <>
      {place === undefined ? null : <PlaceButtons place={place} />}
      <span class="grow" />
      {onEdit === undefined ? null : (
        <button type="button" class="button small" title="Edit (e)" onClick={onEdit}>
          Edit
        </button>
      )}
      {onDelete === undefined ? null : (
        <button type="button" class="button small quiet danger-text" onClick={onDelete}>
          Delete…
        </button>
      )}
    </>
  );
}

interface StepButtonProps {
  readonly label: string;
  readonly keyName: string;
  readonly onStep: (() => void) | undefined;
  readonly children: ComponentChildren;
}

/** It uses aria-disabled because a disabled button loses the focus. */
function StepButton({ label, keyName, onStep, children }: StepButtonProps) {
  return (
    <button
      type="button"
      class="button quiet icon"
      aria-label={label}
      title={`${label} (${keyName})`}
      aria-disabled={onStep === undefined}
      onClick={onStep}
    >
      {children}
    </button>
  );
}

function PlaceButtons({ place: { shown, onPrevious, onNext } }: { place: Place }) {
  return (
    <>
      <StepButton label="Previous person" keyName="k" onStep={onPrevious}>
        <ArrowUpIcon />
      </StepButton>
      <StepButton label="Next person" keyName="j" onStep={onNext}>
        <ArrowDownIcon />
      </StepButton>
      {shown !== undefined && (
        <span class="place faint numeric">
          {formatCount(shown.position)}
          {shown.total === undefined ? null : ` of ${formatCount(shown.total)}`}
        </span>
      )}
    </>
  );
}

export interface UserPanelButtonsProps {
  readonly view: Exclude<View['kind'], 'read'>;
  readonly isNew: boolean;
  readonly name: string;
  readonly isBusy: boolean;
  readonly maySave: boolean;
  /** Undefined if there is nothing to create again. */
  readonly onCreateAgain: (() => void) | undefined;
  onClose(): void;
  /** Leaves this step. */
  onBack(): void;
}

/** Busy buttons have aria-disabled instead of disabled, because a disabled button loses the focus. */
export function UserPanelButtons(props: UserPanelButtonsProps) {
  const { view, isNew, name, isBusy, maySave, onCreateAgain, onClose, onBack } = props;
  const backRef = useRef<HTMLButtonElement>(null);
  // Focus the safe button.
  useLayoutEffect(() => {
    if (view === 'delete') backRef.current?.focus();
  }, [view]);
  if (view === 'gone') {
    return (
      <>
        <button type="button" class={onCreateAgain === undefined ? 'button primary' : 'button'} onClick={onClose}>
          Close
        </button>
        {onCreateAgain === undefined ? null : (
          <button type="button" class="button primary" onClick={onCreateAgain}>
            Create again…
          </button>
        )}
      </>
    );
  }
  const back = view === 'form' ? 'Cancel' : view === 'delete' ? 'Keep' : 'Back';
  return (
    <>
      <button ref={backRef} type="button" class="button" onClick={onBack}>
        {back}
      </button>
      {view === 'delete' ? (
        <button type="submit" class="button danger" aria-disabled={isBusy}>
          <span class="truncate">{isBusy ? 'Deleting…' : ['Delete ', <bdi key="name">{name}</bdi>]}</span>
        </button>
      ) : maySave ? (
        <button type="submit" class="button primary" aria-disabled={isBusy}>
          {isNew ? (isBusy ? 'Creating…' : 'Create') : isBusy ? 'Saving…' : 'Save'}
        </button>
      ) : null}
    </>
  );
}
