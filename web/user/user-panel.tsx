/**
 * One user in a panel: to be read first, and then edited in place or deleted. The server validates the fields, and the form
 * shows its violations beside them.
 *
 * Never overwrites a change by somebody else, never creates two users from one form, and never discards edits without
 * asking.
 */
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import type { Directory } from '../calls/directory.js';
import { withoutOverrides } from '../text/bidi.js';
import { Avatar } from '../ui/avatar.js';
import { DiscardQuestion, useDiscardQuestion } from '../ui/discard-question.js';
import { Panel } from '../ui/panel.js';
import { usePanelKeys } from '../ui/panel-keys.js';
import { showInvalid } from '../ui/show-invalid.js';
import { useUnsavedGuard } from '../ui/unsaved-guard.js';
import { fieldsOf, type JsonObject } from '../users/user-fields.js';
import { Conflict } from './conflict.js';
import { useUserCommands } from './user-commands.js';
import { type Draft, type UserForm, useUserForm } from './user-form.js';
import { UserFormFields } from './user-form-fields.js';
import { type Place, UserPanelButtons, UserPanelTools } from './user-panel-buttons.js';
import { ChangedByOthers, DeleteQuestion, GoneNotice } from './user-panel-notices.js';
import { UserProfile } from './user-profile.js';
import { type UserWrites, useUserWrites, type View } from './user-writes.js';

/** Set while the panel has edits: asks whether to discard them, and then leaves. */
export type LeaveGuard = { current: ((leave: () => void) => void) | undefined };

export interface UserPanelProps {
  readonly directory: Directory;
  /** The user to show; undefined to create one. Later values are ignored. */
  readonly user?: User | undefined;
  /** The first contents of the form of a new user. */
  readonly draft?: Draft | undefined;
  /** The attributes that a new user starts with. */
  readonly attributes?: JsonObject | undefined;
  /** The newest version of the user that the page has received, or 'gone' after it was deleted. */
  readonly latest?: User | 'gone' | undefined;
  /** Whether the feed delivers changes, so that the server can be reached. */
  readonly isLive: boolean;
  /** Undefined if the list does not contain the user. */
  readonly place?: Place | undefined;
  readonly leaveGuard: LeaveGuard;
  /** Whether the panel stays open if the page opens this hash. */
  isOpenAt(hash: string): boolean;
  onClose(): void;
  /** `before` is the version that was updated; undefined after a creation. */
  onSaved(user: User, before: User | undefined): void;
  onDeleted(user: User): void;
  /** Opens the form of a new user, with the edits of a user that somebody else has deleted. */
  onCreateAgain(draft: Draft): void;
}

export function UserPanel(props: UserPanelProps) {
  const { directory, user, place, leaveGuard, onClose } = props;
  const maySave = directory.may(user === undefined ? 'createUser' : 'updateUser');
  const mayDelete = directory.may('deleteUser');
  const bodyRef = useRef<HTMLDivElement>(null);
  const state = useUserPanel(props, bodyRef);
  const { form, view, writes, discard, isGone, newer, isUpdated, edit, back } = state;
  const { base } = form;
  const { isBusy, failure } = writes;
  const isDirty = form.isDirty && view.kind !== 'read' && !isGone;

  useUnsavedGuard(isDirty, {
    onLeave(open = onClose) {
      if (!isBusy) discard.ask(open);
    },
    staysOpenAt: props.isOpenAt,
  });
  useLeaveGuard(leaveGuard, isDirty, isBusy, discard.ask);
  useStepFocus(bodyRef, form.failedSaves, failure, view);
  useNoEdits(bodyRef, isBusy);

  const close = () => {
    if (isBusy) return;
    if (isDirty) discard.ask(onClose);
    else onClose();
  };
  const leaveStep = () => {
    if (isBusy) return;
    if (discard.isAsked) discard.keep();
    else if (isGone || view.kind === 'read' || (view.kind === 'form' && base === undefined)) close();
    else if (isDirty && view.kind !== 'delete') discard.ask(back);
    else back();
  };
  const isRead = view.kind === 'read' && !isGone;
  const startEdit = maySave && isRead ? edit : undefined;
  const startDeletion = isRead && mayDelete && base !== undefined ? () => state.askToDelete(base) : undefined;
  usePanelKeys({ e: startEdit, j: place?.onNext, k: place?.onPrevious });
  useUserCommands({ user: base, onEdit: startEdit, onDelete: startDeletion });

  const name = withoutOverrides(((view.kind === 'delete' ? view.user : base) ?? { displayName: '' }).displayName);
  const canCreateAgain = isGone && form.isDirty && directory.may('createUser');
  return (
    <Panel
      title={titleOf(view, base === undefined, name)}
      userId={base?.id}
      sign={base === undefined ? null : <Avatar user={base} />}
      onClose={close}
      onEscape={leaveStep}
      onSubmit={() => {
        if (isBusy || isGone) return;
        if (view.kind === 'form') {
          if (maySave) writes.save();
        } else if (view.kind === 'conflict') writes.saveResolved(view);
        else if (view.kind === 'delete') writes.erase(view);
      }}
      tools={<UserPanelTools place={place} onEdit={startEdit} onDelete={startDeletion} />}
      footer={
        discard.isAsked ? (
          <DiscardQuestion text="Discard your changes?" onKeep={discard.keep} onDiscard={discard.confirm} />
        ) : isGone || view.kind !== 'read' ? (
          <UserPanelButtons
            view={isGone || view.kind === 'read' ? 'gone' : view.kind}
            isNew={base === undefined}
            name={name}
            isBusy={isBusy}
            maySave={maySave}
            onCreateAgain={canCreateAgain ? () => props.onCreateAgain(draftOf(form)) : undefined}
            onClose={onClose}
            onBack={view.kind === 'conflict' ? () => writes.open({ kind: 'form' }) : leaveStep}
          />
        ) : undefined
      }
    >
      <div ref={bodyRef} class="stack" aria-busy={isBusy}>
        <p class="notice danger" role="alert">
          {failure || form.violations['']}
        </p>
        {isGone ? <GoneNotice name={name} isDirty={form.isDirty} /> : null}
        {view.kind === 'conflict' ? (
          <Conflict
            mine={view.mine}
            theirs={fieldsOf(view.theirs)}
            merge={view.merge}
            openPath={view.openPath}
            onChoose={(choices) => state.setView({ ...view, merge: { ...view.merge, choices }, openPath: undefined })}
          />
        ) : view.kind === 'delete' ? (
          <DeleteQuestion view={view} />
        ) : view.kind === 'form' ? (
          <>
            {isGone ? null : <ChangedByOthers newer={newer} isUpdated={isUpdated} form={form} writes={writes} />}
            <UserFormFields directory={directory} form={form} isReadOnly={!maySave} />
          </>
        ) : base === undefined ? null : (
          <UserProfile directory={directory} user={base} />
        )}
      </div>
    </Panel>
  );
}

/** Edits while the panel saves would be lost. A disabled field would lose the focus. The styles keep the pointer away. */
function useNoEdits(bodyRef: RefObject<HTMLDivElement | null>, isBusy: boolean): void {
  useLayoutEffect(() => {
    const body = bodyRef.current;
    if (!isBusy || body === null) return;
    const prevent = (event: Event) => {
      if (!(event instanceof KeyboardEvent) || (event.key !== 'Tab' && event.key !== 'Escape')) event.preventDefault();
    };
    const controller = new AbortController();
    for (const type of ['beforeinput', 'keydown']) body.addEventListener(type, prevent, controller);
    return () => controller.abort();
  }, [isBusy]);
}

/** The state of the panel, and the steps from one view to another. */
function useUserPanel(
  { directory, user, draft, attributes, latest, isLive, onSaved, onDeleted }: UserPanelProps,
  bodyRef: RefObject<HTMLDivElement | null>,
) {
  const form = useUserForm(user, directory.caller.protectedAttributes, draft, attributes);
  const [view, setView] = useState<View>({ kind: user === undefined ? 'form' : 'read' });
  const discard = useDiscardQuestion(bodyRef);
  const writes = useUserWrites({
    directory,
    form,
    view,
    isLive,
    setView,
    onBegin: discard.cancel,
    onSaved(saved, before) {
      if (before !== undefined) {
        form.show(saved, fieldsOf(saved));
        setView({ kind: 'read' });
      }
      if (saved !== before) onSaved(saved, before);
    },
    onDeleted,
  });
  // While this panel deletes the user, the feed may be faster than the response.
  const isGone = view.kind === 'gone' || (latest === 'gone' && !writes.isBusy);
  const newer = latest === 'gone' ? undefined : newerThan(form.base, latest);
  const isUpdated = useNewestVersion(newer, view, form, writes);
  return {
    form,
    view: isGone && view.kind === 'delete' ? ({ kind: 'gone' } as const) : view,
    setView,
    discard,
    writes,
    isGone,
    newer,
    isUpdated,
    edit: () => writes.open({ kind: 'form' }),
    askToDelete: (base: User) => writes.open({ kind: 'delete', user: base, changed: [] }),
    /** Returns to the user to be read, without the edits. */
    back() {
      const shown = view.kind === 'conflict' ? view.theirs : view.kind === 'delete' ? view.user : form.base;
      if (shown !== undefined) writes.showVersion(shown, fieldsOf(shown));
      writes.open({ kind: 'read' });
    },
  };
}

/** Prevents other parts of the page from replacing the panel while it has edits or is saving them. */
function useLeaveGuard(guard: LeaveGuard, isDirty: boolean, isBusy: boolean, ask: (then: () => void) => void): void {
  useLayoutEffect(() => {
    guard.current = isBusy ? () => {} : isDirty ? ask : undefined;
    return () => {
      guard.current = undefined;
    };
  });
}

/** Returns the version if it is newer: the version from the feed may be older than the one that the panel has read. */
function newerThan(base: User | undefined, latest: User | undefined): User | undefined {
  if (base === undefined || latest === undefined || latest.etag === base.etag) return undefined;
  return Number(latest.updateTime) >= Number(base.updateTime) ? latest : undefined;
}

/** Shows a newer version without asking if the form has no edits. Returns whether it did while the form was open. */
function useNewestVersion(newer: User | undefined, view: View, { isDirty }: UserForm, writes: UserWrites): boolean {
  const [isUpdated, setUpdated] = useState(false);
  useLayoutEffect(() => {
    if (view.kind === 'read') setUpdated(false);
    if (newer === undefined || isDirty || writes.isBusy || (view.kind !== 'form' && view.kind !== 'read')) return;
    writes.showVersion(newer, fieldsOf(newer));
    setUpdated(view.kind === 'form');
  }, [newer, isDirty, writes.isBusy, view.kind]);
  return isUpdated && !isDirty;
}

function useStepFocus(
  bodyRef: RefObject<HTMLDivElement | null>,
  failedSaves: number,
  failure: string,
  view: View,
): void {
  // Focus the first invalid field, except when an error disappears, because the user is typing then.
  useLayoutEffect(
    () => showInvalid(bodyRef.current),
    [failedSaves, view.kind === 'conflict' ? view.openPath : undefined],
  );
  useLayoutEffect(() => {
    if (failure !== '') bodyRef.current?.querySelector('.notice.danger')?.scrollIntoView({ block: 'nearest' });
  }, [failure]);
  // A new step starts with the focus on its first control, or on the name.
  const before = useRef(view.kind);
  useLayoutEffect(() => {
    if (before.current === view.kind) return;
    before.current = view.kind;
    const heading = bodyRef.current?.parentElement?.querySelector('h2');
    const first = bodyRef.current?.querySelector<HTMLElement>('[data-first]') ?? heading;
    // The question before deleting focuses its safe button.
    if (view.kind !== 'delete') first?.focus();
  }, [view.kind]);
}

/** A new user cannot get the attributes that the caller may not write. */
function draftOf({ texts, rows, protectedKeys }: UserForm): Draft {
  return { texts, rows: rows.filter(({ key }) => !protectedKeys.has(key)) };
}

function titleOf(view: View, isNew: boolean, name: string) {
  const { kind } = view;
  if (kind === 'conflict') return Object.keys(view.merge.choices).length > 0 ? 'Conflicting changes' : 'Merged changes';
  if (kind === 'form' && isNew) return 'New user';
  if (kind !== 'delete') return name;
  return (
    <>
      Delete <bdi>{name}</bdi>?
    </>
  );
}
