/** A chip while somebody edits it: what was typed, and the chip that it becomes. */

import { dayOf, parseValue } from './chip-values.js';
import type { Chip, ChipValue, FieldPath, Operator } from './filter-chips.js';
import { addDays, type FieldKind, isDayStart, kindOfChip, operatorsOf, valuesOf } from './filter-fields.js';
import { numberProblem } from './parse-number.js';

export interface ChipDraft {
  readonly path: FieldPath;
  readonly others: readonly FieldPath[];
  readonly kind: FieldKind;
  readonly operator: Operator;
  /** The selected values of an operator that takes several. */
  readonly values: readonly ChipValue[];
  /** One or two texts, or days, of the other operators. The first is also the text after the selected values. */
  readonly texts: readonly [string, string];
}

export function newDraft(path: FieldPath, kind: FieldKind, others: readonly FieldPath[] = []): ChipDraft {
  const operator = others.length > 0 ? 'contains' : (operatorsOf(kind)[0] ?? 'is');
  return { path, others, kind, operator, values: [], texts: ['', ''] };
}

export function draftOf(chip: Chip, sampledKind: FieldKind | undefined): ChipDraft {
  const { path, others = [], operator, values } = chip;
  const own = kindOfChip(chip);
  const kind = sampledKind !== undefined && operatorsOf(sampledKind).includes(operator) ? sampledKind : own;
  const isSeveral = valuesOf(operator) === 'several';
  const text = (at: 0 | 1): string => {
    const value = values[at];
    if (isSeveral || value === undefined) return '';
    return isDate(operator) ? dayOfValue(String(value), at === 1) : String(value);
  };
  return { path, others, kind, operator, values: isSeveral ? values : [], texts: [text(0), text(1)] };
}

const isDate = (operator: Operator) => operator === 'before' || operator === 'since' || operator === 'within';

function dayOfValue(value: string, isEnd: boolean): string {
  const time = localTime(value);
  return dayOf(isEnd && isDayStart(time) ? addDays(time, -1) : time);
}

/** Keeps what was typed if the new operator can use it. */
export function withOperator(draft: ChipDraft, operator: Operator): ChipDraft {
  if (isDate(draft.operator) !== isDate(operator)) return { ...draft, operator, values: [], texts: ['', ''] };
  const [before, after] = [valuesOf(draft.operator), valuesOf(operator)];
  if (before === 'several' && after !== 'several' && after !== 'none') {
    const [first = draft.texts[0]] = draft.values;
    return { ...draft, operator, values: [], texts: [String(first), ''] };
  }
  return { ...draft, operator };
}

const problems: Partial<Record<FieldKind, string>> = {
  number: numberProblem,
  boolean: 'Choose true or false.',
  id: 'Enter a whole id.',
};

/** Returns the chip, or why the draft is not complete. */
export function chipOf(draft: ChipDraft): { readonly chip: Chip } | { readonly problem: string } {
  const { path, others, kind, operator, values, texts } = draft;
  const chip = (...chosen: readonly ChipValue[]): { readonly chip: Chip } => ({
    chip: { path, operator, values: chosen, ...(others.length === 0 ? {} : { others }) },
  });
  const count = valuesOf(operator);
  if (count === 'none') return chip();
  if (isDate(operator)) return datesOf(draft, chip);
  const problem = problems[kind] ?? 'Enter a value.';
  const [first, second] = texts.map((text) => parseValue(kind, text));
  if (count === 'several') {
    if (texts[0].trim() !== '' && first === undefined) return { problem };
    const all = [...new Set([...values, ...(first === undefined ? [] : [first])])];
    return all.length === 0 ? { problem } : chip(...all);
  }
  if (first === undefined) return { problem };
  if (count === 'one') return chip(first);
  if (second === undefined) return { problem: 'Enter two numbers.' };
  return Number(first) <= Number(second) ? chip(first, second) : chip(second, first);
}

function datesOf(
  { kind, operator, texts }: ChipDraft,
  chip: (...values: readonly ChipValue[]) => { readonly chip: Chip },
): { readonly chip: Chip } | { readonly problem: string } {
  const [first, second] =
    operator === 'within' && texts[0] > texts[1] && texts[1] !== '' ? [texts[1], texts[0]] : texts;
  if (!isDay(first)) return { problem: 'Choose a day.' };
  const write = (day: string) => (kind === 'time' ? localTime(day).toISOString() : day);
  if (operator !== 'within') return chip(write(first));
  if (!isDay(second)) return { problem: 'Choose two days.' };
  return chip(write(first), write(dayOf(addDays(localTime(second), 1))));
}

// Years have four digits in filters. While somebody types a year, a date field reports 0002 and 0020.
const isDay = (text: string) => /^[1-9]\d{3}-\d\d-\d\d$/.test(text) && !text.startsWith('9999-12');

/** The beginning of a day where the browser is, or a time of the server. */
function localTime(text: string): Date {
  return new Date(text.length === 10 ? `${text}T00:00:00` : text);
}
