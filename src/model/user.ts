/**
 * The user, and the rules for its fields. This is the only file that checks them. It knows neither the wire format nor
 * the table.
 */
import { isIPv6, SocketAddress } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { z } from 'zod';
import { invalid, type Violation } from './fault.js';

/** A JSON value in `attributes`. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** The fields of a user that clients can write. */
export interface UserFields {
  firstName: string;
  lastName: string;
  email: string;
  profileImageUrl: string;
  attributes: JsonObject;
}

/** A user in the directory. */
export interface User extends UserFields {
  /** A UUID version 7 in lower case. */
  id: string;
  createTime: Date;
  updateTime: Date;
  /** 1 for a new user. Every change adds 1. The etag is derived from it. */
  version: number;
}

export const namesCharactersMax = 256;
export const emailCharactersMax = 256;
export const urlCharactersMax = 2048;
export const attributesBytesMax = 16_384;
export const attributesLevelsMax = 32;

/** The maximum size of one message in either direction, which is also the default of gRPC clients. */
export const messageBytesMax = 4 * 1024 * 1024;

/** A UUID of any version, in either case. */
export const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function displayName(user: Pick<User, 'firstName' | 'lastName'>): string {
  return user.lastName === '' ? user.firstName : `${user.firstName} ${user.lastName}`;
}

/** The etag contains the version. Only this file depends on that. */
export function etagOf(user: Pick<User, 'version'>): string {
  return `v${user.version.toString(36)}`;
}

/** The version in an etag: undefined if the etag is empty, and 0, which no user has, if it is malformed. */
export function versionOf(etag: string): number | undefined {
  if (etag === '') return undefined;
  const version = /^v[1-9a-z][0-9a-z]{0,5}$/.test(etag) ? Number.parseInt(etag.slice(1), 36) : 0;
  // The column is an integer of 32 bits.
  return version <= 0x7fff_ffff ? version : 0;
}

/** Whether a text has at most `max` Unicode code points. Does not count those of a text that is much longer. */
export function hasAtMost(text: string, max: number): boolean {
  if (text.length <= max) return true;
  if (text.length > 2 * max) return false;
  let count = 0;
  for (const _ of text) count++;
  return count <= max;
}

/** Returns the violation of a text that Postgres cannot store, or undefined. */
export function validateStorable(text: string): string | undefined {
  // Postgres cannot store U+0000, and stores a lone surrogate as U+FFFD.
  if (text.includes('\0')) return 'must not contain U+0000';
  if (!text.isWellFormed()) return 'must be well-formed Unicode';
  return undefined;
}

// Characters without an image of their own: format characters, private and unassigned ones, fillers, the empty Braille
// pattern, the (object) replacement character, the null notehead and blank hieroglyphs.
const invisible =
  '\\p{Cf}\\p{Co}\\p{Cn}\\p{Default_Ignorable_Code_Point}\\u2800\\ufffc\\ufffd\\u{1d159}\\u{13441}\\u{13442}';
const onlyBlanks = new RegExp(`^[\\s\\p{M}${invisible}]*$`, 'u');

function validateName(text: string, required: boolean): string | undefined {
  if (required && onlyBlanks.test(text)) return `must have 1 to ${namesCharactersMax} characters, not only blanks`;
  if (!hasAtMost(text, namesCharactersMax)) return `must have at most ${namesCharactersMax} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not contain control characters';
  return validateStorable(text);
}

// RFC 5322's dot-atom or quoted string, and a host name or an address literal. RFC 6531 allows letters outside ASCII.
const emailForm =
  /^(?:[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+)*|"(?:[^"\\]|\\.)+")@(?:[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?(?:\.[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?)*|\[(?:[0-9.]+|ipv6:[a-f0-9:.]+)\])$/iu;

// The emoji selector is allowed after an emoji. hasMisplacedJoiner has the rule for joiners.
const neverInEmails = new RegExp(
  `(?!\\u200c|\\u200d|\\ufe0f)[${invisible}]|(?<!\\p{Extended_Pictographic})\\ufe0f`,
  'u',
);
const invisibleText = 'must not contain invisible, private or unassigned characters';

/** Returns the violation of a new email, or undefined. */
export function validateEmail(text: string): string | undefined {
  const unbounded = validateLegacyEmail(text);
  if (unbounded !== undefined) return unbounded;
  // The only allowed white space is a blank inside a quoted local part.
  if (/[\p{Cc}\u2028\u2029]/u.test(text)) return 'must not contain control characters';
  if (!emailForm.test(text) || /[^\S ]/u.test(text)) return 'must be one email address, like ada@example.com';
  if (neverInEmails.test(text) || hasMisplacedJoiner(text)) return invisibleText;
  return validateDomain(text.slice(text.lastIndexOf('@') + 1));
}

/** IDNA2008 allows a joiner only if it changes how the letters around it look. Node applies that rule to each word. */
function hasMisplacedJoiner(text: string): boolean {
  const joiner = /[\u200c\u200d]/u;
  if (!joiner.test(text)) return false;
  const words = text.match(/[\p{L}\p{M}\u200c\u200d]+/gu) ?? [];
  // A word cannot be longer than a label. Node is slow for longer words.
  return words.some((word) => joiner.test(word) && (!hasAtMost(word, labelBytesMax) || domainToASCII(word) === ''));
}

const ipv4Form = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function validateDomain(domain: string): string | undefined {
  if (domain.startsWith('[')) return validateAddressLiteral(domain.slice(1, -1));
  // RFC 3696, 2. Programs would take such a domain for an IP address.
  if (/(?:^|\.)\d+$/.test(domain)) {
    return 'must have a domain whose last part is not a number; an IP address needs brackets, like ada@[192.0.2.1]';
  }
  if (!/[^\0-\x7f]|(?:^|\.)xn--/i.test(domain)) return validateDomainLength(domain);
  // A letter takes at least one byte in ASCII. Node is slow for labels that are too long.
  if (domain.split('.').some((label) => !hasAtMost(label, labelBytesMax))) return domainLengthText;
  const ascii = domainToASCII(domain);
  return validateDomainLength(ascii) ?? (isSameDomain(domain, ascii) ? undefined : domainText);
}

/** Allows one spelling of each address, because two spellings would be two users. */
function validateAddressLiteral(literal: string): string | undefined {
  const [, address] = /^ipv6:(.*)$/is.exec(literal) ?? [];
  if (address === undefined ? !ipv4Form.test(literal) : !isIPv6(address)) {
    return 'must have a valid IP address in brackets';
  }
  // SocketAddress has the canonical spelling. Case does not matter in emails.
  if (address === undefined || new SocketAddress({ address, family: 'ipv6' }).address === address.toLowerCase()) {
    return undefined;
  }
  return 'must have the IPv6 address in its shortest form (RFC 5952), like [IPv6:2001:db8::1]';
}

const labelBytesMax = 63;
const domainBytesMax = 253;
const domainLengthText = `must have a domain of at most ${domainBytesMax} bytes, with at most ${labelBytesMax} in each label (counted in ASCII form)`;
const domainText =
  'must have a valid domain name, with ordinary dots and without compatibility characters such as full-width letters';

function validateDomainLength(ascii: string): string | undefined {
  const isTooLong = ascii.length > domainBytesMax || ascii.split('.').some((label) => label.length > labelBytesMax);
  return isTooLong ? domainLengthText : undefined;
}

/** Whether a domain is valid, and IDNA does not map its letters to others. `ascii` is Node's ASCII form of it. */
function isSameDomain(domain: string, ascii: string): boolean {
  const letters = domainToUnicode(ascii);
  if (ascii === '' || domainToASCII(letters) !== ascii) return false;
  const [labels, asciiLabels, letterLabels] = [domain.split('.'), ascii.split('.'), letters.split('.')];
  if (labels.length !== asciiLabels.length) return false;
  return labels.every((label, index) => {
    const [asciiLabel, letterLabel = ''] = [asciiLabels[index], letterLabels[index]];
    if (!/^xn--/i.test(label)) return plain(label) === plain(letterLabel);
    // Node returns some invalid Punycode unchanged.
    return label.toLowerCase() === asciiLabel && letterLabel !== asciiLabel;
  });
}

/** Removes the allowed differences between a label and its canonical form: case, NFC, final sigma, emoji selector. */
function plain(label: string): string {
  return label.normalize('NFC').toLowerCase().replaceAll('ς', 'σ').replaceAll('\ufe0f', '');
}

/** Returns the violation of an email in the first contract, which allows any text, or undefined. */
export function validateLegacyEmail(text: string): string | undefined {
  if (text === '' || !hasAtMost(text, emailCharactersMax)) return `must have 1 to ${emailCharactersMax} characters`;
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

/** Returns the violation of attributes, or undefined. JSON.stringify alone would ignore levels and infinite numbers. */
export function validateAttributes(attributes: unknown): string | undefined {
  const refusal = validateJson(attributes, 1);
  if (refusal !== undefined) return refusal;
  const text = JSON.stringify(attributes);
  if (Buffer.byteLength(text) > attributesBytesMax)
    return `must have at most ${attributesBytesMax} bytes as compact JSON`;
  if (/\de[+-]\d/.test(text) && digitsAdded(attributes) > digitsAddedMax) {
    return `must have exponents that add at most ${digitsAddedMax} digits`;
  }
  return undefined;
}

// jsonb has no exponents: it writes 1e300 with 301 digits. Without this limit, the 16 KiB of one user could become 800.
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
      if (level > attributesLevelsMax) return `must have at most ${attributesLevelsMax} levels`;
      for (const [key, child] of Object.entries(value)) {
        const refusal = validateStorable(key) ?? validateJson(child, level + 1);
        if (refusal !== undefined) return refusal;
      }
      return undefined;
    }
    default:
      // A google.protobuf.Value without a kind arrives as undefined.
      return 'must have a kind in every google.protobuf.Value';
  }
}

/** Creates a schema from a function that returns the violation of a text. */
export function textThat(validate: (text: string) => string | undefined): z.ZodType<string> {
  return z.string().superRefine((text, context) => {
    const message = validate(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
}

/** A text with any characters that Postgres can store. */
export const storableTextSchema = textThat(validateStorable);

/** The same for an array of texts. An array of schemas takes five times as long. */
export function textsThat(validate: (text: string) => string | undefined): z.ZodType<string[], string[]> {
  return z.custom<string[]>().superRefine((texts, context) => {
    for (const [index, text] of texts.entries()) {
      const message = validate(text);
      if (message !== undefined) context.addIssue({ code: 'custom', message, path: [index] });
    }
  });
}

/** The fields of a user that clients can write, as in a message. */
export type UserInput = Omit<UserFields, 'attributes'> & { readonly attributes: JsonObject | undefined };

/** The path of each field of a new user, and a function that returns the field's violation or undefined. */
const rules: {
  readonly [Name in keyof UserFields]: [path: string, validate: (value: UserInput[Name]) => string | undefined];
} = {
  firstName: ['first_name', (text) => validateName(text, true)],
  lastName: ['last_name', (text) => validateName(text, false)],
  email: ['email', validateEmail],
  profileImageUrl: ['profile_image_url', validateUrl],
  attributes: ['attributes', (attributes) => (attributes === undefined ? undefined : validateAttributes(attributes))],
};

/** Returns the first violation of a new user, like userFieldsSchema, in a third of the time. */
export function validateUser(user: UserInput): Violation | undefined {
  return (
    validateField('firstName', user) ??
    validateField('lastName', user) ??
    validateField('email', user) ??
    validateField('profileImageUrl', user) ??
    validateField('attributes', user)
  );
}

function validateField<Name extends keyof UserFields>(name: Name, user: UserInput): Violation | undefined {
  const [field, validate] = rules[name];
  const description = validate(user[name]);
  return description === undefined ? undefined : { field, description };
}

export const firstNameSchema = textThat(rules.firstName[1]);
export const lastNameSchema = textThat(rules.lastName[1]);
export const profileImageUrlSchema = textThat(rules.profileImageUrl[1]);
export const attributesSchema = z
  .custom<JsonObject | undefined>()
  .superRefine((attributes, context) => {
    const message = rules.attributes[1](attributes);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  })
  .transform((attributes): JsonObject => attributes ?? {});

/** The fields of a new user. */
export const userFieldsSchema = z.object(
  {
    firstName: firstNameSchema,
    lastName: lastNameSchema,
    email: textThat(rules.email[1]),
    profileImageUrl: profileImageUrlSchema,
    attributes: attributesSchema,
  },
  'is required',
);

/** Parses an untrusted value. Throws INVALID_FIELD with one violation for each bad field. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalid(
    result.error.issues.map((issue): Violation => ({ field: pathOf(issue.path), description: issue.message })),
  );
}

/** A protobuf path in a message: snake_case, with indexes in brackets. */
function pathOf(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += `${text === '' ? '' : '.'}${String(step).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
  }
  return text;
}
