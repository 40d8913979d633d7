/** Formats times, counts and sizes in the user's language and time zone. */

// To create a formatter takes the browser a millisecond or more, so each is created when it is first needed.
const day = once(() => new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' }));
const clock = once(() => new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' }));
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

/** Formats a text such as 2026-01-31, and returns undefined for every other text. */
export function formatDay(text: string): string | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return undefined;
  const day = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(day.getTime()) ? undefined : calendarDay().format(day);
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
