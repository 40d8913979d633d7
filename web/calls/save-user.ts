/**
 * Writes one user. Even if a connection breaks, no write happens twice, and no write overwrites another person's
 * change. A failed call is not retried automatically, because the user decides.
 */
import type { User } from '../../generated/users/v1/user.js';
import type { StatusName } from '../../src/client/error-details.js';
import { differences, fieldsOf, noFields, type UserFields, withValues } from '../users/user-fields.js';
import { CallError } from './call-error.js';
import type { Directory } from './directory.js';

// After these errors the call may have succeeded, because it may be that only its response was lost.
const unclearCodes: readonly StatusName[] = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'UNKNOWN', 'INTERNAL'];

export function isUnclear(error: unknown): boolean {
  return error instanceof CallError && unclearCodes.includes(error.code);
}

export function hasReason(error: unknown, reason: string): boolean {
  return error instanceof CallError && error.reason === reason;
}

/**
 * Returns a UUID version 4. Browsers have no crypto.randomUUID on pages loaded over plain HTTP from another machine.
 */
export function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const digits = Array.from(bytes, (byte, at) => {
    const marked = at === 6 ? (byte & 0x0f) | 0x40 : at === 8 ? (byte & 0x3f) | 0x80 : byte;
    return marked.toString(16).padStart(2, '0');
  }).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The returned function creates at most one user, even if it is called again with other fields after a failure. */
export function createCreator(directory: Directory): (fields: UserFields) => Promise<User> {
  const requestId = newRequestId();
  // The fields of failed calls, each of which may have created the user.
  const unclear: UserFields[] = [];

  async function create(fields: UserFields): Promise<User> {
    const { user } = await directory.createUser({ user: fields, requestId });
    return present(user);
  }

  return async (fields) => {
    try {
      return await create(fields);
    } catch (error) {
      if (isUnclear(error)) unclear.push(fields);
      if (!hasReason(error, 'REQUEST_ID_REUSED')) throw error;
      for (const earlier of unclear) {
        try {
          return await updateUser(directory, await create(earlier), fields);
        } catch (again) {
          if (!hasReason(again, 'REQUEST_ID_REUSED')) throw again;
        }
      }
      throw error;
    }
  };
}

/** Sends the fields that differ from `read`. Throws ETAG_MISMATCH if the user has changed since then. */
export async function updateUser(directory: Directory, read: User, fields: UserFields): Promise<User> {
  const updateMask = differences(fieldsOf(read), fields);
  if (updateMask.length === 0) return read;
  const changed = withValues(noFields, fields, updateMask);
  const { user } = await directory.updateUser({ user: { ...changed, id: read.id, etag: read.etag }, updateMask });
  return present(user);
}

/** Returns undefined if no user has the id. */
export async function readUser(directory: Directory, id: string): Promise<User | undefined> {
  try {
    return present((await directory.getUser({ id })).user);
  } catch (error) {
    // If the text is not an id, no user has it.
    if (hasReason(error, 'USER_NOT_FOUND') || hasReason(error, 'INVALID_FIELD')) return undefined;
    throw error;
  }
}

/** Succeeds even if the user no longer exists. Throws ETAG_MISMATCH if the user has changed since it was read. */
export async function deleteUser(directory: Directory, { id, etag }: User): Promise<void> {
  try {
    await directory.deleteUser({ id, etag });
  } catch (error) {
    if (!hasReason(error, 'USER_NOT_FOUND')) throw error;
  }
}

function present(user: User | undefined): User {
  if (user === undefined) throw new CallError('INTERNAL', 'The server’s response contains no user.');
  return user;
}

/** Describes the error for the user in one or two sentences. */
export function describeFailure(error: unknown): string {
  return error instanceof CallError ? sentence(error.message) : 'Something unexpected went wrong on this page.';
}

function sentence(text: string): string {
  const capital = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
