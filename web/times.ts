/** Formats times and numbers in the user's language and time zone. */

const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const plain = new Intl.NumberFormat();

/** Only the time for today, only the day otherwise. */
export function formatTime(time: Date | undefined): string {
  if (time === undefined) return '';
  return time.toDateString() === new Date().toDateString() ? clock.format(time) : day.format(time);
}

export function formatWholeTime(time: Date | undefined): string {
  return time === undefined ? '' : whole.format(time);
}

export function formatCount(count: number): string {
  return plain.format(count);
}
