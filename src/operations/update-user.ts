/**
 * Updates one user. Most updates are a single write. An update that depends on the current user reads it first, and
 * writes only if the user has not changed since (docs/decisions/0006).
 */
import { etagMismatch, Fault, invalid } from '../model/fault.js';
import { patchAttributes, type UpdateUserRequest } from '../model/update-request.js';
import { isRequiredVersion, type User, type UserFields } from '../model/user.js';
import type { UserUpdate } from '../store/update-users.js';

export interface UpdateUserSteps {
  /** Throws USER_NOT_FOUND. */
  read(id: string): Promise<User>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN, or the reason if the call was cancelled. */
  write(update: Omit<UserUpdate, 'author'>): Promise<User>;
}

/** Whether an update depends on the current user, and must read it before it writes. */
export function readsFirst({ patch, emailViolation }: UpdateUserRequest): boolean {
  return patch.attributeKeys !== undefined || emailViolation !== undefined;
}

export async function updateUser(request: UpdateUserRequest, { read, write }: UpdateUserSteps): Promise<User> {
  const { id, version, updateTime, patch } = request;
  if (!readsFirst(request)) return write({ id, version, updateTime, fields: patch });

  // An attempt fails only if another update has succeeded. The call's deadline ends the loop.
  for (;;) {
    const user = await read(id);
    if (!isRequiredVersion(user, request)) throw etagMismatch();
    try {
      const fields = fieldsToWrite(request, user);
      return await write({ id, version: user.version, updateTime: user.updateTime, fields });
    } catch (error) {
      if (version === undefined && error instanceof Fault && error.reason === 'ETAG_MISMATCH') continue;
      throw error;
    }
  }
}

/** Applies the patch to the current user. Throws INVALID_FIELD. */
export function fieldsToWrite(
  { patch, emailViolation, violations }: UpdateUserRequest,
  user: User,
): Partial<UserFields> {
  const { attributeKeys, ...fields } = patch;
  // The first contract allowed any text as an email, so an unchanged email is accepted.
  if (emailViolation !== undefined && patch.email !== user.email) throw invalid([...violations, emailViolation]);
  if (violations.length > 0) throw invalid(violations);
  return attributeKeys === undefined ? fields : { ...fields, attributes: patchAttributes(user, attributeKeys) };
}
