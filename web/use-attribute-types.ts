/** The attributes that occur in the users of an action, to offer them, and the type that most of their values have. */
import { useEffect, useState } from 'preact/hooks';
import { type AttributeType, attributeTypeOf, sortedByKey } from './attributes.js';
import { type BulkTarget, readTarget } from './bulk-target.js';
import type { Directory } from './directory.js';

/** Sorted by key. The type is `null` if all values are null. */
export type KnownAttributes = ReadonlyMap<string, AttributeType>;

/** Reads only the first users, so rare keys may be missing. Ignores failures, because the action will have them too. */
export function useAttributeTypes(directory: Directory, target: BulkTarget): KnownAttributes {
  const [known, setKnown] = useState<KnownAttributes>(new Map());
  useEffect(() => {
    const controller = new AbortController();
    readKnown(directory, target, controller.signal).then(setKnown, () => {});
    return () => controller.abort();
  }, [directory, target]);
  return known;
}

async function readKnown(directory: Directory, target: BulkTarget, signal: AbortSignal): Promise<KnownAttributes> {
  for await (const users of readTarget(directory, target, { signal })) {
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
  return new Map();
}

function mostFrequent(counts: ReadonlyMap<AttributeType, number>): AttributeType {
  const [[type] = ['text' as const]] = [...counts].sort(([, a], [, b]) => b - a);
  return type;
}
