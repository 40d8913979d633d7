/**
 * Creates, edits and deletes one user. The server validates the fields, and the form shows its violations beside them.
 *
 * Never overwrites a change by somebody else, never creates two users from one form, and never discards edits without
 * asking.
 */
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { Conflict, Labels } from './conflict.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { useUnsavedGuard } from './unsaved-guard.js';
import { UserChanges } from './user-changes.js';
import { UserDetails } from './user-details.js';
import { DiscardQuestion, UserDialogButtons } from './user-dialog-buttons.js';
import { differences, fieldsOf } from './user-fields.js';
import { type UserForm, useUserForm } from './user-form.js';
import { UserFormFields } from './user-form-fields.js';
import { type DeleteView, type UserWrites, useUserWrites, type View } from './user-writes.js';

export interface UserDialogProps {
  readonly directory: Directory;
  /** The user to edit; undefined to create one. Later values are ignored. */
  readonly user?: User | undefined;
  /** The newest version of the user that the page has received, or 'gone' after it was deleted. */
  readonly latest?: User | 'gone' | undefined;
  onClose(): void;
  onSaved(user: User): void;
  onDeleted(user: User): void;
}

export function UserDialog({ directory, user, latest, onClose, onSaved, onDeleted }: UserDialogProps) {
  const maySave = directory.may(user === undefined ? 'createUser' : 'updateUser');
  const form = useUserForm(user, directory.caller.protectedAttributes);
  const { base, isDirty } = form;
  const [view, setView] = useState<View>({ kind: 'form' });
  const discard = useDiscardQuestion();
  const onBegin = discard.cancel;
  const writes = useUserWrites({ directory, form, view, setView, onBegin, onClose, onSaved, onDeleted });
  const { isBusy, failure } = writes;
  const bodyRef = useRef<HTMLDivElement>(null);

  // While this dialog deletes the user, the feed may be faster than the response.
  const isGone = view.kind === 'gone' || (latest === 'gone' && !isBusy);
  const shown: View = isGone && view.kind === 'delete' ? { kind: 'gone' } : view;
  const newer = latest === 'gone' ? undefined : newerThan(base, latest);
  const isUpdated = useNewestVersion(newer, view, form, writes);

  useUnsavedGuard(isDirty && !isGone, discard.ask);
  useStepFocus(bodyRef, form.failedSaves, view);

  const backToForm = () => writes.open({ kind: 'form' });
  const close = () => {
    if (isBusy) return;
    if (discard.isAsked) discard.keep();
    else if (shown.kind === 'delete') backToForm();
    else if (isDirty && !isGone) discard.askFromFocus();
    else onClose();
  };

  const { displayName: name = '' } = (shown.kind === 'delete' ? shown.user : base) ?? {};
  return (
    <Dialog
      title={titleOf(shown, base === undefined, name)}
      size={view.kind === 'conflict' ? 'wide' : 'narrow'}
      onClose={close}
      onSubmit={() => {
        if (isBusy || isGone) return;
        if (view.kind === 'form') {
          if (maySave) writes.save();
        } else if (view.kind === 'conflict') writes.saveResolved(view);
        else if (view.kind === 'delete') writes.erase(view);
      }}
      footer={
        discard.isAsked ? (
          <DiscardQuestion onKeep={discard.keep} onDiscard={onClose} />
        ) : (
          <UserDialogButtons
            view={isGone ? 'gone' : view.kind}
            isNew={base === undefined}
            name={name}
            isBusy={isBusy}
            maySave={maySave}
            mayDelete={directory.may('deleteUser')}
            onClose={close}
            onBack={backToForm}
            onDelete={() => {
              if (base !== undefined) writes.open({ kind: 'delete', user: base, changed: [] });
            }}
          />
        )
      }
    >
      <div ref={bodyRef} class="stack" aria-busy={isBusy}>
        <p class="notice danger" role="alert">
          {failure || form.violations['']}
        </p>
        {isGone ? <GoneNotice name={name} isDirty={isDirty} /> : null}
        {shown.kind === 'conflict' ? (
          <Conflict
            mine={shown.mine}
            theirs={fieldsOf(shown.theirs)}
            choices={shown.choices}
            openPath={shown.openPath}
            onChoose={(choices) => setView({ ...shown, choices, openPath: undefined })}
          />
        ) : shown.kind === 'delete' ? (
          <DeleteQuestion view={shown} />
        ) : (
          <>
            {isGone ? null : <ChangedByOthers newer={newer} isUpdated={isUpdated} form={form} writes={writes} />}
            <UserFormFields form={form} isReadOnly={!maySave} />
            {base === undefined ? null : <UserDetails user={base} />}
            {base === undefined || !directory.may('listUserChanges') ? null : (
              <UserChanges directory={directory} id={base.id} etag={base.etag} />
            )}
          </>
        )}
      </div>
    </Dialog>
  );
}

/** Returns the version if it is newer: the version from the feed may be older than the one that the dialog has read. */
function newerThan(base: User | undefined, latest: User | undefined): User | undefined {
  if (base === undefined || latest === undefined || latest.etag === base.etag) return undefined;
  return Number(latest.updateTime) >= Number(base.updateTime) ? latest : undefined;
}

/** Shows a newer version without asking if the form has no edits. Returns whether it did. */
function useNewestVersion(newer: User | undefined, view: View, { isDirty }: UserForm, writes: UserWrites): boolean {
  const [isUpdated, setUpdated] = useState(false);
  useEffect(() => {
    if (newer === undefined || isDirty || writes.isBusy || view.kind !== 'form') return;
    writes.showVersion(newer, fieldsOf(newer));
    setUpdated(true);
  }, [newer, isDirty, writes.isBusy, view.kind]);
  return isUpdated && !isDirty;
}

function useStepFocus(bodyRef: RefObject<HTMLDivElement | null>, failedSaves: number, view: View): void {
  // Focus the first invalid field, except when an error disappears, because the user is typing then.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid] button')?.focus();
  }, [failedSaves, view.kind === 'conflict' ? view.openPath : undefined]);
  // A new step starts with the focus on its first control.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [view.kind]);
}

/** The question whether to discard the edits. */
function useDiscardQuestion() {
  const [isAsked, setAsked] = useState(false);
  // The element to focus again if the user keeps editing.
  const askedFromRef = useRef<Element | null>(null);
  const cancel = () => setAsked(false);
  const ask = () => setAsked(true);
  return {
    isAsked,
    ask,
    cancel,
    askFromFocus() {
      askedFromRef.current = document.activeElement;
      ask();
    },
    keep() {
      cancel();
      if (askedFromRef.current instanceof HTMLElement) askedFromRef.current.focus();
    },
  };
}

function titleOf({ kind }: View, isNew: boolean, name: string) {
  if (kind === 'conflict') return 'Conflicting changes';
  if (kind === 'form' && isNew) return 'New user';
  if (kind !== 'delete') return name;
  return (
    <>
      Delete <bdi>{name}</bdi>?
    </>
  );
}

function GoneNotice({ name, isDirty }: { name: string; isDirty: boolean }) {
  return (
    <p class="notice" role="status">
      <bdi>{name}</bdi> is no longer in the directory, because somebody deleted this user.
      {isDirty ? ' Your changes could not be saved.' : ''}
    </p>
  );
}

function DeleteQuestion({ view: { user, changed } }: { view: DeleteView }) {
  return (
    <div>
      {changed.length === 0 ? null : (
        <p class="notice" role="status">
          Not deleted yet, because somebody has changed this user (<Labels paths={changed} />
          ).
        </p>
      )}
      <p>
        This erases{' '}
        <strong>
          <bdi>{user.displayName}</bdi>
        </strong>{' '}
        (<bdi>{user.email}</bdi>) and all data about this person. You cannot undo this.
      </p>
    </div>
  );
}

interface ChangedByOthersProps {
  /** A newer version by somebody else. */
  readonly newer: User | undefined;
  /** Whether the form shows a newer version than the one that was opened. */
  readonly isUpdated: boolean;
  readonly form: UserForm;
  readonly writes: UserWrites;
}

/** Says that somebody else has changed the user. */
function ChangedByOthers({ newer, isUpdated, form, writes }: ChangedByOthersProps) {
  const changed = newer === undefined || !form.isDirty ? [] : differences(form.baseFields, fieldsOf(newer));
  const review = () => {
    if (form.fields === undefined) form.showRowProblems();
    else if (form.base !== undefined && newer !== undefined) writes.openConflict(form.base, form.fields, newer);
  };
  return (
    <div role="status">
      {newer !== undefined && form.isDirty ? (
        <p class="notice">
          Somebody else has just changed {changed.length === 0 ? 'this user' : <Labels paths={changed} />}.{' '}
          <button type="button" class="button small" onClick={review}>
            Compare
          </button>
        </p>
      ) : isUpdated ? (
        <p class="notice">Somebody else has just changed this user. This is the newest version.</p>
      ) : null}
    </div>
  );
}
