/** Loads what finds the attribute because of which a user matches, as soon as the filter names an attribute. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { loadPart } from '../calls/load-part.js';
import type { MatchOf } from './matched-attribute.js';

export function useMatchedAttribute(filter: string, columnIds: readonly string[]): MatchOf | undefined {
  const [part, setPart] = useState<typeof import('./matched-attribute.js')>();
  const isNeeded = filter.includes('attributes');
  useEffect(() => {
    // If the part cannot be loaded, the rows show no match.
    if (isNeeded && part === undefined) loadPart(() => import('./matched-attribute.js')).then(setPart, () => {});
  }, [isNeeded]);
  return useMemo(
    () => (isNeeded ? part?.matchOfFilter(filter, columnIds) : undefined),
    [isNeeded, part, filter, columnIds],
  );
}
