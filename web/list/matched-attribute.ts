/** Finds the attribute because of which a user matches the filter, if no column of the list shows it. */
import type { User } from '../../generated/users/v1/user.js';
import { attributePath } from '../../src/fields.js';
import { type Chip, type FieldPath, isAttribute, spellingsOf } from '../filter/filter-chips.js';
import { labelOfField } from '../filter/filter-fields.js';
import { readChips } from '../filter/read-chips.js';
import type { JsonValue } from '../users/user-fields.js';
import { attributeText } from './columns.js';

export interface MatchedAttribute {
  readonly label: string;
  readonly text: string;
  /** The whole value, for a tooltip. */
  readonly whole: string;
}

/** Returns undefined if the filter, or a column, already shows what the user has. */
export type MatchOf = (user: User) => MatchedAttribute | undefined;

/** Undefined if no condition of the filter needs an explanation. */
export function matchOfFilter(filter: string, columnIds: readonly string[]): MatchOf | undefined {
  const chips = (readChips(filter) ?? []).filter((chip) => isAttribute(chip.path) && isOpen(chip));
  if (chips.length === 0) return undefined;
  const isShown = ([, key = '']: FieldPath) => columnIds.includes(attributePath(key));
  return (user) => {
    for (const chip of chips) {
      const found = [chip.path, ...(chip.others ?? [])]
        .map((path) => ({ path, value: matchingValue(chip, path, user) }))
        .filter(({ value }) => value !== undefined);
      const [first] = found;
      if (first === undefined || found.some(({ path }) => isShown(path))) continue;
      const whole = attributeText(first.value);
      return { label: labelOfField(first.path), text: fromMatch(whole, String(chip.values[0])), whole };
    }
    return undefined;
  };
}

/** Whether users with different values match. */
function isOpen({ operator, values, others = [] }: Chip): boolean {
  switch (operator) {
    case 'isNot':
    case 'containsNot':
    case 'includesNot':
    case 'isEmpty':
      return false;
    case 'is':
    case 'includes':
      return values.length > 1 || others.length > 0;
    default:
      return true;
  }
}

function memberOf(value: JsonValue | undefined, key: string): JsonValue | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** The value at the path if it matches. Only a text in several attributes may be in another one. */
function matchingValue({ operator, values: [text] }: Chip, path: FieldPath, user: User): JsonValue | undefined {
  const [, ...keys] = path;
  const value = keys.reduce<JsonValue | undefined>(memberOf, user.attributes);
  if (operator !== 'contains') return value;
  const spellings = spellingsOf(path, String(text));
  const hasText = (item: JsonValue) => typeof item === 'string' && spellings.some((each) => item.includes(each));
  if (!Array.isArray(value)) return value !== undefined && hasText(value) ? value : undefined;
  const items = value.filter(hasText);
  return items.length > 0 ? items : undefined;
}

/** The number of characters before the match, because a row has room for only a few words. */
const beforeMax = 8;

function fromMatch(whole: string, typed: string): string {
  const at = whole.toLowerCase().indexOf(typed.toLowerCase());
  const from = whole.lastIndexOf(' ', at - beforeMax) + 1;
  return at <= beforeMax || from === 0 ? whole : `…${whole.slice(from)}`;
}
