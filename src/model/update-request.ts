/**
 * Parses and validates the request of UpdateUser: the update mask, and the new values of the fields that it names.
 *
 * A part of the validation depends on the current user. operations/update-user.ts does that part.
 */
import { z } from 'zod';
import { attributeKeyOf, attributePath, writableFields, writablePaths } from '../fields.js';
import { validateEmail, validateLegacyEmail } from './email.js';
import { invalid, type Violation } from './fault.js';
import { validateStorable } from './text.js';
import {
  attributesLevelsMax,
  attributesSchema,
  type JsonObject,
  type JsonValue,
  parseEtag,
  parseWith,
  type RequiredVersion,
  textSchemas,
  type User,
  type UserFields,
  validateAttributes,
  validateUuid,
} from './user.js';

/** The new values of an update. An undefined field does not change. */
export interface UserPatch extends Partial<UserFields> {
  /**
   * Single keys of the attributes; undefined removes a key. Never set together with `attributes`, which replaces all.
   */
  attributeKeys?: ReadonlyMap<string, JsonValue | undefined>;
}

export interface UpdateUserRequest extends RequiredVersion {
  id: string;
  patch: UserPatch;
  /** The violation of the new email. It does not count if the user already has exactly this email. */
  emailViolation: Violation | undefined;
  /** All other violations. They are reported together with emailViolation, if it is set. */
  violations: readonly Violation[];
}

// Accepts any email, because an unchanged email is always valid. A new one is validated separately.
const schemas = { ...textSchemas, email: z.string(), attributes: attributesSchema };
const fieldNames = new Map<string, keyof UserFields>(writableFields.map(({ name, path }) => [path, name]));

interface WrittenUser extends Omit<UserFields, 'attributes'> {
  id: string;
  etag: string;
  attributes: JsonObject | undefined;
}

const updateUserSchema = z.object({
  user: z.custom<WrittenUser>((user) => typeof user === 'object' && user !== null, 'is required'),
  updateMask: z.array(z.string()).default([]),
});

/**
 * Validates an update as far as possible without the user. If the result depends on the user's current email, it does
 * not throw and leaves `emailViolation` and `violations` to the operation.
 */
export function parseUpdateUser(request: unknown): UpdateUserRequest {
  const { user, updateMask } = parseWith(updateUserSchema, request);
  const violations: Violation[] = [];
  const idViolation = validateUuid(user.id);
  if (idViolation !== undefined) violations.push({ field: 'user.id', description: idViolation });
  const etagViolation = validateStorable(user.etag);
  if (etagViolation !== undefined) violations.push({ field: 'user.etag', description: etagViolation });
  const { names, keys } = parseUpdateMask(updateMask, user, violations);

  const patch: UserPatch = {};
  for (const { name, path } of writableFields) {
    if (!names.has(name)) continue;
    const result = schemas[name].safeParse(user[name]);
    if (result.success) Object.assign(patch, { [name]: result.data });
    else
      violations.push(...result.error.issues.map(({ message }) => ({ field: `user.${path}`, description: message })));
  }
  if (keys.size > 0 && !names.has('attributes')) {
    patch.attributeKeys = readAttributeKeys(keys, user.attributes ?? {}, violations);
  }

  let emailViolation: Violation | undefined;
  if (names.has('email')) {
    const description = validateEmail(user.email);
    // No user can have such an email, so the current user does not matter.
    if (validateLegacyEmail(user.email) !== undefined)
      violations.push({ field: 'user.email', description: description ?? '' });
    else if (description !== undefined) emailViolation = { field: 'user.email', description };
  }
  if (violations.length > 0 && (emailViolation === undefined || idViolation !== undefined)) {
    throw invalid(emailViolation === undefined ? violations : [...violations, emailViolation]);
  }
  return { id: user.id.toLowerCase(), ...parseEtag(user.etag), patch, emailViolation, violations };
}

/** Returns the fields and the keys of attributes to write. */
function parseUpdateMask(
  mask: readonly string[],
  user: WrittenUser,
  violations: Violation[],
): { names: ReadonlySet<keyof UserFields>; keys: ReadonlySet<string> } {
  const keys = new Set<string>();
  const all = [...fieldNames.values()];
  if (mask.length === 0) return { names: new Set(all.filter((name) => !isEmpty(user[name]))), keys };
  if (mask.length === 1 && mask[0] === '*') return { names: new Set(all), keys };
  const names = new Set<keyof UserFields>();
  const paths = new Set(mask);
  const validateKey = createKeyValidator(user.attributes ?? {}, paths);
  mask.forEach((path, index) => {
    const name = fieldNames.get(path);
    if (name !== undefined) {
      names.add(name);
      return;
    }
    const key = attributeKeyOf(path);
    const unknown =
      path === '*' ? '"*" must be the only path' : `must be one of ${writablePaths.join(', ')}, attributes.KEY`;
    const description = validateStorable(path) ?? (key === undefined ? unknown : validateKey(key));
    if (description !== undefined) violations.push({ field: `update_mask.paths[${index}]`, description });
    else if (key !== undefined) keys.add(key);
  });
  return { names, keys };
}

const wholeKeyText =
  'must name a whole key of attributes, as in attributes.department; it cannot point into the value of a key';
const otherCaseText =
  'names a key that user has only in another case (snake_case or camelCase). JSON changes the case of paths, so use the path "attributes"';
// A value cannot have more levels. The limit also bounds the time to check a path.
const dotsMax = attributesLevelsMax;
const dotsText = `must have at most ${dotsMax} dots after "attributes.", unless user has this key; use the path "attributes" instead`;

/**
 * Creates a function that returns the violation of a key in a mask, or undefined. The update removes a key that the
 * mask names and `user` does not have. If the client meant a part of the value of another key, that value would be lost
 * silently.
 */
function createKeyValidator(attributes: JsonObject, paths: ReadonlySet<string>): (key: string) => string | undefined {
  const unnamedKeys = paths.has('attributes')
    ? []
    : Object.keys(attributes).filter((key) => !paths.has(attributePath(key)));
  const otherKeys = new Set(unnamedKeys.map(comparable));
  const validatePath = (path: string) => {
    let dots = 0;
    for (let end = path.indexOf('.'); end >= 0; end = path.indexOf('.', end + 1)) {
      if (otherKeys.has(path.slice(0, end))) return wholeKeyText;
      if (++dots > dotsMax) return dotsText;
    }
    return otherKeys.has(path) ? wholeKeyText : undefined;
  };

  return (key) => {
    if (otherKeys.size === 0 || Object.hasOwn(attributes, key)) return undefined;
    const path = comparable(key);
    if (path === camelCaseOf(key) && otherKeys.has(path)) return otherCaseText;
    // google.protobuf.Struct keeps its keys in a field named `fields`.
    return validatePath(path) ?? (path.startsWith('fields.') ? validatePath(path.slice('fields.'.length)) : undefined);
  };
}

/** Returns the same text for all spellings of a key: in camelCase or snake_case, with quotes, dots or brackets. */
function comparable(key: string): string {
  return camelCaseOf(key.replaceAll('[', '.').replace(/["`\]]/g, ''));
}

function camelCaseOf(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function isEmpty(value: string | JsonObject | undefined): boolean {
  return typeof value === 'object' ? Object.keys(value).length === 0 : value === undefined || value === '';
}

function readAttributeKeys(
  keys: ReadonlySet<string>,
  attributes: JsonObject,
  violations: Violation[],
): Map<string, JsonValue | undefined> {
  const values = new Map<string, JsonValue | undefined>();
  for (const key of keys) {
    const isSet = Object.hasOwn(attributes, key);
    const value = attributes[key];
    const violation = isSet ? validateAttributes({ [key]: value }) : undefined;
    if (violation === undefined) values.set(key, isSet ? value : undefined);
    else violations.push({ field: 'user.attributes', description: violation });
  }
  return values;
}

/** Returns the attributes of `user` with single keys changed. Throws INVALID_FIELD if the result is invalid. */
export function patchAttributes(user: User, keys: ReadonlyMap<string, JsonValue | undefined>): JsonObject {
  const attributes = new Map(Object.entries(user.attributes));
  for (const [key, value] of keys) {
    if (value === undefined) attributes.delete(key);
    else attributes.set(key, value);
  }
  // fromEntries defines properties, so a key named __proto__ is an ordinary key.
  const patched = Object.fromEntries(attributes);
  const description = validateAttributes(patched);
  if (description !== undefined) throw invalid([{ field: 'user.attributes', description }]);
  return patched;
}
