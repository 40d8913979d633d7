/** Converts a search to a filter that looks for the text in the attributes. */
import type { Directory } from '../calls/directory.js';
import type { Chip } from './filter-chips.js';
import { withChip } from './read-chips.js';
import { roomBeside, searchIn } from './text-search.js';
import { createUserSampler, searchedPaths } from './user-sample.js';

/**
 * Returns undefined if no attribute with texts occurs. The result matches in addition to `filter`. It has the most frequent
 * attributes if it has no room for all.
 */
export async function attributeFilter(directory: Directory, text: string, filter: string): Promise<string | undefined> {
  const { fields } = await createUserSampler(directory)();
  const paths = searchedPaths(fields);
  const value = text.trim().replaceAll('\0', '').toWellFormed();
  const [path] = paths;
  if (path === undefined || value === '') return undefined;
  const chip: Chip = { path, operator: 'contains', values: [value] };
  return withChip(filter, searchIn(chip, paths, roomBeside(filter)));
}
