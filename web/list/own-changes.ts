/** Applies the user's own changes of one person to the list at once, and confirms them in a toast with an undo. */
import type { User } from '../../generated/users/v1/user.js';
import type { Directory } from '../calls/directory.js';
import { hasReason, isUnclear, readUser, updateUser } from '../calls/save-user.js';
import { showToast } from '../ui/toasts.js';
import { differences, fieldsOf } from '../users/user-fields.js';
import type { UserList } from './user-list.js';

export interface OwnChanges {
  created(user: User): void;
  updated(user: User, before: User): void;
  deleted(user: User): void;
}

/** `onUndone` is called after an update was undone. */
export function createOwnChanges(directory: Directory, list: UserList, onUndone: () => void): OwnChanges {
  return {
    created(user) {
      list.add(user);
      showToast({ text: `Created ${user.displayName}.`, tone: 'success' });
    },
    updated(user, before) {
      list.put(user);
      const undo = async () => {
        list.put(await revert(directory, user, before));
        onUndone();
      };
      showToast({ text: `Saved ${user.displayName}.`, tone: 'success', undo });
    },
    deleted(user) {
      list.drop(user.id);
      showToast({ text: `Deleted ${user.displayName}.`, tone: 'success' });
    },
  };
}

/** Restores the fields of `before` that differ, but only if nobody has changed the user since `saved`. */
async function revert(directory: Directory, saved: User, before: User): Promise<User> {
  const fields = fieldsOf(before);
  try {
    return await updateUser(directory, saved, fields);
  } catch (error) {
    if (hasReason(error, 'USER_NOT_FOUND')) throw new Error(`Somebody has deleted ${saved.displayName}.`);
    const isOld = hasReason(error, 'ETAG_MISMATCH');
    if (!isOld && !isUnclear(error)) throw error;
    // The update may have succeeded even if its response was lost.
    const now = await readUser(directory, saved.id);
    if (now !== undefined && differences(fieldsOf(now), fields).length === 0) return now;
    throw isOld ? new Error(`Somebody has changed ${saved.displayName} since then.`) : error;
  }
}
