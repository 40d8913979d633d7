/** The attributes that a new user needs to match a filter. */
import type { JsonObject, JsonValue } from '../users/user-fields.js';
import { isAttribute } from './filter-chips.js';
import { readChips } from './read-chips.js';

/** Returns those that have one value in all users that match, except nested ones. */
export function filteredValues(filter: string): JsonObject {
  const values = new Map<string, JsonValue>();
  for (const { path, operator, values: chosen } of readChips(filter) ?? []) {
    const [, key, ...nested] = path;
    const [value, ...others] = chosen;
    if (!isAttribute(path) || operator !== 'is' || key === undefined || value === undefined) continue;
    if (nested.length === 0 && others.length === 0) values.set(key, value);
  }
  return Object.fromEntries(values);
}
