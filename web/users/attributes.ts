/**
 * Converts attributes to rows of text that a user edits, and back. A value that was not edited does not change at all.
 * The server validates the attributes.
 */
import { inexactNumberText, isExactNumber } from '../../src/json.js';
import { hasInfinity, readJson } from '../../src/user-files/read-json.js';
import { isDate } from '../text/days.js';
import { localLiteral, localNumberText, numberProblem, understoodText } from '../text/parse-number.js';
import type { JsonObject, JsonValue } from './user-fields.js';

export const attributeTypes = {
  text: 'Text',
  number: 'Number',
  boolean: 'Yes or no',
  date: 'Date',
  link: 'Link',
  list: 'List',
  null: 'No value',
  json: 'JSON',
} as const;
export type AttributeType = keyof typeof attributeTypes;

export interface AttributeRow {
  /** Does not change if other rows are added or removed. */
  readonly id: number;
  readonly key: string;
  readonly type: AttributeType;
  readonly text: string;
  /** The row was added in the editor. */
  readonly isNew?: true;
  /** The row of a usual attribute in the form of a new user. Its key stays, and without a value it is not stored. */
  readonly isOffered?: true;
  /** Only a part of the date was typed. The browser reports that as an empty text. */
  readonly isIncomplete?: boolean;
  /** The user has chosen the type. Otherwise it may follow the key. */
  readonly isTypeChosen?: true;
  /** The original value, until the type or the text is edited. */
  readonly untouched?: { readonly value: JsonValue };
}

/** Why a row cannot be sent, and which part of it is invalid. */
export interface AttributeProblem {
  readonly part: 'key' | 'value';
  readonly message: string;
}

let idLast = 0;

const keyOrder = new Intl.Collator(undefined, { numeric: true });

export function newRow(): AttributeRow {
  return { id: ++idLast, key: '', type: 'text', text: '', isNew: true };
}

export function offeredRow(key: string, type: AttributeType): AttributeRow {
  return { ...newRow(), key, type, isOffered: true };
}

/** Attributes have no order on the wire, so the page orders them. */
export function sortedByKey<Value>(attributes: Readonly<Record<string, Value>>): [string, Value][] {
  return Object.entries(attributes).sort(([a], [b]) => keyOrder.compare(a, b));
}

/** Whether two keys are spellings of one name: they differ at most in capital letters, spaces, "_" and "-". */
export function isSameName(a: string, b: string): boolean {
  const fold = (key: string) =>
    key
      .normalize('NFC')
      .toLowerCase()
      .replaceAll(/[\s_-]/g, '') || key;
  return fold(a) === fold(b);
}

/** A key that exists and is another spelling of this one. */
export function similarKey(key: string, keys: readonly string[]): string | undefined {
  return keys.includes(key) ? undefined : keys.find((other) => isSameName(other, key));
}

export function attributeRowsOf(attributes: JsonObject): AttributeRow[] {
  return sortedByKey(attributes).map(([key, value]) => ({
    id: ++idLast,
    key,
    type: attributeTypeOf(value),
    text: textOf(value),
    untouched: { value },
  }));
}

export function attributeTypeOf(value: JsonValue): AttributeType {
  if (value === null) return 'null';
  if (typeof value === 'string') return isDate(value) ? 'date' : isLink(value) ? 'link' : 'text';
  if (Array.isArray(value)) return isListOfLines(value) ? 'list' : 'json';
  if (typeof value === 'object') return 'json';
  return typeof value === 'number' ? 'number' : 'boolean';
}

/** Whether the text is the URL of a web page. Another URL could run a script. */
export function isLink(text: string): boolean {
  return /^https?:\/\/\S+$/.test(text) && URL.canParse(text);
}

/** Whether each item of the list can be one line of a text field, which changes line breaks and ignores empty lines. */
function isListOfLines(list: readonly JsonValue[]): list is string[] {
  return list.every((item) => typeof item === 'string' && item.trim() !== '' && !/[\r\n]/.test(item));
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

function textOf(value: JsonValue): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return localNumberText(value);
  return Array.isArray(value) && isListOfLines(value) ? value.join('\n') : JSON.stringify(value, null, 2);
}

/** Changes the type of a row. The text stays, even if the type does not use it, so that changing back restores it. */
export function withType(row: AttributeRow, type: AttributeType): AttributeRow {
  const { untouched: _, ...rest } = row;
  // The text stays readable: a plain text becomes a JSON string, and a JSON string becomes plain text.
  if (type === 'json' && row.type !== 'json') {
    const isText = row.type === 'text' || row.type === 'date' || row.type === 'link' || row.type === 'list';
    const value = row.type === 'list' ? linesOf(row.text) : row.text;
    if (row.type === 'number') return { ...rest, type, text: localLiteral(row.text) ?? row.text };
    return { ...rest, type, text: isText && row.text !== '' ? JSON.stringify(value, null, 2) : row.text };
  }
  const value = row.type === 'json' ? readJson(row.text) : undefined;
  const isPlain =
    typeof value === 'string' ||
    (type === 'list' && Array.isArray(value)) ||
    (type === 'number' && typeof value === 'number');
  return { ...rest, type, text: isPlain ? textOf(value as JsonValue) : row.text };
}

export function withChosenType(row: AttributeRow, type: AttributeType): AttributeRow {
  return { ...withType(row, type), isTypeChosen: true };
}

export function withText(row: AttributeRow, text: string): AttributeRow {
  const { untouched: _, isIncomplete: _incomplete, ...rest } = row;
  return { ...rest, text };
}

// Not inexactNumberText, because its quotes would become part of a text.
const tooManyDigits = 'It has too many digits for a number. Store it as text.';

export const nameMissing = 'Enter the name of the attribute.';

function readValue(row: AttributeRow): { value: JsonValue } | { problem: string } {
  const { type, text, untouched } = row;
  if (untouched !== undefined) return untouched;
  if (row.isNew === true && isBlankText(row)) return { problem: 'Type a value, or remove the attribute.' };
  switch (type) {
    case 'text':
      return { value: text };
    case 'date':
      return isDate(text) ? { value: text } : { problem: 'Choose a day.' };
    case 'link':
      return isLink(text) ? { value: text } : { problem: 'Enter a web address, such as https://example.com.' };
    case 'list':
      return { value: linesOf(text) };
    case 'boolean':
      return { value: text === 'true' };
    case 'null':
      return { value: null };
    case 'number': {
      const literal = localLiteral(text);
      if (literal === undefined) return { problem: numberProblem };
      return isExactNumber(literal) ? { value: Number(literal) } : { problem: tooManyDigits };
    }
    case 'json': {
      const value = readJson(text);
      if (hasInfinity(value)) return { problem: inexactNumberText };
      return value === undefined ? { problem: jsonProblem(text) } : { value: value as JsonValue };
    }
  }
}

/** Says which number was typed, if that is not obvious. */
export function numberHint({ type, text, untouched }: AttributeRow): string | undefined {
  return type === 'number' && untouched === undefined ? understoodText(text) || undefined : undefined;
}

/** Somebody who clears a value may want to remove the attribute. */
function adviceFor({ text, isNew, isIncomplete }: AttributeRow): string {
  const isCleared = text.trim() === '' && isNew !== true && isIncomplete !== true;
  return isCleared ? ' To remove the attribute, use the button with the minus sign.' : '';
}

function jsonProblem(text: string): string {
  if (text.trim() === '') return 'Enter JSON, such as {} for an empty object.';
  try {
    JSON.parse(text);
    return 'A string in it has an incomplete character.';
  } catch (error) {
    return `This is not valid JSON: ${error instanceof Error ? error.message : ''}.`;
  }
}

/**
 * Returns the attributes, or the problems by the id of the row. Ignores rows that were added or offered but not filled in.
 * Only rows that were not edited may have a protected key.
 */
export function readAttributes(
  rows: readonly AttributeRow[],
  protectedKeys: ReadonlySet<string> = new Set(),
): { attributes: JsonObject; problems?: undefined } | { problems: ReadonlyMap<number, AttributeProblem> } {
  const problems = new Map<number, AttributeProblem>();
  const values = new Map<string, JsonValue>();
  for (const row of rows) {
    if (isBlank(row)) continue;
    const result = readValue(row);
    const isForbidden = row.untouched === undefined && protectedKeys.has(row.key);
    if (row.isNew === true && row.key.trim() === '') problems.set(row.id, { part: 'key', message: nameMissing });
    else if (isForbidden) problems.set(row.id, { part: 'key', message: 'You may not write this attribute.' });
    else if (values.has(row.key)) problems.set(row.id, { part: 'key', message: 'This key already exists.' });
    else if ('problem' in result) problems.set(row.id, { part: 'value', message: result.problem + adviceFor(row) });
    values.set(row.key, 'problem' in result ? null : result.value);
  }
  // fromEntries defines properties, so that it treats a key named __proto__ like any other key.
  return problems.size > 0 ? { problems } : { attributes: Object.fromEntries(values) };
}

/** In a new attribute, it is more often a mistake than wanted. It is possible as JSON. */
export function isBlankText({ type, text }: AttributeRow): boolean {
  return (type === 'text' || type === 'list') && text.trim() === '';
}

function isBlank(row: AttributeRow): boolean {
  const { key, type, text, isNew } = row;
  return isUnset(row) || (isNew === true && key === '' && type === 'text' && text === '');
}

/** Whether the row was offered and has no value yet. */
export function isUnset({ type, text, isOffered, isIncomplete }: AttributeRow): boolean {
  return isOffered === true && type !== 'null' && text.trim() === '' && (type !== 'date' || isIncomplete !== true);
}
