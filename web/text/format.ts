/** Formats times, counts and sizes in the user's language and time zone. */
import { isDate } from './days.js';

// To create a formatter takes the browser a millisecond or more, so each is created when it is first needed.
const day = once(() => new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' }));
const clock = once(() => new Intl.DateTimeFormat(undefined, { timeStyle: 'short' }));
const moment = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }));
const whole = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' }));
const calendarDay = once(
  () => new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' }),
);
const plain = once(() => new Intl.NumberFormat());
const percent = once(() => new Intl.NumberFormat(undefined, { style: 'percent' }));
const oneDecimal = once(() => new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 }));

function once<T>(create: () => T): () => T {
  let created: T | undefined;
  return () => {
    created ??= create();
    return created;
  };
}

/** Formats only the time if it is today, otherwise only the day. */
export function formatTime(time: Date | undefined): string {
  if (time === undefined) return '';
  return time.toDateString() === new Date().toDateString() ? clock().format(time) : day().format(time);
}

const momentForm = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

/** Formats a day or a moment of ISO 8601, such as 2026-01-31 or 2026-01-31T16:00:00Z. Returns undefined for other texts. */
export function formatTimeText(text: string): string | undefined {
  if (isDate(text)) return calendarDay().format(new Date(text));
  const [, day] = momentForm.exec(text) ?? [];
  if (day === undefined || !isDate(day)) return undefined;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? undefined : formatMoment(time);
}

/** Formats the day in the user's time zone. */
export function formatDay(time: Date): string {
  return day().format(time);
}

/** Formats the day and the time to the minute. */
export function formatMoment(time: Date): string {
  return moment().format(time);
}

/** Also has the seconds and the time zone. */
export function formatWholeTime(time: Date | undefined): string {
  return time === undefined ? '' : whole().format(time);
}

export function formatCount(count: number): string {
  return plain().format(count);
}

export function formatPercent(share: number): string {
  return percent().format(share);
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  const [size, unit] = bytes < 1e6 ? [bytes / 1e3, 'kB'] : [bytes / 1e6, 'MB'];
  return `${oneDecimal().format(size)} ${unit}`;
}
