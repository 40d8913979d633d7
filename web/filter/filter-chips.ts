/** A filter as chips: conditions that must all be true, each with a field, an operator and values. Writes them as CEL. */
import { filterFields } from '../../src/fields.js';
import { quoted } from '../text/cel-tokens.js';
import { relativeDayOf } from '../text/relative-days.js';
import { spellings } from '../text/spellings.js';
import { isPlainKey } from '../users/plain-key.js';

/** One name of a field, or `attributes` and the keys of an attribute. */
export type FieldPath = readonly string[];

export type ChipValue = string | number | boolean;

export type Operator =
  | 'is'
  | 'isNot'
  /** Finds the usual spellings with capitals, in one of several fields. */
  | 'contains'
  | 'containsNot'
  | 'containsExactly'
  | 'startsWith'
  | 'endsWith'
  | 'isEmpty'
  | 'isNotEmpty'
  | 'includes'
  | 'includesNot'
  | 'atLeast'
  | 'atMost'
  | 'more'
  | 'less'
  /** Both numbers match, too. */
  | 'between'
  /** The values of the next three are times (RFC 3339), or days in an attribute, or days that move (relative-days.ts). */
  | 'before'
  | 'since'
  /** From the first value to just before the second. */
  | 'within';

export interface Chip {
  readonly path: FieldPath;
  /** Only for `contains`: the other attributes, of which one must contain the text. */
  readonly others?: readonly FieldPath[];
  readonly operator: Operator;
  /** Several values are alternatives, except for `between` and `within`. */
  readonly values: readonly ChipValue[];
}

export function isAttribute([name]: FieldPath): boolean {
  return name === 'attributes';
}

export function isSamePath(a: FieldPath, b: FieldPath): boolean {
  return a.length === b.length && a.every((key, at) => key === b[at]);
}

type ColumnKind = (typeof filterFields)[keyof typeof filterFields];

/** How the server compares a column; undefined for attributes. */
export function columnKind([name = '']: FieldPath): ColumnKind | undefined {
  return Object.entries(filterFields).find(([field]) => field === name)?.[1];
}

export function writePath([name = '', ...keys]: FieldPath): string {
  return name + keys.map((key) => (isPlainKey(key) ? `.${key}` : `[${quoted(key)}]`)).join('');
}

/** The server reads integers with 64 bits, and all other numbers as doubles. */
function writeNumber(value: number): string {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(String(value))
    ? `${value}.0`
    : String(value);
}

function writeValue({ path, operator }: Chip, value: ChipValue): string {
  if (typeof value === 'number') return writeNumber(value);
  if (typeof value === 'boolean') return String(value);
  const day = isDateOperator(operator) && relativeDayOf(value) !== undefined ? value : quoted(value);
  return columnKind(path) === 'timestamp' ? `timestamp(${day})` : day;
}

export function isDateOperator(operator: Operator): boolean {
  return operator === 'before' || operator === 'since' || operator === 'within';
}

/** The spellings that `contains` looks for, because the server compares texts exactly, except emails and ids. */
export function spellingsOf(path: FieldPath, text: string): string[] {
  if (columnKind(path) === 'email' || columnKind(path) === 'id') return [text];
  return spellings(text, !isAttribute(path));
}

const both = (terms: readonly string[]) => `(${terms.join(' && ')})`;
const oneOf = (terms: readonly string[]) => (terms.length === 1 ? (terms[0] ?? '') : `(${terms.join(' || ')})`);

export function writeChip(chip: Chip): string {
  const { path, others = [], operator, values } = chip;
  const field = writePath(path);
  const texts = values.map((value) => writeValue(chip, value));
  const [first = '""', second = '""'] = texts;
  const isOneOf = () => (texts.length === 1 ? `${field} == ${first}` : `${field} in [${texts.join(', ')}]`);
  const contains = () =>
    oneOf(
      [path, ...others].flatMap((each) =>
        spellingsOf(each, String(values[0] ?? '')).map((text) => `${writePath(each)}.contains(${quoted(text)})`),
      ),
    );
  const includes = () => oneOf(texts.map((text) => `${text} in ${field}`));
  switch (operator) {
    case 'is':
      return isOneOf();
    case 'isNot':
      // A comparison with a missing attribute is false, even !=. But who has no department is not in this one, either.
      if (!isAttribute(path) && texts.length === 1) return `${field} != ${first}`;
      return `!(${isOneOf()})`;
    case 'contains':
      return contains();
    case 'containsNot':
      return negated(contains());
    case 'containsExactly':
      return `${field}.contains(${first})`;
    case 'startsWith':
    case 'endsWith':
      return `${field}.${operator}(${first})`;
    case 'isEmpty':
      return isAttribute(path) ? `(!has(${field}) || ${field} in ["", null])` : `${field} == ""`;
    case 'isNotEmpty':
      return isAttribute(path) ? `(has(${field}) && !(${field} in ["", null]))` : `${field} != ""`;
    case 'includes':
      return includes();
    case 'includesNot':
      return negated(includes());
    case 'atLeast':
    case 'since':
      return `${field} >= ${first}`;
    case 'atMost':
      return `${field} <= ${first}`;
    case 'more':
      return `${field} > ${first}`;
    case 'less':
    case 'before':
      return `${field} < ${first}`;
    case 'between':
      return both([`${field} >= ${first}`, `${field} <= ${second}`]);
    case 'within':
      return both([`${field} >= ${first}`, `${field} < ${second}`]);
  }
}

function negated(condition: string): string {
  return condition.startsWith('(') ? `!${condition}` : `!(${condition})`;
}

/** The filter that all chips together are; empty without chips. */
export function writeChips(chips: readonly Chip[]): string {
  return chips.map(writeChip).join(' && ');
}
