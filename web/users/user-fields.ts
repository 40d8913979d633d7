/**
 * Compares and merges the writable fields of a user by their paths in an update mask. Each attribute is a field.
 *
 * The server validates the values.
 */
import type { User } from '../../generated/users/v1/user.js';
import { attributeKeyOf, attributePath, emptyTexts, type TextName, textFields } from '../../src/fields.js';

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

export type UserTexts = Readonly<Record<TextName, string>>;

export interface UserFields extends UserTexts {
  readonly attributes: JsonObject;
}

export const noFields: UserFields = { ...emptyTexts, attributes: {} };

export function textsOf(user: UserTexts): UserTexts {
  const texts: Record<TextName, string> = { ...emptyTexts };
  for (const { name } of textFields) texts[name] = user[name];
  return texts;
}

export function fieldsOf(user: User): UserFields {
  return { ...textsOf(user), attributes: user.attributes ?? {} };
}

const textFieldAt = (path: string) => textFields.find((field) => field.path === path);

/** Returns the label to show for a field. An attribute's label is its key. */
export function labelOf(path: string): string {
  return textFieldAt(path)?.label ?? attributeKeyOf(path) ?? path;
}

/** The server describes a violation as the end of a sentence ("must have …") or as a sentence ("Another user has …"). */
export function violationText(label: string, description: string): string {
  if (/^\p{Lu}/u.test(description)) return description;
  return `${label} ${description}${description.endsWith('.') ? '' : '.'}`;
}

export function isProtected(path: string, protectedKeys: ReadonlySet<string>): boolean {
  const key = attributeKeyOf(path);
  return key !== undefined && protectedKeys.has(key);
}

/** Returns undefined for a missing attribute. */
export function valueAt(fields: UserFields, path: string): JsonValue | undefined {
  const known = textFieldAt(path);
  if (known !== undefined) return fields[known.name];
  const key = attributeKeyOf(path) ?? '';
  return Object.hasOwn(fields.attributes, key) ? fields.attributes[key] : undefined;
}

/** Returns the paths, as in an update mask, of the fields that differ. */
export function differences(a: UserFields, b: UserFields): string[] {
  const keys = new Set([...Object.keys(a.attributes), ...Object.keys(b.attributes)]);
  const paths = [...textFields.map(({ path }) => path), ...[...keys].map(attributePath)];
  return paths.filter((path) => !isEqual(valueAt(a, path), valueAt(b, path)));
}

/** Returns `onto` with the values of `from` at the paths. */
export function withValues(onto: UserFields, from: UserFields, paths: readonly string[]): UserFields {
  const texts: Record<TextName, string> = textsOf(onto);
  const attributes = new Map(Object.entries(onto.attributes));
  for (const path of paths) {
    const value = valueAt(from, path);
    const known = textFieldAt(path);
    if (known !== undefined) texts[known.name] = String(value);
    else if (value === undefined) attributes.delete(attributeKeyOf(path) ?? '');
    else attributes.set(attributeKeyOf(path) ?? '', value);
  }
  // fromEntries defines properties, so that it treats a key named __proto__ like any other key.
  return { ...texts, attributes: Object.fromEntries(attributes) };
}

/** Ignores the order of keys, because maps have no order on the wire. */
export function isEqual(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, at) => isEqual(value, b[at]))
    );
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key], b[key]));
}
