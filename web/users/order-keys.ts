/** Keys of an order that no user needs to have: between two others, and as a condition of a filter. */
import type { OrderKey } from './user-order.js';

export const idMin = '00000000-0000-7000-8000-000000000000';

export function reversed(orderBy: string): string {
  const [field = '', direction] = orderBy.split(' ');
  return direction === 'desc' ? field : `${field} desc`;
}

/** The greatest id that a user created until then can have, because ids begin with their time. */
export function greatestId(time: number): string {
  const hex = Math.floor(time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7fff-bfff-ffffffffffff`;
}

/** The condition, in CEL, that a user has the key or is after it in the order. */
export function conditionFrom(orderBy: string, key: OrderKey): string {
  return condition(orderBy, key, '>=');
}

/** The condition, in CEL, that a user is before the key. */
export function conditionBefore(orderBy: string, key: OrderKey): string {
  return condition(orderBy, key, '<');
}

function condition(orderBy: string, { value, id }: OrderKey, side: '>=' | '<'): string {
  const [field, direction] = orderBy.split(' ');
  const constant = typeof value === 'number' ? `timestamp("${new Date(value).toISOString()}")` : JSON.stringify(value);
  const strict = (side === '<') === (direction === 'desc') ? '>' : '<';
  // The first part can use an index.
  return `${field} ${strict}= ${constant} && (${field} ${strict} ${constant} || id ${side} "${id}")`;
}

/** Adds a condition to the filter of the list. */
export function withCondition(filter: string, added: string): string {
  return filter === '' ? added : `(${filter}) && ${added}`;
}

/** Returns the greatest key before the key of a user. */
export function keyBefore({ value, id }: OrderKey): OrderKey {
  return { value, id: idOf(numberOf(id) - 1n) };
}

/** Returns a key at about this fraction of the way between two keys. Only if their values are equal, the ids decide. */
export function keyBetween(low: OrderKey, high: OrderKey, fraction: number): OrderKey {
  if (low.value === high.value) return { value: low.value, id: idBetween(low.id, high.id, fraction) };
  if (typeof low.value === 'number' && typeof high.value === 'number') {
    const value = Math.round(low.value + (high.value - low.value) * fraction);
    return { value: value === low.value ? high.value : value, id: idMin };
  }
  return { value: textBetween(String(low.value), String(high.value), fraction), id: idMin };
}

function idBetween(low: string, high: string, fraction: number): string {
  const parts = 1_000_000;
  const [from, to] = [numberOf(low), numberOf(high)];
  return idOf(from + ((to - from) * BigInt(Math.round(fraction * parts))) / BigInt(parts));
}

function numberOf(id: string): bigint {
  return BigInt(`0x${id.replaceAll('-', '')}`);
}

function idOf(number: bigint): string {
  const hex = number.toString(16).padStart(32, '0');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Where each range of characters begins, and how common it is in names, as the parts of a line from 0 to 1. */
const ranges = [
  { first: 0, from: 0 },
  { first: 0x20, from: 0.01 },
  { first: 0x80, from: 0.7 },
  { first: 0x250, from: 0.74 },
  { first: 0x2000, from: 0.86 },
  { first: 0x10000, from: 1 },
] as const;

function placeOf(unit: number): number {
  const index = ranges.findLastIndex(({ first }) => first <= unit);
  const [range, next] = [ranges[index], ranges[index + 1]];
  if (range === undefined || next === undefined) return 1;
  return range.from + ((unit - range.first) / (next.first - range.first)) * (next.from - range.from);
}

function unitAt(place: number): number {
  const index = ranges.findLastIndex(({ from }) => from <= place);
  const [range, next] = [ranges[index], ranges[index + 1]];
  if (range === undefined || next === undefined) return 0xffff;
  return Math.floor(range.first + ((place - range.from) / (next.from - range.from)) * (next.first - range.first));
}

/** More do not fit into the precision of a number. */
const unitsUsed = 3;

/** Each character divides the part of the line that the ones before it have left. */
function textBetween(low: string, high: string, fraction: number): string {
  const same = [...low].findIndex((letter, index) => letter !== [...high][index]);
  const prefix = [...low].slice(0, same < 0 ? [...low].length : same).join('');
  const place = (text: string) => {
    let [from, size] = [0, 1];
    for (let index = 0; index < unitsUsed; index++) {
      const unit = index < text.length ? text.charCodeAt(index) : 0;
      from += size * placeOf(unit);
      size *= placeOf(unit + 1) - placeOf(unit);
    }
    return from;
  };
  const [a, b] = [place(low.slice(prefix.length)), place(high.slice(prefix.length))];
  let rest = a + (b - a) * fraction;
  let text = prefix;
  for (let index = 0; index < unitsUsed; index++) {
    const unit = unitAt(Math.min(rest, 1 - Number.EPSILON));
    rest = (rest - placeOf(unit)) / (placeOf(unit + 1) - placeOf(unit));
    // Neither control characters nor halves of characters.
    if (unit < 0x20) break;
    text += String.fromCharCode(unit >= 0xd800 && unit <= 0xdfff ? 0xd7ff : unit);
  }
  return text;
}
