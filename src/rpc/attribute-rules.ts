/** Refuses requests that read or write attributes which their caller must not read or write. */
import { isDeepStrictEqual } from 'node:util';
import { attributeKeyOf } from '../fields.js';
import type { Permissions } from '../model/caller.js';
import { Fault, fieldForbidden, type Violation } from '../model/fault.js';
import { parseFilter } from '../model/filter.js';
import { hiddenKeyIn } from '../model/hidden-attributes.js';
import { parseOrderBy } from '../model/order-by.js';
import type { User } from '../model/user.js';
import type { UserToCreate } from './request-shapes.js';

const readText = 'which the caller may not read';
const writeText = 'must not be written by the caller';

/** Throws FIELD_FORBIDDEN. A filter could otherwise find out the values of a hidden key, one comparison at a time. */
export function checkFilter(filter: string, { hiddenAttributes }: Permissions): void {
  if (hiddenAttributes.size === 0) return;
  const parsed = attempt(() => parseFilter(filter));
  const key = parsed && hiddenKeyIn(parsed, hiddenAttributes);
  if (key === undefined) return;
  throw fieldForbidden([{ field: 'filter', description: `must not use the attribute ${key}, ${readText}` }]);
}

/** Throws FIELD_FORBIDDEN. The order of the users would otherwise show how the values of a hidden key compare. */
export function checkOrderBy(orderBy: string, { hiddenAttributes }: Permissions): void {
  if (hiddenAttributes.size === 0) return;
  const terms = attempt(() => parseOrderBy(orderBy)) ?? [];
  const keys = terms.flatMap((term) => ('attribute' in term ? term.attribute.slice(0, 1) : []));
  const key = keys.find((named) => hiddenAttributes.has(named));
  if (key === undefined) return;
  throw fieldForbidden([{ field: 'order_by', description: `must not use the attribute ${key}, ${readText}` }]);
}

/** Undefined for an invalid text, because the handler reports it with all other violations. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

/** Throws FIELD_FORBIDDEN. `pathOf` returns the path of a user in the request, such as `users[3]`. */
export function checkNewUsers(
  users: readonly (Pick<UserToCreate, 'attributes'> | undefined)[],
  { protectedAttributes }: Permissions,
  pathOf: (index: number) => string,
): void {
  const violations: Violation[] = [];
  for (const [index, user] of users.entries()) {
    if (user?.attributes === undefined) continue;
    for (const key of Object.keys(user.attributes)) {
      if (!protectedAttributes.has(key)) continue;
      violations.push({ field: `${pathOf(index)}.attributes.${key}`, description: writeText });
    }
  }
  if (violations.length > 0) throw fieldForbidden(violations);
}

/** For rows that replace all attributes of existing users. Nothing has checked whether these users have protected ones. */
export function checkUpdatingRows(users: readonly Pick<UserToCreate, 'attributes'>[]): void {
  const violations = users.flatMap(({ attributes = {} }, index) =>
    Object.keys(attributes).length === 0
      ? []
      : [{ field: `users[${index}].attributes`, description: 'must not be replaced as a whole by the caller' }],
  );
  if (violations.length > 0) throw fieldForbidden(violations);
}

export interface RawUpdate {
  readonly user: Pick<UserToCreate, 'attributes'> | undefined;
  readonly updateMask: readonly string[];
}

/**
 * Throws FIELD_FORBIDDEN if the mask names a protected key, or if the update replaces all attributes, some of which the
 * caller cannot see. Returns whether the update replaces all attributes, so that `checkReplaced` must compare them.
 */
export function checkUpdate({ user, updateMask }: RawUpdate, permissions: Permissions): boolean {
  const { hiddenAttributes, protectedAttributes } = permissions;
  const violations: Violation[] = [];
  for (const [index, path] of updateMask.entries()) {
    const key = attributeKeyOf(path);
    if (key !== undefined && protectedAttributes.has(key)) {
      const description = `must not name the attribute ${key}, which the caller may not write`;
      violations.push({ field: `update_mask.paths[${index}]`, description });
    }
  }
  const attributes = user?.attributes ?? {};
  const replaces =
    updateMask.length === 0
      ? Object.keys(attributes).length > 0
      : updateMask.includes('attributes') || updateMask.includes('*');
  if (replaces && hiddenAttributes.size > 0) {
    const description =
      'must name single keys, as in attributes.department, because the user may have attributes that the caller may not read';
    violations.push({ field: 'update_mask', description });
  }
  if (violations.length > 0) throw fieldForbidden(violations);
  return replaces;
}

/** Throws FIELD_FORBIDDEN if an update would change a protected key. */
export function checkReplaced(before: User, after: User, { protectedAttributes }: Permissions): void {
  const violations = [...protectedAttributes]
    .filter((key) => !isDeepStrictEqual(attributeOf(before, key), attributeOf(after, key)))
    .map((key): Violation => ({ field: `user.attributes.${key}`, description: writeText }));
  if (violations.length > 0) throw fieldForbidden(violations);
}

function attributeOf({ attributes }: User, key: string): unknown {
  return Object.hasOwn(attributes, key) ? attributes[key] : undefined;
}
