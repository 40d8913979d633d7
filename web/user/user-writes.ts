/** Saves and deletes the user of a panel. Shows a conflict instead of overwriting somebody else's change. */
import { useLayoutEffect, useMemo, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import {
  createCreator,
  deleteUser,
  describeFailure,
  hasReason,
  isUnclear,
  readUser,
  updateUser,
} from '../calls/save-user.js';
import { differences, fieldsOf, type UserFields } from '../users/user-fields.js';
import { type Merge, mergeOf, resolve } from './conflict.js';
import type { UserForm } from './user-form.js';

/** The views of the panel. */
export type View = ReadView | FormView | ConflictView | DeleteView | GoneView;

interface ReadView {
  readonly kind: 'read';
}

interface FormView {
  readonly kind: 'form';
}

export interface ConflictView {
  readonly kind: 'conflict';
  readonly mine: UserFields;
  readonly theirs: User;
  readonly merge: Merge;
  readonly openPath?: string | undefined;
}

export interface DeleteView {
  readonly kind: 'delete';
  /** The version to delete. */
  readonly user: User;
  /** The fields that somebody else has changed since the user decided. */
  readonly changed: readonly string[];
}

interface GoneView {
  readonly kind: 'gone';
}

export interface UserWrites {
  /** Why the last write failed; empty if it did not. */
  readonly failure: string;
  readonly isBusy: boolean;
  /** Shows another view, or a version of the user in the form, without the failure. */
  open(view: View): void;
  showVersion(from: User, fields: UserFields): void;
  /** Shows the differences between the edited fields, which started from `read`, and the current user. */
  openConflict(read: User, fields: UserFields, theirs: User): void;
  save(): void;
  saveResolved(view: ConflictView): void;
  erase(view: DeleteView): void;
}

export interface UserWritesOptions {
  readonly directory: Directory;
  readonly form: UserForm;
  readonly view: View;
  /** Whether the server can be reached, as far as the page knows. */
  readonly isLive: boolean;
  setView(view: View): void;
  /** Called when a write begins or a conflict is shown. */
  onBegin(): void;
  /** Called with the saved version and with the one before it. Without edits, they are the same. */
  onSaved(user: User, before: User | undefined): void;
  onDeleted(user: User): void;
}

export function useUserWrites(options: UserWritesOptions): UserWrites {
  const { directory, form, view, isLive, setView, onBegin, onSaved, onDeleted } = options;
  const { base } = form;
  const { isBusy, failure, setFailure, whileBusy } = useBusy(isLive, onBegin, (error) => {
    if (!hasReason(error, 'USER_NOT_FOUND') || base === undefined) return sayFailure(error, view.kind === 'delete');
    setView({ kind: 'gone' });
    return '';
  });
  const create = useMemo(() => createCreator(directory), [directory]);

  function showVersion(from: User, fields: UserFields): void {
    setFailure('');
    form.show(from, fields);
  }

  function openConflict(read: User, fields: UserFields, theirs: User): void {
    onBegin();
    const merge = mergeOf(fieldsOf(read), fields, fieldsOf(theirs), form.protectedKeys);
    setView({ kind: 'conflict', mine: fields, theirs, merge });
  }

  /** Continues with the version that is now in the directory. */
  async function resolveConflict(read: User, fields: UserFields): Promise<void> {
    const theirs = await readUser(directory, read.id);
    if (theirs === undefined) setView({ kind: 'gone' });
    // This may be the panel's own update whose response was lost.
    else if (differences(fields, fieldsOf(theirs)).length === 0) onSaved(theirs, read);
    else openConflict(read, fields, theirs);
  }

  async function saveFields(fields: UserFields): Promise<void> {
    try {
      onSaved(base === undefined ? await create(fields) : await updateUser(directory, base, fields), base);
    } catch (error) {
      if (base !== undefined && hasReason(error, 'ETAG_MISMATCH')) await resolveConflict(base, fields);
      else if (!form.showViolations(error)) throw error;
    }
  }

  async function saveOver(theirs: User, fields: UserFields): Promise<void> {
    try {
      onSaved(await updateUser(directory, theirs, fields), theirs);
    } catch (error) {
      if (hasReason(error, 'ETAG_MISMATCH')) return await resolveConflict(theirs, fields);
      // All other errors concern fields, so show the form.
      showVersion(theirs, fields);
      setView({ kind: 'form' });
      if (!form.showViolations(error)) throw error;
    }
  }

  async function erase({ user }: DeleteView): Promise<void> {
    try {
      await deleteUser(directory, user);
      onDeleted(user);
    } catch (error) {
      if (!hasReason(error, 'ETAG_MISMATCH')) throw error;
      const theirs = await readUser(directory, user.id);
      if (theirs === undefined) return onDeleted(user);
      setView({ kind: 'delete', user: theirs, changed: differences(fieldsOf(user), fieldsOf(theirs)) });
    }
  }

  return {
    failure,
    isBusy,
    showVersion,
    openConflict,
    open(next) {
      setFailure('');
      setView(next);
    },
    save() {
      const { fields } = form;
      if (fields === undefined) {
        form.showProblems();
        return;
      }
      form.clearViolations();
      if (base !== undefined && !form.isDirty) onSaved(base, base);
      else whileBusy(() => saveFields(fields));
    },
    saveResolved({ mine, theirs, merge }) {
      const resolved = resolve(merge, mine);
      if ('open' in resolved) setView({ kind: 'conflict', mine, theirs, merge, openPath: resolved.open });
      else whileBusy(() => saveOver(theirs, resolved.fields));
    },
    erase: (deleteView) => whileBusy(() => erase(deleteView)),
  };
}

/** Runs one write at a time. `describe` returns the text for its error. */
function useBusy(isLive: boolean, onBegin: () => void, describe: (error: unknown) => string) {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState('');
  const [isUnreachable, setUnreachable] = useState(false);
  // The text is no longer true after the connection is back.
  useLayoutEffect(() => {
    if (isLive && isUnreachable && !isBusy) setFailure('');
  }, [isLive]);
  async function run(work: () => Promise<void>): Promise<void> {
    setBusy(true);
    setFailure('');
    onBegin();
    try {
      await work();
    } catch (error) {
      setFailure(describe(error));
      setUnreachable(error instanceof CallError && error.code === 'UNAVAILABLE');
    } finally {
      setBusy(false);
    }
  }
  const whileBusy = (work: () => Promise<void>) => {
    if (!isBusy) void run(work);
  };
  return { isBusy, failure, setFailure, whileBusy };
}

function sayFailure(error: unknown, isDelete: boolean): string {
  return `${describeFailure(error)} ${isDelete ? sayNotDeleted(error) : 'Your input is still here.'}`;
}

function sayNotDeleted(error: unknown): string {
  return isUnclear(error) ? 'The user may or may not have been deleted. Try again.' : 'The user was not deleted.';
}
