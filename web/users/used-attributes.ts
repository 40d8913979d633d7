/** Finds out which attributes other users have, with the type of the values, and the values that are worth offering again. */
import type { User } from '../../generated/users/v1/user.js';
import { looksLikeNumber } from '../text/parse-number.js';
import {
  type AttributeRow,
  type AttributeType,
  attributeTypeOf,
  offeredRow,
  sortedByKey,
  withType,
} from './attributes.js';

export interface UsedAttribute {
  /** The type that most values have; `null` if all values are null. */
  readonly type: AttributeType;
  /** The number of values, without null. */
  readonly count: number;
  /** The share of the users that have one, from 0 to 1. */
  readonly share: number;
  /** Whether all values, except null, have this type. */
  readonly isUniform: boolean;
  /** Texts that several users have, the most frequent first. */
  readonly suggestions: readonly string[];
}

/** By key, and sorted by it. */
export type UsedAttributes = ReadonlyMap<string, UsedAttribute>;

/** As many as one can read at a glance. */
const suggestionsMax = 20;
/** Longer texts are notes. */
const charactersMax = 80;

interface Tally {
  readonly types: Map<AttributeType, number>;
  readonly texts: Map<string, number>;
}

export function usedAttributes(users: readonly User[]): UsedAttributes {
  const tallies = new Map<string, Tally>();
  for (const [key, value] of users.flatMap(({ attributes }) => Object.entries(attributes ?? {}))) {
    const { types, texts } = tallies.get(key) ?? { types: new Map(), texts: new Map() };
    tallies.set(key, { types, texts });
    const type = attributeTypeOf(value);
    // A value counts more than its absence.
    types.set(type, (types.get(type) ?? 0) + (type === 'null' ? 0 : 1));
    if (type === 'text') texts.set(String(value), (texts.get(String(value)) ?? 0) + 1);
  }
  return new Map(sortedByKey(Object.fromEntries(tallies)).map(([key, tally]) => [key, knownOf(tally, users.length)]));
}

function knownOf({ types, texts }: Tally, users: number): UsedAttribute {
  const sorted = [...types].sort(([, a], [, b]) => b - a);
  const [type = 'text'] = sorted[0] ?? [];
  return {
    type,
    count: sumOf(sorted),
    share: sumOf(sorted) / users,
    isUniform: sorted.filter(([each]) => each !== 'null').length === 1,
    suggestions: type === 'text' ? suggestionsOf(texts) : [],
  };
}

/**
 * Texts such as departments repeat. If most values of an attribute are unique, as in notes and nicknames, a few equal ones
 * are a coincidence. An email is personal, even if two users have it.
 */
function suggestionsOf(texts: ReadonlyMap<string, number>): readonly string[] {
  const repeated = [...texts].filter(([, count]) => count > 1);
  if (sumOf(repeated) * 2 < sumOf([...texts])) return [];
  return repeated
    .filter(([text]) => text.trim() !== '' && text.length <= charactersMax && !/\S@\S|[\r\n]/.test(text))
    .sort(([, a], [, b]) => b - a)
    .slice(0, suggestionsMax)
    .map(([text]) => text);
}

function sumOf(counts: readonly (readonly [string, number])[]): number {
  return counts.reduce((sum, [, count]) => sum + count, 0);
}

/** More would make the form of a new user long. */
const offeredMax = 8;

/**
 * Returns rows for the attributes that most users have, for the form of a new user. Leaves out JSON, which has no shape to
 * fill in, attributes of only one user, and those that have a row already.
 */
export function offeredRows(
  known: UsedAttributes,
  rows: readonly AttributeRow[],
  protectedKeys: ReadonlySet<string>,
): readonly AttributeRow[] {
  const isOffered = (key: string, { type, count, share }: UsedAttribute) =>
    count > 1 && share > 0.5 && type !== 'json' && !protectedKeys.has(key) && !rows.some((row) => row.key === key);
  const usual = [...known].filter(([key, used]) => isOffered(key, used));
  const countMin = usual.map(([, { count }]) => count).sort((a, b) => b - a)[offeredMax - 1] ?? 0;
  return usual
    .filter(([, { count }]) => count >= countMin)
    .slice(0, offeredMax)
    .map(([key, { type }]) => offeredRow(key, type));
}

/**
 * Changes the key of a row. A value of another type than other users have would break what reads the attribute, so the
 * type becomes theirs, unless the user has chosen one.
 */
export function withKey(row: AttributeRow, key: string, known: UsedAttributes | undefined): AttributeRow {
  if (known === undefined || row.isTypeChosen === true) return { ...row, key };
  const { type: theirs = 'text' } = known.get(key) ?? {};
  const type = theirs === 'null' ? 'text' : theirs;
  return { ...(type === row.type ? row : withType(row, type)), key };
}

const nouns: Readonly<Partial<Record<AttributeType, string>>> = {
  text: 'text',
  number: 'numbers',
  boolean: 'yes or no',
  date: 'dates',
  link: 'links',
  list: 'lists',
  json: 'JSON',
};

/** Returns what all other users have in the attribute, such as `numbers`, if the edited row has something else. */
export function othersNoun(row: AttributeRow, known: UsedAttributes | undefined): string | undefined {
  const others = known?.get(row.key);
  if (row.untouched !== undefined || row.type === 'null' || others?.isUniform !== true) return undefined;
  // Days and links are texts, too.
  const isSame = row.type === others.type || (others.type === 'text' && (row.type === 'date' || row.type === 'link'));
  return isSame ? undefined : nouns[others.type];
}

/** Whether a new text was probably meant as a number. Other users may have such texts, for example as postcodes. */
export function isNumberAsText(row: AttributeRow, known: UsedAttributes | undefined): boolean {
  if (row.isNew !== true || row.type !== 'text' || row.isTypeChosen === true) return false;
  return known?.get(row.key) === undefined && looksLikeNumber(row.text);
}
