/**
 * Parses and validates the requests of all methods.
 *
 * Every parser checks the whole request and throws one INVALID_ARGUMENT with all violations. Its input has the field
 * names of the generated messages, but nothing here depends on the wire format.
 */
import { z } from 'zod';
import { Fault, type FaultReason, invalid, type Violation } from './fault.js';
import { type Filter, parseFilter } from './filter.js';
import { type OrderTerm, parseOrderBy } from './order-by.js';
import {
  attributesLevelsMax,
  attributesSchema,
  firstNameSchema,
  hasAtMost,
  type JsonObject,
  type JsonValue,
  lastNameSchema,
  parseWith,
  profileImageUrlSchema,
  storableTextSchema,
  textsThat,
  textThat,
  type User,
  type UserFields,
  userFieldsSchema,
  uuidForm,
  validateAttributes,
  validateEmail,
  validateLegacyEmail,
  validateStorable,
  versionOf,
} from './user.js';
import { parseWatchToken, type WatchPosition } from './watch-token.js';

export const batchUsersMax = 1000;
export const pageSizeDefault = 50;
export const pageSizeMax = 1000;
export const queryCharactersMax = 256;

function validateUuid(text: string): string | undefined {
  return uuidForm.test(text) ? undefined : 'must be a UUID';
}

const idSchema = textThat(validateUuid).transform((id) => id.toLowerCase());
const idsSchema = textsThat(validateUuid).transform((ids) => ids.map((id) => id.toLowerCase()));
const requestIdSchema = textThat((id) =>
  id === '' || uuidForm.test(id) ? undefined : 'must be a UUID or empty',
).transform((id) => (id === '' ? undefined : id.toLowerCase()));

export interface CreateUserRequest {
  fields: UserFields;
  requestId: string | undefined;
}

const createUserSchema = z
  .object({ user: userFieldsSchema, requestId: requestIdSchema })
  .transform(({ user, requestId }): CreateUserRequest => ({ fields: user, requestId }));

export function parseCreateUser(request: unknown): CreateUserRequest {
  return parseWith(createUserSchema, request);
}

export interface BatchCreateUsersRequest {
  users: UserFields[];
  requestId: string | undefined;
}

const batchCreateUsersSchema = z.object({
  users: z
    .array(z.unknown())
    .max(batchUsersMax, `must have at most ${batchUsersMax} users`)
    .pipe(z.array(userFieldsSchema)),
  requestId: requestIdSchema,
});

export function parseBatchCreateUsers(request: unknown): BatchCreateUsersRequest {
  return parseWith(batchCreateUsersSchema, request);
}

const createProfileSchema = z
  .object({
    firstName: firstNameSchema,
    lastName: lastNameSchema,
    email: textThat(validateLegacyEmail),
  })
  .transform((profile): UserFields => ({ ...profile, profileImageUrl: '', attributes: {} }));

/** A user of the first contract, which allows any text of 1 to 256 characters as an email and has no further fields. */
export function parseCreateProfile(request: unknown): UserFields {
  return parseWith(createProfileSchema, request);
}

const getUserSchema = z.object({ id: idSchema });

export function parseGetUser(request: unknown): { id: string } {
  return parseWith(getUserSchema, request);
}

const getUserByEmailSchema = z.object({ email: textThat(validateLegacyEmail) });

export function parseGetUserByEmail(request: unknown): { email: string } {
  return parseWith(getUserByEmailSchema, request);
}

const batchGetUsersSchema = z.object({
  ids: z
    .custom<string[]>()
    .refine((ids) => ids.length <= batchUsersMax, `must have at most ${batchUsersMax} ids`)
    .pipe(idsSchema),
});

export function parseBatchGetUsers(request: unknown): { ids: string[] } {
  return parseWith(batchGetUsersSchema, request);
}

export interface DeleteUserRequest {
  id: string;
  /** The version in the etag, or undefined if there is no etag to check. */
  version: number | undefined;
  allowMissing: boolean;
}

const deleteUserSchema = z
  .object({ id: idSchema, etag: storableTextSchema, allowMissing: z.boolean() })
  .transform(({ id, etag, allowMissing }): DeleteUserRequest => ({ id, version: versionOf(etag), allowMissing }));

export function parseDeleteUser(request: unknown): DeleteUserRequest {
  return parseWith(deleteUserSchema, request);
}

/** The new values of an update. An undefined field does not change. */
export interface UserPatch extends Partial<UserFields> {
  /**
   * Single keys of the attributes; undefined removes a key. Never set together with `attributes`, which replaces all.
   */
  attributeKeys?: ReadonlyMap<string, JsonValue | undefined>;
}

export interface UpdateUserRequest {
  id: string;
  version: number | undefined;
  patch: UserPatch;
  /** The violation of the patch's email. It does not count if the user already has exactly this email. */
  emailViolation: Violation | undefined;
  /** All other violations. They are reported together with emailViolation, if it is set. */
  violations: readonly Violation[];
}

/**
 * The paths that a mask may have, with their schemas. Any text passes for email, because an email that stays is valid.
 */
const writable = {
  firstName: { path: 'first_name', schema: firstNameSchema },
  lastName: { path: 'last_name', schema: lastNameSchema },
  email: { path: 'email', schema: z.string() },
  profileImageUrl: { path: 'profile_image_url', schema: profileImageUrlSchema },
  attributes: { path: 'attributes', schema: attributesSchema },
} satisfies Record<keyof UserFields, { path: string; schema: z.ZodType }>;

const fieldNames = Object.keys(writable) as (keyof UserFields)[];
const writablePaths = fieldNames.map((name) => writable[name].path);
const attributePrefix = 'attributes.';

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
  const idRefusal = validateUuid(user.id);
  if (idRefusal !== undefined) violations.push({ field: 'user.id', description: idRefusal });
  const etagRefusal = validateStorable(user.etag);
  if (etagRefusal !== undefined) violations.push({ field: 'user.etag', description: etagRefusal });
  const { names, keys } = parseUpdateMask(updateMask, user, violations);

  const patch: UserPatch = {};
  for (const name of names) {
    const { path, schema } = writable[name];
    const result = schema.safeParse(user[name]);
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
    // No stored email can be such a text, so the user does not matter.
    if (validateLegacyEmail(user.email) !== undefined)
      violations.push({ field: 'user.email', description: description ?? '' });
    else if (description !== undefined) emailViolation = { field: 'user.email', description };
  }
  if (violations.length > 0 && (emailViolation === undefined || idRefusal !== undefined)) {
    throw invalid(emailViolation === undefined ? violations : [...violations, emailViolation]);
  }
  return { id: user.id.toLowerCase(), version: versionOf(user.etag), patch, emailViolation, violations };
}

/** Returns the fields and the keys of attributes to write. */
function parseUpdateMask(
  mask: readonly string[],
  user: WrittenUser,
  violations: Violation[],
): { names: ReadonlySet<keyof UserFields>; keys: ReadonlySet<string> } {
  const keys = new Set<string>();
  if (mask.length === 0) return { names: new Set(fieldNames.filter((name) => !isEmpty(user[name]))), keys };
  if (mask.length === 1 && mask[0] === '*') return { names: new Set(fieldNames), keys };
  const names = new Set<keyof UserFields>();
  const paths = new Set(mask);
  const validateKey = createKeyValidator(user.attributes ?? {}, paths);
  mask.forEach((path, index) => {
    const name = fieldNames.find((known) => writable[known].path === path);
    if (name !== undefined) {
      names.add(name);
      return;
    }
    const key = path.startsWith(attributePrefix) ? path.slice(attributePrefix.length) : undefined;
    const unknown =
      path === '*' ? '"*" must be the only path' : `must be one of ${writablePaths.join(', ')}, attributes.KEY`;
    const description = validateStorable(path) ?? (key === undefined ? unknown : validateKey(key));
    if (description !== undefined) violations.push({ field: `update_mask.paths[${index}]`, description });
    else if (key !== undefined) keys.add(key);
  });
  return { names, keys };
}

const wholeKeyText = 'must name a whole key of attributes, as in attributes.department: a path cannot go into a value';
const otherCaseText =
  'names a key that user has only in another case (snake_case or camelCase). JSON changes the case of paths: use the path attributes';
// A value cannot have more levels. The limit also bounds the time for each path.
const dotsMax = attributesLevelsMax;
const dotsText = `must have at most ${dotsMax} dots after "attributes.", unless user has this key: use the path attributes`;

/**
 * Creates a function that returns the violation of a key in a mask, or undefined. The update removes a key that the
 * request does not hold. If the client means a part of another key in the request, that value would be lost silently.
 */
function createKeyValidator(attributes: JsonObject, paths: ReadonlySet<string>): (key: string) => string | undefined {
  const unwritten = paths.has('attributes')
    ? []
    : Object.keys(attributes).filter((key) => !paths.has(attributePrefix + key));
  const otherKeys = new Set(unwritten.map(comparable));
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

/** Equal for different ways to write one key: camelCase and snake_case, with quotes, dots and brackets. */
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
    const refusal = isSet ? validateAttributes({ [key]: value }) : undefined;
    if (refusal === undefined) values.set(key, isSet ? value : undefined);
    else violations.push({ field: 'user.attributes', description: refusal });
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

export interface ListUsersRequest {
  pageSize: number;
  /** Still sealed; empty for the first page. */
  pageToken: string;
  filter: Filter | undefined;
  /** The words of `query`. Each must occur. */
  words: readonly string[];
  orderBy: readonly OrderTerm[];
  includeTotalSize: boolean;
  /** The request fields that a page token is valid for, as they were sent. */
  scope: { filter: string; query: string; orderBy: string };
}

const listUsersSchema = z.object({
  pageSize: z.int(),
  pageToken: z.string(),
  filter: z.string(),
  query: z.string(),
  orderBy: z.string(),
  includeTotalSize: z.boolean(),
});

export function parseListUsers(request: unknown): ListUsersRequest {
  const { pageSize, pageToken, filter, query, orderBy, includeTotalSize } = parseWith(listUsersSchema, request);
  const faults: Fault[] = [];
  const attempt = <T>(parse: () => T, otherwise: T): T => {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      faults.push(error);
      return otherwise;
    }
  };
  const parsed: ListUsersRequest = {
    pageSize: attempt(() => parsePageSize(pageSize), 0),
    pageToken,
    filter: attempt(() => parseFilter(filter), undefined),
    words: attempt(() => parseQuery(query), []),
    orderBy: attempt(() => parseOrderBy(orderBy), []),
    includeTotalSize,
    scope: { filter, query, orderBy },
  };
  if (faults.length === 0) return parsed;
  // The reason is the most specific one. The violations are complete.
  const reason: FaultReason = faults.find((fault) => fault.reason !== 'INVALID_FIELD')?.reason ?? 'INVALID_FIELD';
  throw invalid(
    faults.flatMap((fault) => fault.violations),
    reason,
  );
}

function parsePageSize(pageSize: number): number {
  if (pageSize < 0) throw invalid([{ field: 'page_size', description: 'must not be negative' }]);
  return pageSize === 0 ? pageSizeDefault : Math.min(pageSize, pageSizeMax);
}

function parseQuery(query: string): string[] {
  const invalidQuery = (description: string) => invalid([{ field: 'query', description }]);
  if (!hasAtMost(query, queryCharactersMax)) throw invalidQuery(`must have at most ${queryCharactersMax} characters`);
  if (query.includes('\0') || !query.isWellFormed()) throw invalidQuery('must be well-formed Unicode without U+0000');
  return [...new Set(query.split(/\s+/u).filter((word) => word !== ''))];
}

export interface WatchUsersRequest {
  /** The starting point, or undefined to start now. */
  position: WatchPosition | undefined;
  /** Never true together with a position. */
  includeExisting: boolean;
  heartbeatMs: number;
}

const heartbeatMsDefault = 10_000;
const heartbeatMsMin = 100;
const heartbeatMsMax = 600_000;

const watchUsersSchema = z.object({
  resumeToken: z.string(),
  includeExisting: z.boolean(),
  heartbeat: z
    .object({ seconds: z.number(), nanos: z.number() })
    .optional()
    .refine((duration) => duration === undefined || isDuration(duration), {
      message: 'must be a Duration with nanos from -999999999 to 999999999, and with the same sign as seconds',
      abort: true,
    })
    .transform((duration) => (duration === undefined ? 0 : duration.seconds * 1000 + duration.nanos / 1_000_000))
    .refine((ms) => ms === 0 || (ms >= heartbeatMsMin && ms <= heartbeatMsMax), 'must be 0 or 100 ms to 10 minutes'),
});

/** Whether this is a valid google.protobuf.Duration. */
function isDuration({ seconds, nanos }: { seconds: number; nanos: number }): boolean {
  return Math.abs(nanos) <= 999_999_999 && (seconds === 0 || nanos === 0 || seconds > 0 === nanos > 0);
}

export function parseWatchUsers(request: unknown): WatchUsersRequest {
  const { resumeToken, includeExisting, heartbeat } = parseWith(watchUsersSchema, request);
  if (includeExisting && resumeToken !== '') {
    throw invalid([{ field: 'include_existing', description: 'must not be set together with a resume_token' }]);
  }
  return {
    position: resumeToken === '' ? undefined : parseWatchToken(resumeToken),
    includeExisting,
    heartbeatMs: heartbeat === 0 ? heartbeatMsDefault : heartbeat,
  };
}

export interface ExportUsersRequest {
  filter: Filter | undefined;
  /** The filter as it was sent. A resume_token is valid for it. */
  filterText: string;
  /** Still sealed; empty for an export from the beginning. */
  resumeToken: string;
}

const exportUsersSchema = z.object({ filter: z.string(), resumeToken: z.string() });

export function parseExportUsers(request: unknown): ExportUsersRequest {
  const { filter, resumeToken } = parseWith(exportUsersSchema, request);
  return { filter: parseFilter(filter), filterText: filter, resumeToken };
}

export interface ResolveUsersRequest {
  tag: string;
  ids: string[];
  emails: string[];
  /** The ids as the request wrote them. */
  idsWritten: readonly string[];
}

export const tagCharactersMax = 256;

// Ignore the rest of an oversized request.
const resolveUsersSchema = z
  .object({ tag: z.unknown(), ids: z.custom<string[]>(), emails: z.custom<string[]>() })
  .refine(({ ids, emails }) => ids.length + emails.length <= batchUsersMax, {
    path: ['ids'],
    message: `must have at most ${batchUsersMax} elements together with emails`,
  })
  .pipe(
    z.object({
      tag: textThat((tag) =>
        hasAtMost(tag, tagCharactersMax) ? validateStorable(tag) : `must have at most ${tagCharactersMax} characters`,
      ),
      ids: idsSchema,
      emails: textsThat(validateLegacyEmail),
    }),
  );

export function parseResolveUsers(request: { readonly ids: readonly string[] }): ResolveUsersRequest {
  return { ...parseWith(resolveUsersSchema, request), idsWritten: request.ids };
}
