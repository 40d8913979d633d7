/** The attributes that occur in the users of an action, to offer them, and the type that most of their values have. */
import { useEffect, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { type AttributeType, attributeTypeOf, sortedByKey } from './attributes.js';
import { type BulkTarget, readTarget } from './bulk-target.js';
import type { Directory } from './directory.js';
import { readNewestUsers } from './newest-users.js';

/** Sorted by key. The type is `null` if all values are null. */
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
): KnownAttributes | undefined {
  const read = async (signal: AbortSignal) => {
    const newest = includesNewest ? readNewestUsers(directory, signal) : [];
    return (await Promise.all([firstUsers(directory, target, signal), newest])).flat();
  };
  return useKnown(read, [directory, target, includesNewest]);
}

/** Reads the directory's newest users as soon as their attributes are needed. Ignores failures, as above. */
export function useNewestAttributes(directory: Directory, isNeeded: boolean): KnownAttributes | undefined {
  const isRead = isNeeded && directory.may('listUsers');
  const read = (signal: AbortSignal) => readNewestUsers(directory, signal);
  return useKnown(isRead ? read : undefined, [directory, isRead]);
}

/** Reads again if one of `inputs` changes. */
function useKnown(
  read: ((signal: AbortSignal) => Promise<readonly User[]>) | undefined,
  inputs: readonly unknown[],
): KnownAttributes | undefined {
  const [known, setKnown] = useState<KnownAttributes>();
  useEffect(() => {
    if (read === undefined) return;
    const controller = new AbortController();
    read(controller.signal).then(
      (users) => setKnown(knownOf(users)),
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

function knownOf(users: readonly User[]): KnownAttributes {
  return new Map(countTypes(users).map(([key, ofKey]) => [key, mostFrequent(ofKey)]));
}

/** The same attributes. Those that most users have are the first. */
export function frequentAttributes(users: readonly User[]): KnownAttributes {
  const total = (ofKey: ReadonlyMap<AttributeType, number>) =>
    [...ofKey.values()].reduce((sum, count) => sum + count, 0);
  const sorted = countTypes(users).sort(([, a], [, b]) => total(b) - total(a));
  return new Map(sorted.map(([key, ofKey]) => [key, mostFrequent(ofKey)]));
}

/** Counts the types of each key's values. Sorted by key. */
function countTypes(users: readonly User[]): [string, ReadonlyMap<AttributeType, number>][] {
  const counts = new Map<string, Map<AttributeType, number>>();
  for (const [key, value] of users.flatMap(({ attributes }) => Object.entries(attributes ?? {}))) {
    const ofKey = counts.get(key) ?? new Map<AttributeType, number>();
    counts.set(key, ofKey);
    const type = attributeTypeOf(value);
    // A value counts more than its absence.
    ofKey.set(type, (ofKey.get(type) ?? 0) + (type === 'null' ? 0 : 1));
  }
  return sortedByKey(Object.fromEntries(counts));
}

function mostFrequent(counts: ReadonlyMap<AttributeType, number>): AttributeType {
  const [[type] = ['text' as const]] = [...counts].sort(([, a], [, b]) => b - a);
  return type;
}
