/**
 * Checks a user before and after a write, for callers that may write only some users. The write happens only if the user
 * has not changed since the check.
 */
import { createLimiter } from '../concurrency/limiter.js';
import { decodeStoredUser } from '../database/columns.js';
import { accessDenied, etagMismatch, Fault, type FaultReason } from '../model/fault.js';
import { type AnyUser, isStored } from '../model/stored-user.js';
import { isRequiredVersion, type RequiredVersion, type User } from '../model/user.js';
import type { Directory } from './directory.js';
import { fieldsToWrite } from './update-user.js';

export interface WriteGuard {
  /**
   * Throws if the caller may not write this user, as it is in the directory. The returned function throws if the caller
   * may not change it to `after`.
   */
  admit(before: User): (after: User) => void;
  /** Whether the caller must not learn which users exist. Then a missing user is a forbidden one. */
  readonly hidesMissing: boolean;
}

export type GuardWrites = (guard: WriteGuard) => Directory;

// Waiting writes of all guarded users together. Further ones fail with OVERLOADED.
const queuedMax = 1000;

/** Returns a function that returns the directory for one call, whose writes must pass a guard. */
export function createWriteGuards(directory: Directory): GuardWrites {
  // Guarded writes of one user run one at a time. Otherwise, all but one would fail and read it again.
  const writes = createLimiter({ concurrencyMax: 1, queuedMax });

  return (guard) => ({
    ...directory,

    async createUser(...args) {
      const user = await found(directory.createUser(...args), guard);
      // A repeated call returns the user of the first call, which may have changed since.
      guard.admit(user);
      return user;
    },

    async batchCreateUsers(...args) {
      const users = await found(directory.batchCreateUsers(...args), guard);
      for (const user of users) guard.admit(decoded(user));
      return users;
    },

    updateUser(request, signal, ...rest) {
      const update = async (before: User) => {
        const admitResult = guard.admit(before);
        if (!isRequiredVersion(before, request)) throw etagMismatch();
        admitResult({ ...before, ...fieldsToWrite(request, before) });
        return found(directory.updateUser({ ...request, ...onlyVersion(before) }, signal, ...rest), guard);
      };
      return writes.run(request.id, () => writeUnchanged(directory, guard, request, signal, update), signal);
    },

    deleteUser(request, signal, ...rest) {
      const { allowMissing } = request;
      const remove = async (before: User) => {
        guard.admit(before);
        if (!isRequiredVersion(before, request)) throw etagMismatch();
        const deletion = { ...request, ...onlyVersion(before), allowMissing: false };
        await found(directory.deleteUser(deletion, signal, ...rest), guard);
      };
      const run = async () => {
        try {
          await writeUnchanged(directory, guard, request, signal, remove);
        } catch (error) {
          if (!(allowMissing && isFault(error, 'USER_NOT_FOUND'))) throw error;
        }
      };
      return writes.run(request.id, run, signal);
    },
  });
}

/** `version` is the one that the client requires. */
interface WrittenUser extends RequiredVersion {
  readonly id: string;
}

/** Reads the user, and writes only this version of it. Starts again if another write came first. */
async function writeUnchanged<T>(
  directory: Directory,
  guard: WriteGuard,
  { id, version }: WrittenUser,
  signal: AbortSignal,
  write: (before: User) => Promise<T>,
): Promise<T> {
  // An attempt fails only if another write has succeeded. The call's deadline ends the loop.
  for (;;) {
    const before = decoded(await found(directory.getUser(id, signal), guard));
    try {
      return await write(before);
    } catch (error) {
      if (version !== undefined || !isFault(error, 'ETAG_MISMATCH')) throw error;
    }
  }
}

function onlyVersion({ version, updateTime }: User): RequiredVersion {
  return { version, updateTime };
}

/** Hides that a user is missing, from a caller that must not learn it. */
async function found<T>(call: Promise<T>, { hidesMissing }: WriteGuard): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw hidesMissing && isFault(error, 'USER_NOT_FOUND') ? accessDenied() : error;
  }
}

function isFault(error: unknown, reason: FaultReason): boolean {
  return error instanceof Fault && error.reason === reason;
}

function decoded(user: AnyUser): User {
  return isStored(user) ? decodeStoredUser(user) : user;
}
