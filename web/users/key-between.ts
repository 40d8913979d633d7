/** Guesses a key between two others in an order. */
import { sortedCharactersMax } from '../../src/fields.js';
import { idMin, idOf, numberOf } from './order-keys.js';
import type { OrderKey } from './user-order.js';

/**
 * Returns a key at about this fraction of the way between two keys with values of one type. If the values are equal, the ids
 * decide. Times are whole numbers, and values of attributes are not.
 */
export function keyBetween(low: OrderKey, high: OrderKey, fraction: number, isAttribute = false): OrderKey {
  if (low.value === high.value) return { value: low.value, id: idBetween(low.id, high.id, fraction) };
  if (typeof low.value === 'number' && typeof high.value === 'number') {
    const value = isAttribute
      ? numberBetween(low.value, high.value, fraction)
      : Math.round(low.value + (high.value - low.value) * fraction);
    return { value: value === low.value ? high.value : value, id: idMin };
  }
  if (typeof low.value === 'boolean') return { value: high.value, id: idMin };
  const text = textBetween(String(low.value), String(high.value), fraction);
  return { value: isAttribute ? [...text].slice(0, sortedCharactersMax).join('') : text, id: idMin };
}

/** In the middle of two numbers of different magnitudes is one whose magnitude is between theirs. */
function numberBetween(low: number, high: number, fraction: number): number {
  if (fraction === 0.5) return Math.sinh((Math.asinh(low) + Math.asinh(high)) / 2);
  return low * (1 - fraction) + high * fraction;
}

function idBetween(low: string, high: string, fraction: number): string {
  const parts = 1_000_000;
  const [from, to] = [numberOf(low), numberOf(high)];
  return idOf(from + ((to - from) * BigInt(Math.round(fraction * parts))) / BigInt(parts));
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
