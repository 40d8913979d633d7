/** The attributes that occur in the users of an action, to offer them, and the type that most of their values have. */
import { useEffect, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import type { ListUsersResponse } from '../generated/users/v1/user_service.js';
import { type AttributeType, attributeTypeOf, sortedByKey } from './attributes.js';
import { type BulkTarget, readTarget } from './bulk-target.js';
import type { Directory } from './directory.js';

/** Sorted by key. The type is `null` if all values are null. */
export type KnownAttributes = ReadonlyMap<string, AttributeType>;

export interface KnownAttributesOptions {
  /** Whether the attributes of the directory's newest users are known, too. Those of the action's users may be rare. */
  readonly includesNewest?: boolean;
}

// As many as suggest values for filters (user-sample.ts).
const newestMax = 300;

/**
 * Returns undefined until they are known. Reads only the first users, so rare keys may be missing. Ignores failures, because
 * the action will have them too.
 */
export function useAttributeTypes(
  directory: Directory,
  target: BulkTarget,
  { includesNewest = false }: KnownAttributesOptions = {},
): KnownAttributes | undefined {
  const [known, setKnown] = useState<KnownAttributes>();
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const newest = includesNewest ? readNewest(directory, signal) : { users: [] };
    Promise.all([firstUsers(directory, target, signal), newest]).then(
      ([first, { users }]) => setKnown(knownOf([...first, ...users])),
      () => {},
    );
    return () => controller.abort();
  }, [directory, target, includesNewest]);
  return known;
}

/** Reads the directory's newest users as soon as their attributes are needed. Ignores failures, as above. */
export function useNewestAttributes(directory: Directory, isNeeded: boolean): KnownAttributes {
  const [known, setKnown] = useState<KnownAttributes>(new Map());
  const isRead = isNeeded && directory.may('listUsers');
  useEffect(() => {
    if (!isRead) return;
    const controller = new AbortController();
    readNewest(directory, controller.signal).then(
      ({ users }) => setKnown(knownOf(users)),
      () => {},
    );
    return () => controller.abort();
  }, [directory, isRead]);
  return known;
}

function readNewest(directory: Directory, signal: AbortSignal): Promise<ListUsersResponse> {
  return directory.listUsers({ orderBy: 'create_time desc', pageSize: newestMax }, { signal });
}

async function firstUsers(directory: Directory, target: BulkTarget, signal: AbortSignal): Promise<readonly User[]> {
  for await (const users of readTarget(directory, target, { signal })) return users;
  return [];
}

function knownOf(users: readonly User[]): KnownAttributes {
  const counts = new Map<string, Map<AttributeType, number>>();
  for (const [key, value] of users.flatMap(({ attributes }) => Object.entries(attributes ?? {}))) {
    const ofKey = counts.get(key) ?? new Map<AttributeType, number>();
    counts.set(key, ofKey);
    const type = attributeTypeOf(value);
    // A value counts more than its absence.
    ofKey.set(type, (ofKey.get(type) ?? 0) + (type === 'null' ? 0 : 1));
  }
  return new Map(sortedByKey(Object.fromEntries(counts)).map(([key, ofKey]) => [key, mostFrequent(ofKey)]));
}

function mostFrequent(counts: ReadonlyMap<AttributeType, number>): AttributeType {
  const [[type] = ['text' as const]] = [...counts].sort(([, a], [, b]) => b - a);
  return type;
}
