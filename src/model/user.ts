/**
 * The user as the directory knows it, and the form that its fields must have.
 *
 * Pure: knows neither the wire nor the table. The parsers here are the only place where a field's form is checked.
 */
import { domainToASCII, domainToUnicode } from 'node:url';
import { z } from 'zod';
import { invalid, type Violation } from './fault.js';

/** JSON as it may stand in `attributes`. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** What a caller may write of a user. */
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
  /** 1 for a new user, one more with every change; the etag is made of it. */
  version: number;
}

export const namesCharactersMax = 256;
export const emailCharactersMax = 256;
export const urlCharactersMax = 2048;
export const attributesBytesMax = 16_384;
export const attributesLevelsMax = 32;

/** Of one message, in either direction; what a client receives at most unless it is told otherwise. */
export const messageBytesMax = 4 * 1024 * 1024;

/** A UUID of any version, in either case. */
export const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function displayName(user: Pick<User, 'firstName' | 'lastName'>): string {
  return user.lastName === '' ? user.firstName : `${user.firstName} ${user.lastName}`;
}

/** An etag is opaque to callers; that it holds the version is nobody's business but this file's. */
export function etagOf(user: Pick<User, 'version'>): string {
  return `v${user.version.toString(36)}`;
}

/** The version that an etag names; 0, which no user has, for a text that is none of ours. Undefined for an empty one. */
export function versionOf(etag: string): number | undefined {
  if (etag === '') return undefined;
  const version = /^v[1-9a-z][0-9a-z]{0,5}$/.test(etag) ? Number.parseInt(etag.slice(1), 36) : 0;
  // The column is an integer of 32 bits.
  return version <= 0x7fff_ffff ? version : 0;
}

/** Whether a text has at most `max` Unicode code points, without counting those of a text that cannot. */
export function hasAtMost(text: string, max: number): boolean {
  if (text.length <= max) return true;
  if (text.length > 2 * max) return false;
  let count = 0;
  for (const _ of text) count++;
  return count <= max;
}

/** What is wrong with any text that a caller sends, or undefined. */
export function refuseUnstorable(text: string): string | undefined {
  // Postgres has no U+0000, and stores a lone surrogate as U+FFFD.
  if (text.includes('\0')) return 'must not contain U+0000';
  if (!text.isWellFormed()) return 'must be well-formed Unicode';
  return undefined;
}

// Characters that show nothing: white space, format characters and fillers, the empty Braille pattern and the null notehead.
const onlyInvisible = /^[\s\p{Cf}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]*$/u;

function refuseName(text: string, required: boolean): string | undefined {
  if (required && onlyInvisible.test(text)) return `must have 1 to ${namesCharactersMax} characters, not only blanks`;
  if (!hasAtMost(text, namesCharactersMax)) return `must have at most ${namesCharactersMax} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not contain control characters';
  return refuseUnstorable(text);
}

// RFC 5322's dot-atom or quoted string, before a host name or an address literal; with RFC 6531's letters outside ASCII.
const emailForm =
  /^(?:[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\u{10ffff}-]+)*|"(?:[^"\\]|\\.)+")@(?:[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?(?:\.[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?)*|\[(?:[0-9.]+|ipv6:[a-f0-9:.]+)\])$/iu;

// Characters that show nothing, private and unassigned characters, noncharacters and U+FFFD. The emoji selector is allowed
// after an emoji. The joiners have a rule of their own (hasMisplacedJoiner).
const neverInEmails =
  /(?!\u200c|\u200d|\ufe0f)[\p{Cf}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u2800\ufffd\u{1d159}]|(?<!\p{Extended_Pictographic})\ufe0f/u;
const invisibleText = 'must not contain invisible, private or unassigned characters';

/** What is wrong with an email that someone sets, or undefined. */
export function refuseEmail(text: string): string | undefined {
  const unbounded = refuseLegacyEmail(text);
  if (unbounded !== undefined) return unbounded;
  // White space is allowed nowhere but inside a quoted local part, and there only a blank.
  if (/[\p{Cc}\u2028\u2029]/u.test(text)) return 'must not contain control characters';
  if (!emailForm.test(text) || /[^\S ]/u.test(text)) return 'must be one email address, like ada@example.com';
  if (neverInEmails.test(text) || hasMisplacedJoiner(text)) return invisibleText;
  return refuseDomain(text.slice(text.lastIndexOf('@') + 1));
}

/** IDNA2008 allows a joiner only if it changes how the letters around it look. Node applies that rule to each word. */
function hasMisplacedJoiner(text: string): boolean {
  const joiner = /[\u200c\u200d]/u;
  if (!joiner.test(text)) return false;
  const words = text.match(/[\p{L}\p{M}\u200c\u200d]+/gu) ?? [];
  // No word is longer than a label, and Node takes long for those that are.
  return words.some((word) => joiner.test(word) && (!hasAtMost(word, labelBytesMax) || domainToASCII(word) === ''));
}

const ipv4Form = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function refuseDomain(domain: string): string | undefined {
  if (domain.startsWith('[')) {
    const address = domain.slice(1, -1);
    const isIPv6 = /^ipv6:/i.test(address);
    const isValid = isIPv6 ? URL.canParse(`http://[${address.slice('ipv6:'.length)}]`) : ipv4Form.test(address);
    return isValid ? undefined : 'must have a valid IP address in brackets';
  }
  if (!/[^\0-\x7f]|(?:^|\.)xn--/i.test(domain)) return refuseDomainLength(domain);
  // A letter takes at least one byte in ASCII, and Node takes long for labels that are too long.
  if (domain.split('.').some((label) => !hasAtMost(label, labelBytesMax))) return domainLengthText;
  const ascii = domainToASCII(domain);
  return refuseDomainLength(ascii) ?? (isSameDomain(domain, ascii) ? undefined : domainText);
}

const labelBytesMax = 63;
const domainBytesMax = 253;
const domainLengthText = `must have a domain of at most ${domainBytesMax} bytes, with at most ${labelBytesMax} between two dots (counted in its ASCII form)`;
const domainText =
  'must have a valid domain name, with ordinary dots and without compatibility characters such as full-width letters';

function refuseDomainLength(ascii: string): string | undefined {
  const isTooLong = ascii.length > domainBytesMax || ascii.split('.').some((label) => label.length > labelBytesMax);
  return isTooLong ? domainLengthText : undefined;
}

/** Whether a domain is valid, and IDNA maps its letters to no others. `ascii` is what Node makes of it. */
function isSameDomain(domain: string, ascii: string): boolean {
  const letters = domainToUnicode(ascii);
  if (ascii === '' || domainToASCII(letters) !== ascii) return false;
  const [labels, asciiLabels, letterLabels] = [domain.split('.'), ascii.split('.'), letters.split('.')];
  if (labels.length !== asciiLabels.length) return false;
  return labels.every((label, index) => {
    const [asciiLabel, letterLabel = ''] = [asciiLabels[index], letterLabels[index]];
    if (!/^xn--/i.test(label)) return plain(label) === plain(letterLabel);
    // Node gives some invalid Punycode back as it is.
    return label.toLowerCase() === asciiLabel && letterLabel !== asciiLabel;
  });
}

/** Removes the differences that are allowed between a label and its canonical form: case, NFC, final sigma, emoji selector. */
function plain(label: string): string {
  return label.normalize('NFC').toLowerCase().replaceAll('ς', 'σ').replaceAll('\ufe0f', '');
}

/** What is wrong with an email for the first contract, where any text will do. */
export function refuseLegacyEmail(text: string): string | undefined {
  if (text === '' || !hasAtMost(text, emailCharactersMax)) return `must have 1 to ${emailCharactersMax} characters`;
  return refuseUnstorable(text);
}

function refuseUrl(text: string): string | undefined {
  if (text === '') return undefined;
  if (!hasAtMost(text, urlCharactersMax)) return `must have at most ${urlCharactersMax} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not contain control characters';
  if (!/^https?:\/\/[^\s/]\S*$/iu.test(text) || !URL.canParse(text))
    return 'must be an absolute http or https URL, or empty';
  return refuseUnstorable(text);
}

/** What is wrong with attributes, or undefined. Walks them itself because JSON.stringify neither counts levels nor minds infinities. */
export function refuseAttributes(attributes: unknown): string | undefined {
  const refusal = refuseJson(attributes, 1);
  if (refusal !== undefined) return refusal;
  const text = JSON.stringify(attributes);
  if (Buffer.byteLength(text) > attributesBytesMax)
    return `must have at most ${attributesBytesMax} bytes as compact JSON`;
  if (/\de[+-]\d/.test(text) && digitsAdded(attributes) > digitsAddedMax) {
    return `must have at most ${digitsAddedMax} digits behind exponents`;
  }
  return undefined;
}

// jsonb knows no exponents: it writes 1e300 with 301 digits. Without this bound one user's 16 KiB could become 800.
const digitsAddedMax = 65_536;

function digitsAdded(value: unknown): number {
  if (typeof value === 'number') return Math.abs(Number(/e(.*)/.exec(String(value))?.[1] ?? 0));
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((sum: number, child) => sum + digitsAdded(child), 0);
}

function refuseJson(value: unknown, level: number): string | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : 'must have finite numbers';
    case 'string':
      return refuseUnstorable(value);
    case 'object': {
      if (value === null) return undefined;
      if (level > attributesLevelsMax) return `must have at most ${attributesLevelsMax} levels`;
      for (const [key, child] of Object.entries(value)) {
        const refusal = refuseUnstorable(key) ?? refuseJson(child, level + 1);
        if (refusal !== undefined) return refusal;
      }
      return undefined;
    }
    default:
      // A google.protobuf.Value of which no kind is set arrives as undefined.
      return 'must have a kind in every google.protobuf.Value';
  }
}

/** Turns a function that says what is wrong with a text into a schema. */
export function textThat(refuse: (text: string) => string | undefined): z.ZodType<string> {
  return z.string().superRefine((text, context) => {
    const message = refuse(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
}

/** A text in which any characters are allowed that can be stored. */
export const storableTextSchema = textThat(refuseUnstorable);

/** The same for many texts at once: an array of schemas takes five times as long. */
export function textsThat(refuse: (text: string) => string | undefined): z.ZodType<string[], string[]> {
  return z.custom<string[]>().superRefine((texts, context) => {
    for (const [index, text] of texts.entries()) {
      const message = refuse(text);
      if (message !== undefined) context.addIssue({ code: 'custom', message, path: [index] });
    }
  });
}

/** A user as a message has it, as far as callers write it. */
export type UserInput = Omit<UserFields, 'attributes'> & { readonly attributes: JsonObject | undefined };

/** The rules for a user who is to be created: what is wrong with each field, or undefined, and the field's path. */
const rules: {
  readonly [Name in keyof UserFields]: [path: string, refuse: (value: UserInput[Name]) => string | undefined];
} = {
  firstName: ['first_name', (text) => refuseName(text, true)],
  lastName: ['last_name', (text) => refuseName(text, false)],
  email: ['email', refuseEmail],
  profileImageUrl: ['profile_image_url', refuseUrl],
  attributes: ['attributes', (attributes) => (attributes === undefined ? undefined : refuseAttributes(attributes))],
};

/** The first thing that is wrong with a user who is to be created. As userFieldsSchema finds it, in a third of the time. */
export function refuseUser(user: UserInput): Violation | undefined {
  return (
    refuseField('firstName', user) ??
    refuseField('lastName', user) ??
    refuseField('email', user) ??
    refuseField('profileImageUrl', user) ??
    refuseField('attributes', user)
  );
}

function refuseField<Name extends keyof UserFields>(name: Name, user: UserInput): Violation | undefined {
  const [field, refuse] = rules[name];
  const description = refuse(user[name]);
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

/** The fields of a user who is to be created. */
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

/** Runs a schema over what is untrusted; throws INVALID_FIELD with one violation for each bad field. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalid(
    result.error.issues.map((issue): Violation => ({ field: pathOf(issue.path), description: issue.message })),
  );
}

/** A path in a message as protobuf names it: snake_case, indexes in brackets. */
function pathOf(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += `${text === '' ? '' : '.'}${String(step).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
  }
  return text;
}
