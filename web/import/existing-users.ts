/** Reads the users whom an import updates: their first names for rows without one, and examples of what changes. */
import type { User } from '../../generated/users/v1/user.js';
import type { DeepPartial } from '../../generated/users/v1/user_service.js';
import { textFields } from '../../src/fields.js';
import type { Directory } from '../calls/directory.js';
import { quoted } from '../text/cel-tokens.js';
import { emailKey } from '../text/email-key.js';
import { isEqual, type JsonValue } from '../users/user-fields.js';

// A filter has at most 2048 characters.
const filterMax = 1_800;
/** A smaller group is written sooner after its names were read. */
const namesReadMax = 50;
const examplesMax = 3;
/** More than are shown, because the server may reject some of their rows. */
const examplesKeptMax = 30;
/** Later rows are not searched for examples, because each search is a call for about 50 rows. */
const exampleRowsMax = 1_000;

type RowUser = DeepPartial<User>;

/** Returns the users with these emails by the key of the email. */
async function readByEmail(
  directory: Directory,
  emails: readonly string[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, User>> {
  const found = new Map<string, User>();
  if (!directory.may('listUsers')) return found;
  for (const texts of filterParts(emails)) {
    const request = { filter: `email in [${texts.join(', ')}]`, pageSize: texts.length };
    const { users } = await directory.listUsers(request, signal && { signal });
    for (const user of users) found.set(emailKey(user.email), user);
  }
  return found;
}

/** Yields the emails as texts of a filter, as many as a filter can have. Leaves out those that no user can have. */
function* filterParts(emails: readonly string[]): Generator<readonly string[]> {
  let part: string[] = [];
  let length = 0;
  for (const email of new Set(emails)) {
    const text = quoted(email);
    if (email === '' || !email.isWellFormed() || email.includes('\0') || text.length > filterMax) continue;
    if (length + text.length > filterMax) {
      yield part;
      part = [];
      length = 0;
    }
    part.push(text);
    length += text.length + ', '.length;
  }
  if (part.length > 0) yield part;
}

/** Whether an update by the row must keep the first name that the user has. */
export function needsFirstName({ firstName = '', email = '' }: RowUser): boolean {
  return firstName === '' && email !== '';
}

/** Whether one call can read the first names for these rows, right before they are written. */
export function canReadNamesAtOnce(rows: readonly RowUser[]): boolean {
  return rows.length <= namesReadMax && [...filterParts(rows.map(({ email = '' }) => email))].length <= 1;
}

/**
 * Adds the first names that the users have now to rows without one, because the contract requires a first name in each row. A
 * row with an unknown email stays as it is, and the server rejects it.
 */
export async function withFirstNames(
  directory: Directory,
  rows: readonly RowUser[],
  signal?: AbortSignal,
): Promise<readonly RowUser[]> {
  const emails = rows.filter(needsFirstName).map(({ email = '' }) => email);
  if (emails.length === 0) return rows;
  const found = await readByEmail(directory, emails, signal);
  const names = new Map([...found].map(([key, { firstName }]) => [key, firstName]));
  return rows.map((row) => {
    const { firstName = '', email = '' } = row;
    const key = emailKey(email);
    // A later row must not undo the name of an earlier one.
    if (firstName !== '') names.set(key, firstName);
    const name = names.get(key);
    return needsFirstName(row) && name !== undefined ? { ...row, firstName: name } : row;
  });
}

/** A value that a row changes. `label` is the name of the field on the page, or the key of the attribute. */
export interface ValueChange {
  readonly label: string;
  /** Undefined if the user lacks the attribute. */
  readonly before: JsonValue | undefined;
  readonly after: JsonValue;
}

export interface ChangeExample {
  /** The number of the row in the file, from 1. */
  readonly row: number;
  readonly email: string;
  readonly changes: readonly ValueChange[];
}

/** Returns what an update of the user by the row changes. */
export function changesOf(row: RowUser, user: User, hiddenKeys: ReadonlySet<string> = new Set()): ValueChange[] {
  const texts = textFields.flatMap(({ name, label }) => {
    const [before, after] = [user[name], row[name] ?? ''];
    return after === '' || after === before ? [] : [{ label, before, after }];
  });
  const old = user.attributes ?? {};
  const attributes = Object.entries(row.attributes ?? {}).flatMap(([key, value]) => {
    const [before, after] = [Object.hasOwn(old, key) ? (old[key] as JsonValue) : undefined, value as JsonValue];
    return hiddenKeys.has(key) || isEqual(before, after) ? [] : [{ label: key, before, after }];
  });
  return [...texts, ...attributes];
}

/** Collects the first users whom an import changes. */
export function createChangeExamples(directory: Directory, signal: AbortSignal) {
  const examples: ChangeExample[] = [];
  let searched = 0;
  return {
    async add(rows: readonly { readonly row: number; readonly user: RowUser }[]): Promise<void> {
      if (examples.length >= examplesKeptMax || searched >= exampleRowsMax) return;
      searched += rows.length;
      const emails = rows.map(({ user }) => user.email ?? '');
      // The check is complete without examples.
      const users = await readByEmail(directory, emails, signal).catch(() => new Map<string, User>());
      const seen = new Set<string>();
      for (const { row, user } of rows) {
        const key = emailKey(user.email ?? '');
        const before = users.get(key);
        // A second row for a user is applied to what the first one wrote.
        if (before === undefined || seen.has(key)) continue;
        seen.add(key);
        const changes = changesOf(user, before, directory.caller.protectedAttributes);
        if (changes.length > 0 && examples.length < examplesKeptMax)
          examples.push({ row, email: before.email, changes });
      }
    },
    /** `rejected` has the numbers of rows that the server would not write. */
    list: (rejected: ReadonlySet<number>): readonly ChangeExample[] =>
      examples.filter(({ row }) => !rejected.has(row)).slice(0, examplesMax),
  };
}
