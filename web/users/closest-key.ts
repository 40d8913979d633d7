/** Finds the name that somebody meant who has mistyped it. */
import { similarKey } from './attributes.js';

export function closestKey(key: string, keys: readonly string[]): string | undefined {
  const similar = similarKey(key, keys);
  if (similar !== undefined) return similar;
  // Two changes make most short words out of others.
  const max = Math.min(2, Math.floor(key.length / 2));
  const distances = keys.map((other) => ({ other, distance: distanceOf(key, other) }));
  return distances.filter(({ distance }) => distance <= max).sort((a, b) => a.distance - b.distance)[0]?.other;
}

/** The number of letters to add, remove or replace. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
