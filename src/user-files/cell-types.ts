/**
 * Converts the cells of a column for one attribute to the type of the column. A column without a type contains texts.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { isExactNumber } from '../json.js';
import { hasInfinity, isObject, readJson } from './read-json.js';

/**
 * `number` is 1234.5, `commaNumber` 1.234,5, and `pointNumber` 1,234.5. A date becomes a text such as 2024-12-31. `json` is an
 * object or a list. A list of other values than texts is JSON on the page.
 */
export type CellType =
  | 'number'
  | 'commaNumber'
  | 'pointNumber'
  | 'boolean'
  | 'dayFirstDate'
  | 'monthFirstDate'
  | 'list'
  | 'json';

export type NumberType = 'number' | 'commaNumber' | 'pointNumber';

/** A type of values, however the cells write them. */
export type CellKind = 'number' | 'boolean' | 'date' | 'list' | 'json';

const kinds: Readonly<Record<CellType, CellKind>> = {
  number: 'number',
  commaNumber: 'number',
  pointNumber: 'number',
  boolean: 'boolean',
  dayFirstDate: 'date',
  monthFirstDate: 'date',
  list: 'list',
  json: 'json',
};

export function kindOf(type: CellType | undefined): CellKind | undefined {
  return type && kinds[type];
}

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
// All numbers may have these between groups of three digits: spaces, non-breaking spaces as in French, and apostrophes as in
// Switzerland.
const groupMarks = String.raw` \u00a0\u202f'’`;

/** Matches numbers that may also have `groupMark` between groups. Does not match a code with a leading 0, such as 007. */
function numberForm(groupMark: string, decimalMark: string): RegExp {
  const groups = String.raw`[1-9]\d{0,2}([${groupMarks}${groupMark}])\d{3}(?:\1\d{3})*`;
  return new RegExp(String.raw`^-?(?:0|[1-9]\d*|${groups})(?:[${decimalMark}]\d+)?$`);
}

const spacedForm = numberForm('', '.');
export const commaForm = numberForm('.', ',');
export const pointForm = numberForm(',', '.');

const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['0', false],
]);

/** Returns the text itself if it is not a value of the type. Ignores white space around a value, as JSON does. */
export function valueOfCell(text: string, type: CellType | undefined): unknown {
  switch (type) {
    case undefined:
      return text;
    case 'number':
    case 'commaNumber':
    case 'pointNumber':
      return readNumber(text.trim(), type) ?? readStructure(text) ?? text;
    case 'boolean':
      return booleans.get(text.trim().toLowerCase()) ?? readStructure(text) ?? text;
    case 'dayFirstDate':
    case 'monthFirstDate':
      return readDate(text.trim(), type) ?? text;
    case 'list': {
      const value = readStructure(text);
      return Array.isArray(value) ? value : text;
    }
    case 'json':
      return readStructure(text) ?? text;
  }
}

/** An object or a list in JSON. A few users may have one in an attribute that is a number for most users. */
function readStructure(text: string): unknown {
  const value = readJson(text);
  return (Array.isArray(value) || isObject(value)) && !hasInfinity(value) ? value : undefined;
}

/** The text has no white space around it. Undefined if it is not a number, or if a double would change it. */
export function readNumber(text: string, type: NumberType): number | undefined {
  const literal = literalOf(text, type);
  return jsonNumber.test(literal) && isExactNumber(literal) ? Number(literal) : undefined;
}

/** Returns the number as JSON writes it. A text in another form stays, because it may already be JSON, such as 1e5. */
function literalOf(text: string, type: NumberType): string {
  if (type === 'commaNumber' && commaForm.test(text)) return text.replace(/[^\d,-]/g, '').replace(',', '.');
  const form = type === 'pointNumber' ? pointForm : spacedForm;
  return form.test(text) ? text.replace(/[^\d.-]/g, '') : text;
}

export const numericDate = /^(\d{1,2})([./-])(\d{1,2})\2(\d{4})$/;
const yearFirstDate = /^(\d{4})([./-])(\d{1,2})\2(\d{1,2})$/;
const dayAndName = /^(\d{1,2})[ -]([a-z]+)\.?[ -](\d{4})$/i;
const nameAndDay = /^([a-z]+)\.? (\d{1,2}),? (\d{4})$/i;
const months = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];

/** The text has no white space around it. Undefined if it is not a day of the calendar. */
export function readDate(text: string, type: 'dayFirstDate' | 'monthFirstDate'): string | undefined {
  const [, first = '', , second = '', year = ''] = numericDate.exec(text) ?? [];
  if (year !== '') return type === 'dayFirstDate' ? isoDate(year, second, first) : isoDate(year, first, second);
  const [, isoYear, , isoMonth = '', isoDay = ''] = yearFirstDate.exec(text) ?? [];
  if (isoYear !== undefined) return isoDate(isoYear, isoMonth, isoDay);
  const [, day = '', name = '', nameYear] = dayAndName.exec(text) ?? [];
  if (nameYear !== undefined) return isoDate(nameYear, monthOf(name), day);
  const [, nameFirst = '', dayAfter = '', yearAfter] = nameAndDay.exec(text) ?? [];
  return yearAfter === undefined ? undefined : isoDate(yearAfter, monthOf(nameFirst), dayAfter);
}

/** The number of a month from its English name, which may be shortened. */
function monthOf(name: string): string {
  const lower = name.toLowerCase();
  return String(months.findIndex((month) => lower.length >= 3 && month.startsWith(lower)) + 1);
}

/** Returns undefined if the calendar does not have the day. */
function isoDate(year: string, month: string, day: string): string | undefined {
  const text = `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`;
  const time = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(text) ? text : undefined;
}
