/**
 * Updates one user. Most updates are a single write; one that depends on what the user is now reads first, and writes
 * only where nobody came in between.
 */
import { etagMismatch, Fault, invalid } from '../model/fault.js';
import { patchAttributes, type UpdateUserRequest } from '../model/requests.js';
import type { User, UserFields } from '../model/user.js';
import type { UserUpdate } from '../store/users.js';

export interface UpdateUserSteps {
  /** Throws USER_NOT_FOUND. */
  read(id: string): Promise<User>;
  /** Throws USER_NOT_FOUND, ETAG_MISMATCH, EMAIL_TAKEN, or when the caller has gone. */
  write(update: UserUpdate): Promise<User>;
}

/** Whether an update depends on what the user is now. */
export function readsFirst({ patch, emailRefusal }: UpdateUserRequest): boolean {
  return patch.attributeKeys !== undefined || emailRefusal !== undefined;
}

export async function updateUser(request: UpdateUserRequest, { read, write }: UpdateUserSteps): Promise<User> {
  const { id, version, patch } = request;
  if (!readsFirst(request)) return write({ id, version, fields: patch });

  // Every turn that fails has let somebody else's update through; the caller's deadline ends it.
  for (;;) {
    const user = await read(id);
    if (version !== undefined && version !== user.version) throw etagMismatch();
    try {
      return await write({ id, version: user.version, fields: resolve(request, user) });
    } catch (error) {
      if (version === undefined && error instanceof Fault && error.reason === 'ETAG_MISMATCH') continue;
      throw error;
    }
  }
}

/** What the patch comes to for the user as it is now. Throws INVALID_FIELD. */
function resolve({ patch, emailRefusal, violations }: UpdateUserRequest, user: User): Partial<UserFields> {
  const { attributeKeys, ...fields } = patch;
  // An email that came through the first contract may be any text, and may stay.
  if (emailRefusal !== undefined && patch.email !== user.email) throw invalid([...violations, emailRefusal]);
  if (violations.length > 0) throw invalid(violations);
  return attributeKeys === undefined ? fields : { ...fields, attributes: patchAttributes(user, attributeKeys) };
}
