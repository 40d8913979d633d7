/** Reads which attributes occur in the users of an action or of the directory, to offer them. */
import { useEffect, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { type BulkTarget, readTarget } from '../calls/bulk-target.js';
import type { Directory } from '../calls/directory.js';
import { readSampledUsers } from '../calls/sampled-users.js';
import type { AttributeType } from '../users/attributes.js';
import { type UsedAttributes, usedAttributes } from '../users/used-attributes.js';

/** The type is `null` if all values are null. */
export type KnownAttributes = ReadonlyMap<string, AttributeType>;

export interface KnownAttributesOptions {
  /** Whether the attributes of a sample of the directory are known, too. Those of the action's users may be rare. */
  readonly includesSample?: boolean;
}

/**
 * Returns undefined until they are known. Reads only the first users, so rare keys may be missing. Ignores failures, because
 * the action will have them too.
 */
export function useAttributeTypes(
  directory: Directory,
  target: BulkTarget,
  { includesSample = false }: KnownAttributesOptions = {},
): UsedAttributes | undefined {
  const read = async (signal: AbortSignal) => {
    const sampled = includesSample ? readSampledUsers(directory, signal) : [];
    const users = (await Promise.all([firstUsers(directory, target, signal), sampled])).flat();
    // Each user once.
    return [...new Map(users.map((user) => [user.id, user])).values()];
  };
  return useKnown(read, [directory, target, includesSample]);
}

/**
 * Reads a sample of the directory's users, except one, as soon as their attributes are needed. Ignores failures, because they are
 * only offered.
 */
export function useSampledAttributes(
  directory: Directory,
  isNeeded: boolean,
  exceptId: string | undefined,
): UsedAttributes | undefined {
  const isRead = isNeeded && directory.may('listUsers');
  const read = async (signal: AbortSignal) =>
    (await readSampledUsers(directory, signal)).filter(({ id }) => id !== exceptId);
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
      (users) => !controller.signal.aborted && setKnown(usedAttributes(users)),
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
