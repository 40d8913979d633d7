/** A chip while somebody edits it: what was typed, and the chip that it becomes. */
import { attributeKeyOf } from '../../src/fields.js';
import { addDays, dayOf } from '../text/days.js';
import { numberProblem } from '../text/parse-number.js';
import { beginningOf, relativeDayOf } from '../text/relative-days.js';
import { parseValue, textOfValue } from './chip-values.js';
import {
  type Chip,
  type ChipValue,
  type FieldPath,
  isDateOperator,
  isSamePath,
  type Operator,
} from './filter-chips.js';
import {
  type FieldKind,
  type FilterFieldInfo,
  firstFields,
  isDayStart,
  kindOfChip,
  operatorsOf,
  otherFields,
  valuesOf,
} from './filter-fields.js';
import type { UserSample } from './user-sample.js';

export interface ChipDraft {
  readonly path: FieldPath;
  readonly others: readonly FieldPath[];
  readonly kind: FieldKind;
  readonly operator: Operator;
  /** The selected values of an operator that takes several. */
  readonly values: readonly ChipValue[];
  /**
   * One or two texts, or days, of the other operators. The first is also the text after the selected values. A day that
   * moves with the calendar is a value of the chip, so that the second one is the day after a period.
   */
  readonly texts: readonly [string, string];
}

export function newDraft(path: FieldPath, kind: FieldKind, others: readonly FieldPath[] = []): ChipDraft {
  // Hardly anybody looks for a whole name.
  const isPart = others.length > 0 || isSamePath(path, ['display_name']);
  const operator = isPart ? 'contains' : (operatorsOf(kind)[0] ?? 'is');
  return { path, others, kind, operator, values: [], texts: ['', ''] };
}

/** Returns undefined if the kind of an attribute is not known without the sample. */
export function draftOfColumn(columnId: string, sample: UserSample | undefined): ChipDraft | undefined {
  if (columnId === 'name') return newDraft(['display_name'], 'text');
  const own = [...firstFields, ...otherFields].find(({ path: [name] }) => name === columnId);
  if (own !== undefined) return newDraft(own.path, own.kind);
  if (sample === undefined) return undefined;
  const path = ['attributes', attributeKeyOf(columnId) ?? ''];
  const begins = (field: FilterFieldInfo) => isSamePath(field.path.slice(0, path.length), path);
  // A filter cannot compare an object, but the values in it.
  const field = sample.fields.find((known) => isSamePath(known.path, path)) ?? sample.fields.find(begins);
  return newDraft(field?.path ?? path, field?.kind ?? 'text');
}

export function draftOf(chip: Chip, sampledKind: FieldKind | undefined): ChipDraft {
  const { path, others = [], operator, values } = chip;
  const own = kindOfChip(chip);
  const kind = sampledKind !== undefined && operatorsOf(sampledKind).includes(operator) ? sampledKind : own;
  const isSeveral = valuesOf(operator) === 'several';
  const text = (at: 0 | 1): string => {
    const value = values[at];
    if (isSeveral || value === undefined) return '';
    return isDateOperator(operator) ? dayOfValue(String(value), at === 1) : textOfValue(value);
  };
  return { path, others, kind, operator, values: isSeveral ? values : [], texts: [text(0), text(1)] };
}

/** The days of a draft as the fields show them. */
export function shownDays({ texts: [first, second] }: ChipDraft): readonly [string, string] {
  const shown = (text: string, isEnd: boolean) => {
    const relative = relativeDayOf(text);
    const time = relative && beginningOf(relative);
    return time === undefined ? text : dayOf(isEnd ? addDays(time, -1) : time);
  };
  return [shown(first, false), shown(second, true)];
}

function dayOfValue(value: string, isEnd: boolean): string {
  if (relativeDayOf(value) !== undefined) return value;
  const time = localTime(value);
  return dayOf(isEnd && isDayStart(time) ? addDays(time, -1) : time);
}

/** Keeps what was typed if the new operator can use it. */
export function withOperator(draft: ChipDraft, operator: Operator): ChipDraft {
  if (isDateOperator(draft.operator) !== isDateOperator(operator))
    return { ...draft, operator, values: [], texts: ['', ''] };
  const [before, after] = [valuesOf(draft.operator), valuesOf(operator)];
  if (before === 'several' && after !== 'several' && after !== 'none') {
    const [first = draft.texts[0]] = draft.values;
    return { ...draft, operator, values: [], texts: [textOfValue(first), ''] };
  }
  return { ...draft, operator };
}

const problems: Partial<Record<FieldKind, string>> = {
  number: numberProblem,
  boolean: 'Choose yes or no.',
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
  if (isDateOperator(operator)) return datesOf(draft, chip);
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
  const isSwapped = operator === 'within' && texts.every(isDay) && texts[0] > texts[1];
  const [first, second] = isSwapped ? [texts[1], texts[0]] : texts;
  const write = (text: string, days = 0): string | undefined => {
    if (relativeDayOf(text) !== undefined) return text;
    if (!isDay(text)) return undefined;
    const day = addDays(localTime(text), days);
    return kind === 'time' ? day.toISOString() : dayOf(day);
  };
  const from = write(first);
  if (from === undefined) return { problem: 'Choose a day.' };
  if (operator !== 'within') return chip(from);
  const to = write(second, 1);
  return to === undefined ? { problem: 'Choose two days.' } : chip(from, to);
}

// Years have four digits in filters. While somebody types a year, a date field reports 0002 and 0020.
const isDay = (text: string) => /^[1-9]\d{3}-\d\d-\d\d$/.test(text) && !text.startsWith('9999-12');

/** The beginning of a day where the browser is, or a time of the server. */
function localTime(text: string): Date {
  return new Date(text.length === 10 ? `${text}T00:00:00` : text);
}
