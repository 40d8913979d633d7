/**
 * Reads the fields of a user from flags, and prints a user.
 *
 * The server validates the fields. This file refuses only values that cannot be sent unchanged.
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { User } from '../client/index.js';
import { inexactNumberText } from '../json.js';
import { safeJson, safeText } from '../safe-text.js';
import { hasInfinity, isObject, readJson } from '../user-files/read-json.js';
import { UsageError } from './failure.js';
import { print, type Terminal } from './terminal.js';

export interface UserFlags {
  firstName?: string;
  lastName?: string;
  email?: string;
  profileImageUrl?: string;
  attribute?: [string, unknown][];
  attributes?: Record<string, unknown>;
}

export function addUserFlags(command: Command): Command {
  return command
    .option('--first-name <text>', 'the first name')
    .option('--last-name <text>', 'the last name')
    .option('--email <address>', 'the email')
    .option('--profile-image-url <url>', 'the URL of a picture')
    .option(
      '--attribute <key=value>',
      'one attribute, as JSON if it is valid JSON, else as text; may be repeated',
      collect,
    )
    .option('--attributes <json>', 'all attributes, as a JSON object', parseObject);
}

/** Returns only the given fields. */
export function userOf({
  firstName,
  lastName,
  email,
  profileImageUrl,
  attribute,
  attributes,
}: UserFlags): Partial<User> {
  const single = attribute === undefined ? undefined : Object.fromEntries(attribute);
  const given = {
    firstName,
    lastName,
    email,
    profileImageUrl,
    attributes: attributes || single ? { ...attributes, ...single } : undefined,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function collect(text: string, before: [string, unknown][] = []): [string, unknown][] {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError('It must be key=value.');
  return [...before, [text.slice(0, at), parseLoosely(text.slice(at + 1))]];
}

function parseLoosely(text: string): unknown {
  const value = readJson(text);
  if (hasInfinity(value)) throw new InvalidArgumentError(inexactNumberText);
  return value === undefined ? text : value;
}

function parseObject(text: string): Record<string, unknown> {
  const value = parseLoosely(text);
  if (!isObject(value)) throw new InvalidArgumentError('It must be a JSON object.');
  return value;
}

/** Prints one user: a line for each field that is set, or a JSON document. */
export async function printUser(terminal: Terminal, user: User | undefined, json: boolean | undefined): Promise<void> {
  if (user === undefined) throw new Error('The server returned no user.');
  const lines = [
    ['Id', user.id],
    ['Name', user.displayName],
    ['First name', user.firstName],
    ['Last name', user.lastName],
    ['Email', user.email],
    ['Picture', user.profileImageUrl],
    ['Attributes', user.attributes === undefined ? '' : JSON.stringify(user.attributes)],
    ['Created', user.createTime?.toISOString() ?? ''],
    ['Updated', user.updateTime?.toISOString() ?? ''],
    ['Etag', user.etag],
  ] as const;
  const set = lines.filter(([, value]) => value !== '');
  const text = set.map(([label, value]) => `${label.padEnd(12)}${safeText(value)}`).join('\n');
  await print(terminal.stdout, `${json ? safeJson(user, 2) : text}\n`);
}

const clearable = ['last_name', 'profile_image_url', 'attributes'];

/** Turns a field of `--clear` into its path in a mask: last-name becomes last_name. */
export function parseClear(text: string, before: string[] = []): string[] {
  const path = text.startsWith('attributes.') ? text : text.replaceAll('-', '_');
  if (!clearable.includes(path) && !/^attributes\../.test(path)) {
    throw new InvalidArgumentError('It must be last-name, profile-image-url, attributes or attributes.KEY.');
  }
  return [...before, path];
}

/** The mask for the given flags. Throws a UsageError without a field, or if one is both set and cleared. */
export function maskOf(flags: UserFlags, clear: readonly string[] = []): string[] {
  const set: string[] = [];
  if (flags.firstName !== undefined) set.push('first_name');
  if (flags.lastName !== undefined) set.push('last_name');
  if (flags.email !== undefined) set.push('email');
  if (flags.profileImageUrl !== undefined) set.push('profile_image_url');
  if (flags.attributes !== undefined) set.push('attributes');
  else for (const [key] of flags.attribute ?? []) set.push(`attributes.${key}`);
  const both = clear.find((path) => set.some((other) => overlaps(path, other)));
  if (both !== undefined) throw new UsageError(`${both} is both set and cleared.`);
  if (set.length + clear.length === 0)
    throw new UsageError('There is nothing to change. Pass a field to set, or --clear.');
  return [...new Set([...set, ...clear])];
}

function overlaps(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}
