/**
 * The user, and the validation of its fields except the email (email.ts). It depends on neither the wire format nor the
 * table.
 */
import { z } from 'zod';
import { emptyTexts, type TextName, textFields, writableFields } from '../fields.js';
import { validateEmail } from './email.js';
import { invalid, type Violation } from './fault.js';
import { hasAtMost, invisible, validateStorable } from './text.js';

/** A JSON value in `attributes`. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** The fields of a user that clients can write. */
export interface UserFields extends Record<TextName, string> {
  attributes: JsonObject;
}

/** A user in the directory. */
export interface User extends UserFields {
  /** A UUID version 7 in lower case. */
  id: string;
  createTime: Date;
  updateTime: Date;
  /** 1 for a new user. Every change adds 1. The etag contains it. */
  version: number;
}

const namesCharactersMax = 256;
const urlCharactersMax = 2048;
export const attributesBytesMax = 16_384;
export const attributesLevelsMax = 32;

/** The maximum size of one message in either direction, which is also the default of gRPC clients. */
export const messageBytesMax = 4 * 1024 * 1024;

/** A UUID of any version, in either case. */
export const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function validateUuid(text: string): string | undefined {
  return uuidForm.test(text) ? undefined : 'must be a UUID';
}

export function displayName(user: Pick<User, 'firstName' | 'lastName'>): string {
  return user.lastName === '' ? user.firstName : `${user.firstName} ${user.lastName}`;
}

/**
 * The etag contains the version, and the time of the update that made it. After a failover that lost updates, the same
 * version may be made again with other values, but at another time. Only rpc/etag-writer.ts also depends on the form.
 */
export function etagOf({ version, updateTime }: Pick<User, 'version' | 'updateTime'>): string {
  return `v${version.toString(36)}.${updateTime.getTime().toString(36)}`;
}

/** The version of a user that an etag requires. */
export interface RequiredVersion {
  /** Undefined accepts every version. */
  readonly version: number | undefined;
  /** Undefined accepts every time, because the etags of earlier servers contain only the version. */
  readonly updateTime?: Date | undefined;
}

const etagForm = /^v([1-9a-z][0-9a-z]{0,5})(?:\.(0|-?[1-9a-z][0-9a-z]{0,8}))?$/;

/** An empty etag requires nothing. A malformed one requires version 0, which no user has. */
export function parseEtag(etag: string): RequiredVersion {
  if (etag === '') return { version: undefined };
  const [, versionDigits, timeDigits] = etagForm.exec(etag) ?? [];
  const version = versionDigits === undefined ? 0 : Number.parseInt(versionDigits, 36);
  // The column is an integer of 32 bits.
  if (version > 0x7fff_ffff) return { version: 0 };
  return timeDigits === undefined ? { version } : { version, updateTime: new Date(Number.parseInt(timeDigits, 36)) };
}

/** Whether a user is the version that a write requires. */
export function isRequiredVersion(
  user: Pick<User, 'version' | 'updateTime'>,
  { version, updateTime }: RequiredVersion,
): boolean {
  if (version === undefined) return true;
  return version === user.version && (updateTime === undefined || updateTime.getTime() === user.updateTime.getTime());
}

const onlyInvisible = new RegExp(`^[\\s\\p{M}${invisible}]*$`, 'u');

function validateName(text: string, required: boolean): string | undefined {
  if (required && onlyInvisible.test(text))
    return `must have 1 to ${namesCharactersMax} characters, at least one of them visible`;
  if (!hasAtMost(text, namesCharactersMax)) return `must have at most ${namesCharactersMax} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not contain control characters';
  return validateStorable(text);
}

function validateUrl(text: string): string | undefined {
  if (text === '') return undefined;
  if (!hasAtMost(text, urlCharactersMax)) return `must have at most ${urlCharactersMax} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not contain control characters';
  if (!/^https?:\/\/[^\s/]\S*$/iu.test(text) || !URL.canParse(text))
    return 'must be an absolute http or https URL, or empty';
  return validateStorable(text);
}

/**
 * Returns the violation of attributes, or undefined. JSON.stringify alone accepts deep nesting and infinite numbers.
 */
export function validateAttributes(attributes: unknown): string | undefined {
  const violation = validateJson(attributes, 1);
  if (violation !== undefined) return violation;
  const text = JSON.stringify(attributes);
  if (Buffer.byteLength(text) > attributesBytesMax)
    return `must have at most ${attributesBytesMax} bytes as compact JSON`;
  if (/\de[+-]\d/.test(text) && digitsAdded(attributes) > digitsAddedMax) {
    return `must have number exponents, like 300 in 1e300, that add up to at most ${digitsAddedMax}`;
  }
  return undefined;
}

// jsonb has no exponents: it writes 1e300 with 301 digits. Without this limit, 16 KiB of JSON could become 800 KiB.
const digitsAddedMax = 65_536;

function digitsAdded(value: unknown): number {
  if (typeof value === 'number') return Math.abs(Number(/e(.*)/.exec(String(value))?.[1] ?? 0));
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((sum: number, child) => sum + digitsAdded(child), 0);
}

function validateJson(value: unknown, level: number): string | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : 'must have finite numbers';
    case 'string':
      return validateStorable(value);
    case 'object': {
      if (value === null) return undefined;
      if (level > attributesLevelsMax) return `must have at most ${attributesLevelsMax} levels of nesting`;
      for (const [key, child] of Object.entries(value)) {
        const violation = validateStorable(key) ?? validateJson(child, level + 1);
        if (violation !== undefined) return violation;
      }
      return undefined;
    }
    default:
      // A google.protobuf.Value without a kind arrives as undefined.
      return 'must set the kind of every google.protobuf.Value';
  }
}

/** Creates a schema for texts. `validate` returns the violation of a text, or undefined. */
export function textSchema(validate: (text: string) => string | undefined): z.ZodType<string, string> {
  return z.string().superRefine((text, context) => {
    const message = validate(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
}

/** Accepts any text that Postgres can store. */
export const storableTextSchema = textSchema(validateStorable);

/** The fields of a user that clients can write, as the decoder returns them. */
export type UserInput = Omit<UserFields, 'attributes'> & { readonly attributes: JsonObject | undefined };

/** For each field, a function that returns the violation of a new user's value, or undefined. */
const validators: { readonly [Name in keyof UserFields]: (value: UserInput[Name]) => string | undefined } = {
  firstName: (text) => validateName(text, true),
  lastName: (text) => validateName(text, false),
  email: validateEmail,
  profileImageUrl: validateUrl,
  attributes: (attributes) => (attributes === undefined ? undefined : validateAttributes(attributes)),
};

/** Returns the first violation of a new user, or undefined. Takes a third of the time of userFieldsSchema. */
export function validateUser(user: UserInput): Violation | undefined {
  for (const { name, path } of writableFields) {
    const description = validateField(name, user);
    if (description !== undefined) return { field: path, description };
  }
  return undefined;
}

function validateField<Name extends keyof UserFields>(name: Name, user: UserInput): string | undefined {
  return validators[name](user[name]);
}

/** The schemas of the texts of a new user. */
export const textSchemas = Object.fromEntries(
  textFields.map(({ name }) => [name, textSchema(validators[name])]),
) as Readonly<Record<TextName, z.ZodType<string>>>;
export const attributesSchema = z
  .custom<JsonObject | undefined>()
  .superRefine((attributes, context) => {
    const message = validators.attributes(attributes);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  })
  .transform((attributes): JsonObject => attributes ?? {});

/** The fields of a new user. */
export const userFieldsSchema = z.object({ ...textSchemas, attributes: attributesSchema }, 'is required');

/** A user whose texts are empty. */
export const noFields: UserFields = { ...emptyTexts, attributes: {} };

/** Parses an untrusted value. Throws INVALID_FIELD with one violation for each invalid field. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalid(
    result.error.issues.map((issue): Violation => ({ field: pathOf(issue.path), description: issue.message })),
  );
}

/** Converts zod's path to a protobuf path: snake_case, with indexes in brackets. */
function pathOf(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += `${text === '' ? '' : '.'}${String(step).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
  }
  return text;
}
