/** The writes of actions on many users. Each can be repeated after a lost answer, because it has the user's etag. */
import type { User } from '../../generated/users/v1/user.js';
import { attributePath } from '../../src/fields.js';
import type { KnownUser } from '../calls/bulk-target.js';
import type { Directory } from '../calls/directory.js';
import { type RetryOptions, retried } from '../calls/retry.js';
import { hasReason, readUser } from '../calls/save-user.js';
import { isEqual, type JsonValue } from '../users/user-fields.js';
import { type Outcome, UserFailure } from './bulk-run.js';

export interface AttributeChange {
  readonly key: string;
  /** Undefined removes the attribute. */
  readonly value: JsonValue | undefined;
}

/** A changed user, with the value that an undo restores. */
export interface Changed {
  /** As after the change. */
  readonly user: User;
  readonly before: JsonValue | undefined;
}

const gone = 'The user no longer exists.';
// Each conflict is a change by somebody else in the moment between a read and a write.
const conflictsMax = 5;

export function attributeOf({ attributes = {} }: User, key: string): JsonValue | undefined {
  return Object.hasOwn(attributes, key) ? (attributes[key] as JsonValue) : undefined;
}

/**
 * Changes one attribute. Changes by others to other fields are kept. If somebody else has changed the same attribute since
 * `user` was read, it fails.
 */
export async function writeAttribute(
  directory: Directory,
  user: User,
  { key, value }: AttributeChange,
  { onChanged, ...options }: RetryOptions & { onChanged(changed: Changed): void },
): Promise<Outcome> {
  const before = attributeOf(user, key);
  if (isEqual(before, value)) return 'unchanged';
  let current = user;
  for (let conflicts = 0; ; conflicts++) {
    const { id, etag } = current;
    const attributes = value === undefined ? {} : Object.fromEntries([[key, value]]);
    const request = { user: { id, etag, attributes }, updateMask: [attributePath(key)] };
    try {
      const { user: after } = await retried(() => directory.updateUser(request), options);
      if (after !== undefined) onChanged({ user: after, before });
      return 'changed';
    } catch (error) {
      if (hasReason(error, 'USER_NOT_FOUND')) throw new UserFailure(gone);
      if (!hasReason(error, 'ETAG_MISMATCH') || conflicts >= conflictsMax) throw error;
    }
    const read = await retried(() => readUser(directory, id), options);
    if (read === undefined) throw new UserFailure(gone);
    const now = attributeOf(read, key);
    if (isEqual(now, value)) {
      // Most likely the answer to the first try was lost.
      onChanged({ user: read, before });
      return 'changed';
    }
    if (!isEqual(now, before)) throw new UserFailure('Somebody else has changed this attribute meanwhile.');
    current = read;
  }
}

/**
 * Returns 'unchanged' if somebody else had deleted the user. Fails if somebody has changed the user since the etag was read.
 */
export async function deleteKnown(
  directory: Directory,
  { id, etag }: KnownUser,
  options: RetryOptions,
): Promise<Outcome> {
  let calls = 0;
  const remove = () => {
    calls++;
    return directory.deleteUser({ id, etag });
  };
  try {
    await retried(remove, options);
    return 'changed';
  } catch (error) {
    // If it was called again, most likely the answer to the first call was lost.
    if (hasReason(error, 'USER_NOT_FOUND')) return calls === 1 ? 'unchanged' : 'changed';
    if (!hasReason(error, 'ETAG_MISMATCH')) throw error;
    throw new UserFailure('Not deleted, because somebody has changed this user meanwhile.');
  }
}
