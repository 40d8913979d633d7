/**
 * The attribute keys and the most frequent values of a bounded sample of users: suggestions for filters. The page reads the
 * sample only when somebody edits a filter.
 */
import type { User } from '../../generated/users/v1/user.js';
import type { Directory } from '../calls/directory.js';
import { readSampledUsers } from '../calls/sampled-users.js';
import { formatCount, formatPercent } from '../text/format.js';
import type { JsonValue } from '../users/user-fields.js';
import { type ChipValue, type FieldPath, isAttribute } from './filter-chips.js';
import type { FieldKind, FilterFieldInfo } from './filter-fields.js';

export interface SampledValue {
  readonly value: ChipValue;
  /** The number of sampled users that have it. */
  readonly count: number;
}

export interface SampledField extends FilterFieldInfo {
  /** The number of sampled users that have the field. */
  readonly count: number;
  /** Whether some sampled user has a text in it, or a list with a text. */
  readonly hasTexts: boolean;
  /** The most frequent first. */
  readonly values: readonly SampledValue[];
}

export interface UserSample {
  /** The number of users in it. */
  readonly size: number;
  /** The attributes first that most users have. */
  readonly fields: readonly SampledField[];
}

/** The part of the sampled users with something, as a rounded percentage. */
export function shareText(count: number, sample: UserSample | undefined): string {
  const percent = Math.round((100 * count) / Math.max(1, sample?.size ?? 1));
  return percent === 0 ? 'rare' : formatPercent(percent / 100);
}

/** Says once what all shares beside it are parts of. */
export function sharesText({ size }: UserSample): string {
  return `Shares in a sample of ${formatCount(size)} users`;
}

/** The attributes in which a text is searched: the most frequent first, and days last, because few look for them. */
export function searchedFields(fields: readonly SampledField[]): readonly SampledField[] {
  const searched = fields.filter(({ path, hasTexts }) => isAttribute(path) && hasTexts);
  return searched.toSorted((a, b) => Number(a.kind === 'date') - Number(b.kind === 'date'));
}

export function searchedPaths(fields: readonly SampledField[]): readonly FieldPath[] {
  return searchedFields(fields).map(({ path }) => path);
}

const noSample: UserSample = { size: 0, fields: [] };

/** Values in memory for each field, and the length of a text that is worth suggesting. */
const valuesMax = 200;
const charactersMax = 80;
/** The levels of keys in nested attributes, as many as the server allows. */
const levelsMax = 32;

/** Returns a function that reads the sample, or returns a recent one. It is empty if the call fails. */
export function createUserSampler(directory: Directory): () => Promise<UserSample> {
  let users: readonly User[] = [];
  let sample = noSample;
  return async () => {
    try {
      const read = await readSampledUsers(directory);
      if (read !== users) sample = sampleOf(read);
      users = read;
      return sample;
    } catch {
      // Suggestions are optional.
      return noSample;
    }
  };
}

interface Tally {
  readonly path: FieldPath;
  count: number;
  hasTexts: boolean;
  readonly kinds: Map<FieldKind, number>;
  readonly values: Map<ChipValue, number>;
}

export function sampleOf(users: readonly User[]): UserSample {
  const tallies = new Map<string, Tally>();
  const add = (path: FieldPath, kind: FieldKind, values: Iterable<ChipValue>) => {
    const key = JSON.stringify(path);
    const tally = tallies.get(key) ?? { path, count: 0, hasTexts: false, kinds: new Map(), values: new Map() };
    tallies.set(key, tally);
    tally.count++;
    tally.kinds.set(kind, (tally.kinds.get(kind) ?? 0) + 1);
    for (const value of new Set(values)) {
      tally.hasTexts ||= typeof value === 'string';
      const isShort = typeof value !== 'string' || (value.trim() !== '' && value.length <= charactersMax);
      const count = tally.values.get(value) ?? 0;
      if (isShort && (count > 0 || tally.values.size < valuesMax)) tally.values.set(value, count + 1);
    }
  };
  const addAttribute = (path: FieldPath, value: JsonValue): void => {
    if (value === null) return;
    if (Array.isArray(value)) add(path, 'list', value.filter(isScalar));
    else if (typeof value === 'object') {
      if (path.length > levelsMax) return;
      for (const [key, child] of Object.entries(value)) addAttribute([...path, key], child);
    } else add(path, kindOfValue(value), [value]);
  };
  for (const { firstName, lastName, displayName, email, attributes = {} } of users) {
    add(['first_name'], 'text', [firstName]);
    add(['last_name'], 'text', [lastName]);
    add(['display_name'], 'text', [displayName]);
    add(['email'], 'email', [email.slice(email.lastIndexOf('@'))]);
    for (const [key, value] of Object.entries(attributes)) addAttribute(['attributes', key], value);
  }
  return { size: users.length, fields: [...tallies.values()].map(fieldOf).sort(byCount) };
}

function isScalar(value: JsonValue): value is ChipValue {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function kindOfValue(value: ChipValue): FieldKind {
  if (typeof value === 'number') return 'number';
  if (typeof value === 'boolean') return 'boolean';
  return /^\d{4}-\d\d-\d\d(?:$|T)/.test(value) ? 'date' : 'text';
}

function fieldOf({ path, count, hasTexts, kinds, values }: Tally): SampledField {
  const [[kind] = ['text']] = [...kinds].sort(([, a], [, b]) => b - a);
  const sorted = [...values].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count);
  return { path, kind: kind as FieldKind, count, hasTexts, values: sorted };
}

function byCount(a: SampledField, b: SampledField): number {
  return Number(isAttribute(b.path)) - Number(isAttribute(a.path)) || b.count - a.count;
}
