/**
 * Reads the fields of a user from flags.
 *
 * The server validates the fields. This file refuses only values that cannot be sent unchanged.
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { User } from '../client/index.js';
import { attributeKeyOf, attributePath, type TextName, textFields, writableFields } from '../fields.js';
import { inexactNumberText } from '../json.js';
import { hasInfinity, isObject, readJson } from '../user-files/read-json.js';
import { UsageError } from './failure.js';

export interface UserFlags extends Partial<Record<TextName, string>> {
  attribute?: [string, unknown][];
  attributes?: Record<string, unknown>;
}

const placeholders = { name: 'text', text: 'text', email: 'address', url: 'url' };

export function addUserFlags(command: Command): Command {
  for (const { path, label, input } of textFields) {
    command.option(`--${flagOf(path)} <${placeholders[input]}>`, `the ${label[0]?.toLowerCase()}${label.slice(1)}`);
  }
  return command
    .option(
      '--attribute <key=value>',
      'one attribute, as JSON if it is valid JSON, else as text; may be repeated',
      addAttribute,
    )
    .option('--attributes <json>', 'all attributes, as a JSON object', parseObject);
}

/** Commander stores the value of --last-name as `lastName`, which is also the name of the field. */
function flagOf(path: string): string {
  return path.replaceAll('_', '-');
}

/** Returns a user with only the fields that the flags set. */
export function userOf(flags: UserFlags): Partial<User> {
  const user: Partial<User> = {};
  for (const { name } of textFields) if (flags[name] !== undefined) user[name] = flags[name];
  if (flags.attributes !== undefined || flags.attribute !== undefined) {
    user.attributes = { ...flags.attributes, ...Object.fromEntries(flags.attribute ?? []) };
  }
  return user;
}

function addAttribute(text: string, before: [string, unknown][] = []): [string, unknown][] {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError('It must be key=value.');
  return [...before, [text.slice(0, at), parseJsonOrText(text.slice(at + 1))]];
}

function parseJsonOrText(text: string): unknown {
  const value = readJson(text);
  if (hasInfinity(value)) throw new InvalidArgumentError(inexactNumberText);
  return value === undefined ? text : value;
}

function parseObject(text: string): Record<string, unknown> {
  const value = parseJsonOrText(text);
  if (!isObject(value)) throw new InvalidArgumentError('It must be a JSON object.');
  return value;
}

const clearable = writableFields.filter((field) => !('isRequired' in field)).map(({ path }) => path as string);

/** Converts a field of `--clear` into its path in a mask: last-name becomes last_name. */
export function parseClear(text: string, before: string[] = []): string[] {
  const path = attributeKeyOf(text) === undefined ? text.replaceAll('-', '_') : text;
  if (!clearable.includes(path) && !attributeKeyOf(path)) {
    throw new InvalidArgumentError(`It must be ${clearable.map(flagOf).join(', ')} or attributes.KEY.`);
  }
  return [...before, path];
}

/**
 * Returns the update mask for the flags. Throws a UsageError if they name no field, or if a field is both set and
 * cleared.
 */
export function maskOf(flags: UserFlags, clear: readonly string[] = []): string[] {
  const set: string[] = textFields.filter(({ name }) => flags[name] !== undefined).map(({ path }) => path);
  if (flags.attributes !== undefined) set.push('attributes');
  else for (const [key] of flags.attribute ?? []) set.push(attributePath(key));
  const both = clear.find((path) => set.some((other) => overlaps(path, other)));
  if (both !== undefined) throw new UsageError(`${both} is both set and cleared.`);
  if (set.length + clear.length === 0)
    throw new UsageError('There is nothing to change. Pass a field to set, or --clear.');
  return [...new Set([...set, ...clear])];
}

function overlaps(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}
