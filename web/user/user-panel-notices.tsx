/** Notices in a user's panel: about a deleted user, before deleting one, and about changes by others. */
import type { User } from '../../generated/users/v1/user.js';
import { BreakableText } from '../ui/breakable-text.js';
import { differences, fieldsOf } from '../users/user-fields.js';
import { Labels } from './conflict.js';
import type { UserForm } from './user-form.js';
import type { DeleteView, UserWrites } from './user-writes.js';

export function GoneNotice({ name, isDirty }: { name: string; isDirty: boolean }) {
  return (
    <p class="notice" role="status">
      <span>
        <bdi>{name}</bdi> is no longer in the directory, because somebody deleted this user.
        {isDirty ? ' Your changes were not saved.' : ''}
      </span>
    </p>
  );
}

export function DeleteQuestion({ view: { user, changed } }: { view: DeleteView }) {
  return (
    <div>
      {changed.length === 0 ? null : (
        <p class="notice" role="status">
          <span>
            Not deleted yet, because somebody has changed this user (<Labels paths={changed} />
            ).
          </span>
        </p>
      )}
      <p>
        This erases{' '}
        <strong>
          <bdi>{user.displayName}</bdi>
        </strong>{' '}
        (
        <bdi>
          <BreakableText text={user.email} />
        </bdi>
        ) and all data about this person. You cannot undo this.
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
export function ChangedByOthers({ newer, isUpdated, form, writes }: ChangedByOthersProps) {
  const changed = newer === undefined || !form.isDirty ? [] : differences(form.baseFields, fieldsOf(newer));
  const review = () => {
    if (form.fields === undefined) form.showProblems();
    else if (form.base !== undefined && newer !== undefined) writes.openConflict(form.base, form.fields, newer);
  };
  return (
    <div role="status">
      {newer !== undefined && form.isDirty ? (
        <p class="notice">
          {/* One element, because the notice puts a space between its parts. */}
          <span>Somebody else has just changed {changed.length === 0 ? 'this user' : <Labels paths={changed} />}.</span>
          <button type="button" class="button small" onClick={review}>
            Compare
          </button>
        </p>
      ) : isUpdated ? (
        <p class="notice">This user has just been changed. The form shows the newest version.</p>
      ) : null}
    </div>
  );
}
