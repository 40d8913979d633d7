/** The names of a filter’s fields and operators on the page, and the operators and values of each kind of field. */
import { addDays } from '../text/days.js';
import { formatCount, formatDay, formatMoment, formatTimeText } from '../text/format.js';
import { type RelativeDay, relativeDayOf } from '../text/relative-days.js';
import {
  type Chip,
  type ChipValue,
  columnKind,
  type FieldPath,
  isAttribute,
  isDateOperator,
  type Operator,
} from './filter-chips.js';

/** A `date` is an attribute with texts such as `2026-01-31`, and a `time` is a time of the server. */
export type FieldKind = 'id' | 'text' | 'email' | 'time' | 'number' | 'boolean' | 'date' | 'list';

export interface FilterFieldInfo {
  readonly path: FieldPath;
  readonly kind: FieldKind;
}

const columnLabels: Readonly<Record<string, string>> = {
  display_name: 'Name',
  email: 'Email',
  create_time: 'Created',
  update_time: 'Updated',
  first_name: 'First name',
  last_name: 'Last name',
  profile_image_url: 'Image URL',
  id: 'ID',
};

/** The fields of every user, in the order of the menu. */
const columnFields: readonly FilterFieldInfo[] = Object.keys(columnLabels).map((name) => ({
  path: [name],
  kind: kindOfColumn([name]) ?? 'text',
}));
/** Those that the menu has before the attributes, and after them. */
export const firstFields = columnFields.slice(0, 4);
export const otherFields = columnFields.slice(4);

function kindOfColumn(path: FieldPath): FieldKind | undefined {
  const kind = columnKind(path);
  return kind === 'timestamp' ? 'time' : kind;
}

export function labelOfField([name = '', ...keys]: FieldPath): string {
  return name === 'attributes' ? keys.join(' › ') : (columnLabels[name] ?? name);
}

const operatorTexts: Readonly<Record<Operator, string>> = {
  is: 'is',
  isNot: 'is not',
  contains: 'contains',
  containsNot: 'does not contain',
  containsExactly: 'contains exactly',
  startsWith: 'starts with',
  endsWith: 'ends with',
  isEmpty: 'is empty',
  isNotEmpty: 'is not empty',
  includes: 'includes',
  includesNot: 'does not include',
  atLeast: 'is at least',
  atMost: 'is at most',
  more: 'is more than',
  less: 'is less than',
  between: 'is between',
  before: 'is before',
  since: 'is on or after',
  within: 'is from … to …',
};

export const operatorText = (operator: Operator): string => operatorTexts[operator];

const emptiness = ['isEmpty', 'isNotEmpty'] as const;
const dates = ['since', 'before', 'within'] as const;

const operatorsByKind: Readonly<Record<FieldKind, readonly Operator[]>> = {
  id: ['is', 'isNot'],
  text: ['is', 'isNot', 'contains', 'containsNot', 'startsWith', 'endsWith', ...emptiness],
  email: ['contains', 'containsNot', 'is', 'isNot', 'startsWith', 'endsWith'],
  time: dates,
  number: ['is', 'isNot', 'atLeast', 'atMost', 'more', 'less', 'between', ...emptiness],
  boolean: ['is', 'isNot', ...emptiness],
  date: [...dates, 'is', 'isNot', ...emptiness],
  list: ['includes', 'includesNot', ...emptiness],
};

/** The operators to offer. Those of a chip that was written by hand may be others. */
export function operatorsOf(kind: FieldKind, current?: Operator): readonly Operator[] {
  const usual = operatorsByKind[kind];
  return current === undefined || usual.includes(current) ? usual : [...usual, current];
}

/** The values that an operator takes. */
export function valuesOf(operator: Operator): 'none' | 'several' | 'one' | 'two' {
  switch (operator) {
    case 'isEmpty':
    case 'isNotEmpty':
      return 'none';
    case 'is':
    case 'isNot':
    case 'includes':
    case 'includesNot':
      return 'several';
    case 'between':
    case 'within':
      return 'two';
    default:
      return 'one';
  }
}

/** The kind of a field that is in no sampled user, from the chip's operator and value. */
export function kindOfChip({ path, operator, values: [value] }: Chip): FieldKind {
  const column = kindOfColumn(path);
  if (column !== undefined) return column;
  if (operator === 'includes' || operator === 'includesNot') return 'list';
  if (isDateOperator(operator)) return 'date';
  return typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'boolean' : 'text';
}

/** `isEnd`: a range ends just before this time or day, so the last day of the range is the previous one. */
function dateText(value: ChipValue, isEnd = false): string {
  const text = String(value);
  const relative = relativeDayOf(text);
  if (relative !== undefined) return relativeText(relative, isEnd);
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const time = isDay ? new Date(`${text}T00:00:00`) : new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  if (!isDayStart(time)) return formatMoment(time);
  return formatDay(isEnd ? addDays(time, -1) : time);
}

const unitTexts = {
  today: ['yesterday', 'today', 'tomorrow'],
  this_year: ['last year', 'this year', 'next year'],
} as const;

/** The name of a day or year near the current one. */
const nameOf = ({ unit, offset }: RelativeDay): string | undefined => unitTexts[unit][offset + 1];

function relativeText(day: RelativeDay, isEnd: boolean): string {
  const shown = { ...day, offset: day.offset - (isEnd ? 1 : 0) };
  const [name, count] = [nameOf(shown), formatCount(Math.abs(shown.offset))];
  const unit = shown.unit === 'today' ? 'days' : 'years';
  const text = name ?? (shown.offset < 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`);
  if (unit === 'days') return text;
  const edge = isEnd ? 'the end of' : 'the start of';
  return name === undefined ? `${edge} the year ${text}` : `${edge} ${text}`;
}

/** The period of a chip if it has a name that moves with the calendar, in two parts: `in the last`, `7 days`. */
function periodText({ path, operator, values }: Chip): readonly [string, string] | undefined {
  const [from, given] = values.map((value) => relativeDayOf(String(value)));
  if (from === undefined) return undefined;
  // Times of the server are never in the future.
  const isOpen = operator === 'since' && !isAttribute(path);
  const to = isOpen ? { unit: from.unit, offset: 1 } : given;
  if (to?.unit !== from.unit) return undefined;
  const is = isAttribute(path) ? 'is ' : '';
  const count = to.offset - from.offset;
  const name = nameOf(from);
  if (count === 1 && name !== undefined) return [is.trim(), name];
  if (count < 2 || from.unit !== 'today') return undefined;
  if (to.offset === 1) return [`${is}in the last`, `${formatCount(count)} days`];
  return from.offset === 0 ? [`${is}in the next`, `${formatCount(count)} days`] : undefined;
}

/** Not always at midnight: in some countries the clocks change then. */
export function isDayStart(time: Date): boolean {
  return time.getTime() === addDays(time, 0).getTime();
}

export function valueText(value: ChipValue): string {
  // As the cells of the list.
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === '') return 'an empty text';
  return String(value);
}

/** As the cells of the list, which format the days and times of attributes. */
function cellText(value: ChipValue): string {
  return (typeof value === 'string' && formatTimeText(value)) || valueText(value);
}

/** The chip in words. */
export function chipText(chip: Chip, unsearched = 0): string {
  const { field, operator, values } = chipTexts(chip, unsearched);
  return [field, operator, values].filter((part) => part !== '').join(' ');
}

/** The same in three parts: `Department`, `is one of`, `ops, sales`. `unsearched` attributes are known but not searched. */
export function chipTexts(
  chip: Chip,
  unsearched = 0,
  valuesMax = 3,
): { readonly field: string; readonly operator: string; readonly values: string } {
  const { path, others = [], operator, values } = chip;
  const [first = '', second = ''] = values;
  const searched = others.length + 1;
  const known = unsearched === 0 ? '' : ` of ${formatCount(searched + unsearched)}`;
  const field = searched === 1 ? labelOfField(path) : `Any of ${formatCount(searched)}${known} attributes`;
  const plain = operatorTexts[operator];
  const period = isDateOperator(operator) ? periodText(chip) : undefined;
  if (period !== undefined) return { field, operator: period[0], values: period[1] };
  if (operator === 'within') {
    const [from, to] = [dateText(first), dateText(second, true)];
    return from === to
      ? { field, operator: 'is on', values: from }
      : { field, operator: 'is from', values: `${from} to ${to}` };
  }
  if (operator === 'before' || operator === 'since') return { field, operator: plain, values: dateText(first) };
  if (operator === 'between') return { field, operator: plain, values: `${first} and ${second}` };
  const many = {
    is: 'is one of',
    isNot: 'is not one of',
    includes: 'includes one of',
    includesNot: 'includes none of',
  };
  const isMany = values.length > 1;
  const text = isMany ? (Object.entries(many).find(([name]) => name === operator)?.[1] ?? plain) : plain;
  const isWhole = isAttribute(path) && Object.hasOwn(many, operator);
  const shown = values
    .slice(0, valuesMax)
    .map(isWhole ? cellText : valueText)
    .join(', ');
  const rest = values.length > valuesMax ? ` and ${formatCount(values.length - valuesMax)} more` : '';
  return { field, operator: text, values: shown + rest };
}
