/** Reads which attributes occur in the users of an action or of the directory, to offer them. */
import { useEffect, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import type { AttributeType } from './attributes.js';
import { type BulkTarget, readTarget } from './bulk-target.js';
import type { Directory } from './directory.js';
import { readNewestUsers } from './newest-users.js';
import { type UsedAttributes, usedAttributes } from './used-attributes.js';

/** The type is `null` if all values are null. */
export type KnownAttributes = ReadonlyMap<string, AttributeType>;

export interface KnownAttributesOptions {
  /** Whether the attributes of the directory's newest users are known, too. Those of the action's users may be rare. */
  readonly includesNewest?: boolean;
}

/**
 * Returns undefined until they are known. Reads only the first users, so rare keys may be missing. Ignores failures, because
 * the action will have them too.
 */
export function useAttributeTypes(
  directory: Directory,
  target: BulkTarget,
  { includesNewest = false }: KnownAttributesOptions = {},
): UsedAttributes | undefined {
  const read = async (signal: AbortSignal) => {
    const newest = includesNewest ? readNewestUsers(directory, signal) : [];
    const users = (await Promise.all([firstUsers(directory, target, signal), newest])).flat();
    // Each user once.
    return [...new Map(users.map((user) => [user.id, user])).values()];
  };
  return useKnown(read, [directory, target, includesNewest]);
}

/**
 * Reads the directory's newest users, except one, as soon as their attributes are needed. Ignores failures, because they are
 * only offered.
 */
export function useNewestAttributes(
  directory: Directory,
  isNeeded: boolean,
  exceptId: string | undefined,
): UsedAttributes | undefined {
  const isRead = isNeeded && directory.may('listUsers');
  const read = async (signal: AbortSignal) =>
    (await readNewestUsers(directory, signal)).filter(({ id }) => id !== exceptId);
  return useKnown(isRead ? read : undefined, [directory, isRead, exceptId]);
}

/** Reads again if one of `inputs` changes. */
function useKnown(
  read: ((signal: AbortSignal) => Promise<readonly User[]>) | undefined,
  inputs: readonly unknown[],
): UsedAttributes | undefined {
  const [known, setKnown] = useState<UsedAttributes>();
  useEffect(() => {
    if (read === undefined) return;
    const controller = new AbortController();
    read(controller.signal).then(
      (users) => setKnown(usedAttributes(users)),
      () => {},
    );
    return () => controller.abort();
  }, inputs);
  return known;
}

async function firstUsers(directory: Directory, target: BulkTarget, signal: AbortSignal): Promise<readonly User[]> {
  for await (const users of readTarget(directory, target, { signal })) return users;
  return [];
}

/** The attributes that most users have are the first. Those that a smaller share of the users have are left out. */
export function frequentAttributes(users: readonly User[], shareMin = 0): KnownAttributes {
  const frequent = [...usedAttributes(users)].filter(([, { count }]) => count >= shareMin * users.length);
  const sorted = frequent.sort(([, a], [, b]) => b.count - a.count);
  return new Map(sorted.map(([key, { type }]) => [key, type]));
}
