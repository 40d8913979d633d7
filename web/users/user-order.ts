/**
 * Orders users as the server does: texts by code point, emails in lower case, equal values by ascending id. Users without a
 * boolean, number or text in an attribute are last in both directions.
 */
import type { User } from '../../generated/users/v1/user.js';
import { type OrderField, orderFields, parseAttributePath, sortedCharactersMax } from '../../src/fields.js';
import { isPlainKey } from './plain-key.js';
import type { JsonValue } from './user-fields.js';

/** A user's position in an order. It is small, because the page keeps one for each page of the list. */
export interface OrderKey {
  /** A time in milliseconds; null for an attribute that does not sort. */
  readonly value: string | number | boolean | null;
  readonly id: string;
}

export interface UserOrder {
  /** Whether a change of a user never moves it. */
  readonly isFixed: boolean;
  keyOf(user: User): OrderKey;
  compare(a: OrderKey, b: OrderKey): number;
}

/** One term of an order_by. The page uses no more. */
export interface OrderTerm {
  readonly by: string;
  readonly descends: boolean;
  /** Set if `by` is an attribute. */
  readonly keys: readonly string[] | undefined;
}

/** The result names an attribute in only one of the possible ways, which is also valid in a filter. */
export function readOrder(orderBy: string): OrderTerm {
  const descends = orderBy.endsWith(' desc');
  const by = descends ? orderBy.slice(0, -' desc'.length) : orderBy;
  const keys = parseAttributePath(by);
  return { by: keys === undefined ? by : orderByAttribute(keys), descends, keys };
}

export const isAttributeOrder = (orderBy: string) => readOrder(orderBy).keys !== undefined;

/** The `by` of an order by an attribute. */
export function orderByAttribute(keys: readonly string[]): string {
  return `attributes${keys.map((key) => (isPlainKey(key) ? `.${key}` : `[${JSON.stringify(key)}]`)).join('')}`;
}

export const writeOrder = ({ by, descends }: Omit<OrderTerm, 'keys'>) => `${by}${descends ? ' desc' : ''}`;

export function createUserOrder(orderBy: string): UserOrder {
  const { by, descends, keys } = readOrder(orderBy);
  const field = orderFields.find((known) => known === by) ?? 'create_time';
  const sign = descends ? -1 : 1;
  return {
    isFixed: keys === undefined && field === 'create_time',
    keyOf: (user) => ({
      value: keys === undefined ? sortValue(user, field) : attributeValue(user.attributes, keys),
      id: user.id,
    }),
    compare: (a, b) =>
      Number(a.value === null) - Number(b.value === null) ||
      sign * compareValues(a.value, b.value) ||
      compareTexts(a.id, b.id),
  };
}

function sortValue(user: User, field: OrderField): string | number {
  switch (field) {
    case 'first_name':
      return user.firstName;
    case 'last_name':
      return user.lastName;
    case 'email':
      return user.email.normalize('NFC').toLowerCase();
    case 'update_time':
      return user.updateTime?.getTime() ?? 0;
    case 'create_time':
      return user.createTime?.getTime() ?? 0;
  }
}

function attributeValue(attributes: JsonValue | undefined, keys: readonly string[]): OrderKey['value'] {
  let value = attributes;
  for (const key of keys) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) return null;
    value = value[key];
  }
  // A code point has at most two units.
  if (typeof value === 'string')
    return [...value.slice(0, 2 * sortedCharactersMax)].slice(0, sortedCharactersMax).join('');
  return typeof value === 'number' || typeof value === 'boolean' ? value : null;
}

/** The types of values in their ascending order. */
export const sortedTypes: readonly string[] = ['boolean', 'number', 'string'];

function compareValues(a: OrderKey['value'], b: OrderKey['value']): number {
  const [typeOfA, typeOfB] = [typeof a, typeof b];
  if (typeOfA !== typeOfB) return sortedTypes.indexOf(typeOfA) - sortedTypes.indexOf(typeOfB);
  return typeof a === 'string' ? compareTexts(a, String(b)) : Number(a) - Number(b);
}

function compareTexts(x: string, y: string): number {
  let at = 0;
  while (at < x.length && x.charCodeAt(at) === y.charCodeAt(at)) at++;
  return weight(x, at) - weight(y, at);
}

/** Orders UTF-16 units by code point: surrogates, although below U+E000, sort last. The end of the text sorts first. */
function weight(text: string, at: number): number {
  if (at >= text.length) return -1;
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
