/**
 * The one codec between the generated message and the model's user.
 *
 * Requests need none: the model's parsers take the generated messages as they are.
 */
import { type UserChange, UserChange_Type, User as UserMessage } from '../../generated/users/v1/user.js';
import type { WatchUsersResponse } from '../../generated/users/v1/user_service.js';
import { displayName, etagOf, type User } from '../model/user.js';
import type { WatchedChange, WatchMessage } from '../operations/watch-users.js';

export function userMessage(user: User): UserMessage {
  return {
    id: user.id,
    firstName: user.firstName,
    lastName: user.lastName,
    email: user.email,
    profileImageUrl: user.profileImageUrl,
    attributes: Object.keys(user.attributes).length === 0 ? undefined : user.attributes,
    displayName: displayName(user),
    createTime: user.createTime,
    updateTime: user.updateTime,
    etag: etagOf(user),
  };
}

const changeTypes: Record<WatchedChange['type'], UserChange_Type> = {
  existing: UserChange_Type.TYPE_EXISTING,
  created: UserChange_Type.TYPE_CREATED,
  updated: UserChange_Type.TYPE_UPDATED,
  deleted: UserChange_Type.TYPE_DELETED,
};

const watchMessages = new WeakMap<WatchMessage, WatchUsersResponse>();

/** Made once for all watchers who get the same message. */
export function watchMessage(message: WatchMessage): WatchUsersResponse {
  const known = watchMessages.get(message);
  if (known !== undefined) return known;
  const { changes, resumeToken, caughtUp } = message;
  const made = { changes: changes.map(changeMessage), resumeToken, caughtUp };
  watchMessages.set(message, made);
  return made;
}

function changeMessage({ type, userId, user, changeTime }: WatchedChange): UserChange {
  return {
    type: changeTypes[type],
    user: user === undefined ? UserMessage.fromPartial({ id: userId }) : userMessage(user),
    changeTime,
  };
}
