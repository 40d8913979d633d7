/**
 * The filter as it is sent: without the page's own days, which relative-days.ts replaces. That file is loaded only for a
 * filter that may have some, because few do.
 */
import { loadForCall } from './load-part.js';

/** Also true if the words are in a text, or the name of an attribute. */
export function mayMove(filter: string): boolean {
  return /\b(?:today|this_year)\b/.test(filter);
}

export async function sentFilterOf(filter: string): Promise<string> {
  if (!mayMove(filter)) return filter;
  const { sentFilter } = await loadForCall(() => import('../text/relative-days.js'));
  return sentFilter(filter);
}
