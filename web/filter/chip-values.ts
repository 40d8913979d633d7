/** Converts what is typed into the fields of a chip to values, and offers periods of days. */
import { foldText } from '../text/fold-text.js';
import { localNumberText, parseLocalNumber } from '../text/parse-number.js';
import type { ChipValue } from './filter-chips.js';
import { type FieldKind, valueText } from './filter-fields.js';

const booleans = [
  { value: true, words: ['yes', 'true'] },
  { value: false, words: ['no', 'false'] },
];
const idForm = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Returns undefined if the text is not a value of this kind. */
export function parseValue(kind: FieldKind, text: string): ChipValue | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (kind === 'number') {
    const number = parseLocalNumber(trimmed);
    return Number.isFinite(number) ? number : undefined;
  }
  if (kind === 'boolean') return booleans.find(({ words }) => words.includes(trimmed.toLowerCase()))?.value;
  if (kind === 'id') return idForm.test(trimmed) ? trimmed.toLowerCase() : undefined;
  // A filter can contain neither U+0000 nor half of a character.
  return trimmed.replaceAll('\0', '').toWellFormed();
}

/** The text that is parsed to the value. */
export function textOfValue(value: ChipValue): string {
  return typeof value === 'number' ? localNumberText(value) : String(value);
}

export interface OfferedValues {
  /** The known values that match the text, those first that begin with it. */
  readonly values: readonly ChipValue[];
  /** The text itself as a value; undefined if it is not a value, or is one of the known values. */
  readonly literal: ChipValue | undefined;
  /** The value that Enter chooses; undefined without a text. */
  readonly suggested: ChipValue | undefined;
}

const offeredMax = 50;

/** The values to offer for what was typed. Case and accents do not matter. */
export function offeredValues(kind: FieldKind, text: string, known: readonly ChipValue[]): OfferedValues {
  const typed = text.trim();
  if (typed === '') return { values: known.slice(0, offeredMax), literal: undefined, suggested: undefined };
  const own = parseValue(kind, typed);
  const folded = foldText(typed);
  const rankOf = (value: ChipValue): number => {
    const words = foldText(valueText(value));
    if (value === own) return 0;
    // Apostrophes, for example, fold to an empty text.
    if (folded === '' || !words.includes(folded)) return -1;
    return words === folded ? 1 : words.startsWith(folded) ? 2 : 3;
  };
  const values = known
    .map((value) => ({ value, rank: rankOf(value) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value)
    .slice(0, offeredMax);
  const literal = own === undefined || known.includes(own) ? undefined : own;
  // 5 is a whole number, and not the beginning of 50.
  const suggested = kind === 'number' ? own : (values[0] ?? literal);
  return { values, literal, suggested };
}

export interface Period {
  readonly label: string;
  readonly operator: 'since' | 'within';
  readonly values: readonly string[];
}

const periods = [
  ['Today', 'today', 'today + 1'],
  ['Last 7 days', 'today - 6', 'today + 1'],
  ['Last 30 days', 'today - 29', 'today + 1'],
  ['This year', 'this_year', 'this_year + 1'],
] as const;

/** Periods to choose from with one click. They move with the calendar. Times of the server are never in the future. */
export function periodsOf(kind: FieldKind): readonly Period[] {
  if (kind === 'time') return periods.map(([label, from]) => ({ label, operator: 'since', values: [from] }));
  const all = [...periods, ['Next 30 days', 'today', 'today + 30'] as const];
  return all.map(([label, ...values]) => ({ label, operator: 'within', values }));
}
