/**
 * The one codec between the generated message and the model's user.
 *
 * Requests need none: the model's parsers take the generated messages as they are.
 */
import type { User as UserMessage } from '../../generated/users/v1/user.js';
import { displayName, etagOf, type User } from '../model/user.js';

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
