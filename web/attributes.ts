/**
 * Attributes as rows of text that a person edits, and back. A value that nobody touched stays the very value it was;
 * what attributes may hold is the server's to say.
 */
import { hasInfinity, readJson } from '../src/cli/json.js';
import { inexactNumberText, isExactNumber } from '../src/json.js';
import type { JsonObject, JsonValue } from './user-fields.js';

export const attributeTypes = {
  text: 'Text',
  number: 'Number',
  boolean: 'True or false',
  null: 'Null',
  json: 'JSON',
} as const;
export type AttributeType = keyof typeof attributeTypes;

export interface AttributeRow {
  /** Stays with the row while others come and go. */
  readonly id: number;
  readonly key: string;
  readonly type: AttributeType;
  readonly text: string;
  /** Was not among the attributes. */
  readonly isNew?: true;
  /** Until type or text is edited. */
  readonly untouched?: { readonly value: JsonValue };
}

/** What keeps a row from being sent, and which part of it is to be mended. */
export interface AttributeProblem {
  readonly part: 'key' | 'value';
  readonly message: string;
}

let idLast = 0;

export function newRow(): AttributeRow {
  return { id: ++idLast, key: '', type: 'text', text: '', isNew: true };
}

export function rowsOf(attributes: JsonObject): AttributeRow[] {
  return Object.entries(attributes).map(([key, value]) => ({
    id: ++idLast,
    key,
    type: typeOf(value),
    text: textOf(value),
    untouched: { value },
  }));
}

function typeOf(value: JsonValue): AttributeType {
  if (value === null) return 'null';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'object') return 'json';
  return typeof value === 'number' ? 'number' : 'boolean';
}

function textOf(value: JsonValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

/** The row with another type. Its text stays, though a type may have no use for it: going back brings it back. */
export function withType(row: AttributeRow, type: AttributeType): AttributeRow {
  const { untouched: _, ...rest } = row;
  // What was typed stays readable: a text becomes a JSON text, and a JSON text a text.
  if (type === 'json') {
    const isText = row.type === 'text' && row.text !== '';
    return { ...rest, type, text: isText ? JSON.stringify(row.text) : row.text };
  }
  const value = row.type === 'json' ? readJson(row.text) : undefined;
  return { ...rest, type, text: typeof value === 'string' ? value : row.text };
}

export function withText(row: AttributeRow, text: string): AttributeRow {
  const { untouched: _, ...rest } = row;
  return { ...rest, text };
}

function readValue({ type, text, untouched }: AttributeRow): { value: JsonValue } | { problem: string } {
  if (untouched !== undefined) return untouched;
  switch (type) {
    case 'text':
      return { value: text };
    case 'boolean':
      return { value: text === 'true' };
    case 'null':
      return { value: null };
    case 'number': {
      // As JSON writes numbers, because Number() also takes '', ' 1', '0x1' and 'Infinity'.
      const value = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : Number.NaN;
      if (Number.isNaN(value)) return { problem: 'This is no number, like 42 or -1.5.' };
      return isExactNumber(text.trim()) ? { value } : { problem: inexactNumberText };
    }
    case 'json': {
      const value = readJson(text);
      if (hasInfinity(value)) return { problem: inexactNumberText };
      return value === undefined ? { problem: jsonProblem(text) } : { value: value as JsonValue };
    }
  }
}

function jsonProblem(text: string): string {
  if (text.trim() === '') return 'There is nothing yet; {} would be an empty object.';
  try {
    JSON.parse(text);
    return 'A text in it has half of a character.';
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : ''}.`;
  }
}

/** The attributes that the rows make, or what is wrong with some, by id. A row that is as it was added counts for nothing. */
export function readRows(
  rows: readonly AttributeRow[],
): { attributes: JsonObject; problems?: undefined } | { problems: ReadonlyMap<number, AttributeProblem> } {
  const problems = new Map<number, AttributeProblem>();
  const values = new Map<string, JsonValue>();
  for (const row of rows) {
    if (isBlank(row)) continue;
    const result = readValue(row);
    if (values.has(row.key)) problems.set(row.id, { part: 'key', message: 'This key is there already.' });
    else if ('problem' in result) problems.set(row.id, { part: 'value', message: result.problem });
    values.set(row.key, 'problem' in result ? null : result.value);
  }
  // fromEntries defines properties, so that a key named __proto__ is one like any other.
  return problems.size > 0 ? { problems } : { attributes: Object.fromEntries(values) };
}

function isBlank({ key, type, text, isNew }: AttributeRow): boolean {
  return isNew === true && key === '' && type === 'text' && text === '';
}
