/** The keys of attributes that occur in the users of an action, to offer them. */
import { useEffect, useState } from 'preact/hooks';
import { type BulkTarget, readTarget } from './bulk-target.js';
import type { Directory } from './directory.js';

/** Reads only the first users, so rare keys may be missing. Ignores failures, because the action will have them too. */
export function useAttributeKeys(directory: Directory, target: BulkTarget): readonly string[] {
  const [keys, setKeys] = useState<readonly string[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    firstKeys(directory, target, controller.signal).then(setKeys, () => {});
    return () => controller.abort();
  }, [directory, target]);
  return keys;
}

async function firstKeys(directory: Directory, target: BulkTarget, signal: AbortSignal): Promise<readonly string[]> {
  for await (const users of readTarget(directory, target, { signal })) {
    const keys = new Set(users.flatMap(({ attributes }) => Object.keys(attributes ?? {})));
    return [...keys].sort((a, b) => a.localeCompare(b));
  }
  return [];
}
