/** Keys of an order that no user needs to have, and keys as conditions of a filter. */
import { sortedCharactersMax } from '../../src/fields.js';
import { isAttributeOrder, type OrderKey, type OrderTerm, readOrder, sortedTypes, writeOrder } from './user-order.js';

export const idMin = '00000000-0000-7000-8000-000000000000';

/** The opposite order. Users with equal values, and those without a value of an attribute, stay in their order. */
export function reversed(orderBy: string): string {
  const { by, descends } = readOrder(orderBy);
  return writeOrder({ by, descends: !descends });
}

/** The greatest id that a user created until then can have, because ids begin with their time. */
export function greatestId(time: number): string {
  const hex = Math.floor(time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7fff-bfff-ffffffffffff`;
}

/** The condition, in CEL, that a user has the key or is after it in the order. */
export function conditionFrom(orderBy: string, key: OrderKey): string {
  return isAttributeOrder(orderBy) ? `!(${attributeBefore(orderBy, key)})` : conditionInGroup(orderBy, key, '>=');
}

/** The condition, in CEL, that a user is before the key. */
export function conditionBefore(orderBy: string, key: OrderKey): string {
  return isAttributeOrder(orderBy) ? `(${attributeBefore(orderBy, key)})` : conditionInGroup(orderBy, key, '<');
}

/** The condition among the users whose value has the type of the key's value. For attributes it is shorter and faster. */
export function conditionInGroup(orderBy: string, { value, id }: OrderKey, side: '>=' | '<'): string {
  const { by, descends, keys } = readOrder(orderBy);
  const idCondition = `id ${side} "${id}"`;
  if (value === null) return idCondition;
  const isTime = typeof value === 'number' && keys === undefined;
  const constant = isTime ? `timestamp("${new Date(value).toISOString()}")` : constantText(value);
  const strict = (side === '<') === descends ? '>' : '<';
  if (keys !== undefined && typeof value === 'string' && [...value].length >= sortedCharactersMax) {
    const isSame = `${by}.startsWith(${constant})`;
    return `(${by} ${strict} ${constant} && !${isSame} || ${isSame} && ${idCondition})`;
  }
  // The first part can use an index.
  return `${by} ${strict}= ${constant} && (${by} ${strict} ${constant} || ${idCondition})`;
}

/** The conditions that the value of an attribute has each of the `sortedTypes`. Comparisons with another type are false. */
function typeConditions({ by, descends }: OrderTerm): string[] {
  const conditions = [`${by} <= true`, `(${by} < 0 || ${by} >= 0)`, `${by} >= ""`];
  return descends ? conditions.reverse() : conditions;
}

function attributeBefore(orderBy: string, key: OrderKey): string {
  const order = readOrder(orderBy);
  const types = typeConditions(order);
  const rank = sortedTypes.indexOf(typeof key.value);
  const earlier = rank < 0 ? types : types.slice(0, order.descends ? types.length - 1 - rank : rank);
  return [...earlier, conditionInGroup(orderBy, key, '<')].join(' || ');
}

/** The server reads integers with 64 bits, and all other numbers as doubles. */
function constantText(value: string | number | boolean): string {
  const text = JSON.stringify(value);
  return /^-?\d{16,}$/.test(text) ? `${text}.0` : text;
}

/** The users with each type of value, in the order by an attribute, and those without a value, as conditions in CEL. */
export function typeGroups(orderBy: string): string[] {
  const types = typeConditions(readOrder(orderBy));
  return [...types, `!(${types.join(' || ')})`];
}

/** Adds a condition to the filter of the list. */
export function withCondition(filter: string, added: string): string {
  return filter === '' ? added : `(${filter}) && ${added}`;
}

/** Returns the greatest key before the key of a user. */
export function keyBefore({ value, id }: OrderKey): OrderKey {
  return { value, id: idOf(numberOf(id) - 1n) };
}

export function numberOf(id: string): bigint {
  return BigInt(`0x${id.replaceAll('-', '')}`);
}

export function idOf(number: bigint): string {
  const hex = number.toString(16).padStart(32, '0');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
