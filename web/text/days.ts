/** Days of the calendar, mostly in the time zone of the browser. */

/** The local day of a time, as a date field has it: `2026-01-31`. Empty for an invalid time. */
export function dayOf(time: Date): string {
  if (Number.isNaN(time.getTime())) return '';
  const two = (number: number) => String(number).padStart(2, '0');
  return `${String(time.getFullYear()).padStart(4, '0')}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** Returns the beginning of the day that is so many days later, also across a change of the clocks. */
export function addDays(time: Date, days: number): Date {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate() + days);
}

/** Whether the text is a day that exists, such as 2026-02-28. */
export function isDate(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && new Date(`${text}T00:00:00Z`).toJSON()?.startsWith(text) === true;
}
