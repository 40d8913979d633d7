/** Converts what is typed into the fields of a chip: texts to values, and times to days. */
import type { ChipValue } from './filter-chips.js';
import { addDays, type FieldKind, valueText } from './filter-fields.js';
import { foldText } from './fold-text.js';
import { parseNumber } from './parse-number.js';

const idForm = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Returns undefined if the text is not a value of this kind. */
export function parseValue(kind: FieldKind, text: string): ChipValue | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (kind === 'number') {
    const number = parseNumber(trimmed);
    return Number.isFinite(number) ? number : undefined;
  }
  if (kind === 'boolean') return trimmed === 'true' ? true : trimmed === 'false' ? false : undefined;
  if (kind === 'id') return idForm.test(trimmed) ? trimmed.toLowerCase() : undefined;
  // A filter can contain neither U+0000 nor half of a character.
  return trimmed.replaceAll('\0', '').toWellFormed();
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

/** The local day of a time, as a date field has it. */
export function dayOf(time: Date): string {
  if (Number.isNaN(time.getTime())) return '';
  const two = (number: number) => String(number).padStart(2, '0');
  return `${String(time.getFullYear()).padStart(4, '0')}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** Days to choose from with one click. */
export function recentDays(now: Date): readonly { readonly label: string; readonly day: string }[] {
  return [
    { label: 'Today', day: dayOf(now) },
    { label: 'Last 7 days', day: dayOf(addDays(now, -6)) },
    { label: 'Last 30 days', day: dayOf(addDays(now, -29)) },
    { label: 'This year', day: `${dayOf(now).slice(0, 4)}-01-01` },
  ];
}
