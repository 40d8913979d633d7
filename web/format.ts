/** Formats times, counts and sizes in the user's language and time zone. */

const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const plain = new Intl.NumberFormat();
const oneDecimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

/** Formats only the time if it is today, otherwise only the day. */
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

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  const [size, unit] = bytes < 1e6 ? [bytes / 1e3, 'kB'] : [bytes / 1e6, 'MB'];
  return `${oneDecimal.format(size)} ${unit}`;
}
