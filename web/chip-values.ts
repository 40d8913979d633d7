/** Converts what is typed into the fields of a chip: texts to values, and times to days. */
import type { ChipValue } from './filter-chips.js';
import { addDays, type FieldKind } from './filter-fields.js';

const idForm = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Returns undefined if the text is not a value of this kind. */
export function parseValue(kind: FieldKind, text: string): ChipValue | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (kind === 'number') {
    // A decimal comma, as many languages write it.
    const number = trimmed.replace(/^(-?\d+),(\d+)$/, '$1.$2');
    return /^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(number) && Number.isFinite(Number(number))
      ? Number(number)
      : undefined;
  }
  if (kind === 'boolean') return trimmed === 'true' ? true : trimmed === 'false' ? false : undefined;
  if (kind === 'id') return idForm.test(trimmed) ? trimmed.toLowerCase() : undefined;
  // A filter can contain neither U+0000 nor half of a character.
  return trimmed.replaceAll('\0', '').toWellFormed();
}

/** The local day of a time, as a date field has it. */
export function dayOf(time: Date): string {
  if (Number.isNaN(time.getTime())) return '';
  const two = (number: number) => String(number).padStart(2, '0');
  return `${String(time.getFullYear()).padStart(4, '0')}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** Days to choose from with one click. */
export function recentDays(now: Date): readonly { readonly label: string; readonly day: string }[] {
  return [
    { label: 'Today', day: dayOf(now) },
    { label: 'Last 7 days', day: dayOf(addDays(now, -6)) },
    { label: 'Last 30 days', day: dayOf(addDays(now, -29)) },
    { label: 'This year', day: `${dayOf(now).slice(0, 4)}-01-01` },
  ];
}
