/**
 * Days in a filter that move with the calendar: `today - 6`, or `this_year`, which is its first day. They are the page's own,
 * in its address, in saved views and in the editor. The page replaces them when it sends a filter (directory.ts).
 */
import { tokensOf } from './cel-tokens.js';
import { addDays, dayOf } from './days.js';

export interface RelativeDay {
  readonly unit: 'today' | 'this_year';
  /** So many days, or years, later. */
  readonly offset: number;
}

export const relativeUnits = ['today', 'this_year'] as const;
const offsetForm = /^\d{1,5}$/;

/** Reads what `writeRelativeDay` has written. */
export function relativeDayOf(text: string): RelativeDay | undefined {
  const [name, sign, digits, ...rest] = text.split(' ');
  const day = createRelativeDay(name, sign, digits);
  return rest.length === 0 && day !== undefined && writeRelativeDay(day) === text ? day : undefined;
}

/** Returns undefined if the parts are not such a day. Without a sign, ignores the digits. */
export function createRelativeDay(name = '', sign = '', digits = ''): RelativeDay | undefined {
  const unit = relativeUnits.find((known) => known === name);
  if (unit === undefined) return undefined;
  if (sign !== '-' && sign !== '+') return { unit, offset: 0 };
  if (!offsetForm.test(digits)) return undefined;
  return { unit, offset: sign === '-' ? 0 - Number(digits) : Number(digits) };
}

export function writeRelativeDay({ unit, offset }: RelativeDay): string {
  return offset === 0 ? unit : `${unit} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)}`;
}

/** The beginning of the day, if the year has four digits, as filters require. */
export function beginningOf({ unit, offset }: RelativeDay, now = new Date()): Date | undefined {
  const time = unit === 'today' ? addDays(now, offset) : addDays(now, 0);
  if (unit === 'this_year') time.setFullYear(now.getFullYear() + offset, 0, 1);
  const year = time.getFullYear();
  return year >= 1000 && year < 9999 ? time : undefined;
}

interface Replacement {
  /** The part of the filter's text that is replaced. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

function replacementsIn(filter: string, now: Date): Replacement[] {
  if (!relativeUnits.some((unit) => filter.includes(unit))) return [];
  const tokens = tokensOf(filter).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  const textAt = (index: number) => tokens[index]?.text;
  return tokens.flatMap(({ kind, text, from }, index) => {
    const next = textAt(index + 1) ?? '';
    // Another field or function may have this name.
    if (kind !== 'name' || textAt(index - 1) === '.' || ['.', '(', '['].includes(next)) return [];
    const moved = createRelativeDay(text, next, textAt(index + 2));
    const day = moved ?? createRelativeDay(text);
    const time = day && beginningOf(day, now);
    if (day === undefined || time === undefined) return [];
    const hasOffset = day === moved && (next === '-' || next === '+');
    const last = tokens[hasOffset ? index + 2 : index];
    const isTime = textAt(index - 1) === '(' && textAt(index - 2) === 'timestamp';
    const to = last === undefined ? from + text.length : last.from + last.text.length;
    return [{ from, to, text: `"${isTime ? time.toISOString() : dayOf(time)}"` }];
  });
}

export function hasRelativeDays(filter: string): boolean {
  return replacementsIn(filter, new Date()).length > 0;
}

/** The filter as the server and all other clients know it: in `timestamp(…)` with times, elsewhere with days. */
export function sentFilter(filter: string, now = new Date()): string {
  let sent = '';
  let at = 0;
  for (const { from, to, text } of replacementsIn(filter, now)) {
    sent += filter.slice(at, from) + text;
    at = to;
  }
  return sent + filter.slice(at);
}

/** The place in the page's filter for a place in the text that was sent. */
export function placeInFilter(filter: string, placeInSent: number): number {
  /** How much longer the text that was sent is up to here. */
  let longer = 0;
  for (const { from, to, text } of replacementsIn(filter, new Date())) {
    if (placeInSent < from + longer) break;
    if (placeInSent < from + longer + text.length) return from;
    longer += text.length - (to - from);
  }
  return placeInSent - longer;
}
