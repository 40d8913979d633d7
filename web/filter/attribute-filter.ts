/** Converts a search to a filter that looks for the text in the attributes. */
import type { Directory } from '../calls/directory.js';
import type { Chip } from './filter-chips.js';
import { withChip } from './read-chips.js';
import { createUserSampler, searchedPaths } from './user-sample.js';

/** Returns undefined if no attribute with texts occurs. The result matches in addition to `filter`. */
export async function attributeFilter(directory: Directory, text: string, filter: string): Promise<string | undefined> {
  const { fields } = await createUserSampler(directory)();
  const [path, ...others] = searchedPaths(fields);
  const value = text.trim().replaceAll('\0', '').toWellFormed();
  if (path === undefined || value === '') return undefined;
  const chip: Chip = { path, operator: 'contains', values: [value], ...(others.length === 0 ? {} : { others }) };
  return withChip(filter, chip);
}
