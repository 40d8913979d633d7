/**
 * Compares the attributes of a file with those of the directory: finds the key that a column means, counts the values that
 * become text although other users have another type, and writes a template with the keys that occur.
 */
import { type Column, matchHeader } from '../src/user-files/header.js';
import { type AttributeType, isDate, isSameName } from './attributes.js';
import { formatLine } from './csv-line.js';
import type { Directory } from './directory.js';
import { readNewestUsers } from './newest-users.js';
import { frequentAttributes, type KnownAttributes } from './use-attribute-types.js';
import type { JsonValue } from './user-fields.js';

// An import must not wait long for suggestions.
const timeoutMs = 3_000;
const templateKeysMax = 10;

export const attributePrefix = 'attributes.';

/** The attributes of the newest users that the caller may write, the most frequent first. Empty if the call fails. */
export async function readKnownAttributes(directory: Directory): Promise<KnownAttributes> {
  if (!directory.may('listUsers')) return new Map();
  try {
    const known = frequentAttributes(await readNewestUsers(directory, AbortSignal.timeout(timeoutMs)));
    return new Map([...known].filter(([key]) => !directory.caller.protectedAttributes.has(key)));
  } catch {
    return new Map();
  }
}

/** Maps columns that match no field to the attributes with their name. Prefers the same spelling. */
export function withKnownKeys(columns: readonly Column[], known: KnownAttributes): readonly Column[] {
  const keys = [...known.keys()];
  const taken = new Set(columns.map(({ field }) => field));
  const mapped = (column: Column, key: string | undefined): Column => {
    const field = `${attributePrefix}${key}`;
    if (column.field !== '' || column.isIgnored || !key || taken.has(field)) return column;
    taken.add(field);
    return { ...column, field };
  };
  return columns
    .map((column) => mapped(column, known.has(column.name) ? column.name : undefined))
    .map((column) =>
      mapped(
        column,
        keys.find((key) => isSameName(key, column.name)),
      ),
    );
}

/** The types that are not text, with a name and an example of a value. */
const otherTypes = {
  number: { name: 'a number', example: 3 },
  boolean: { name: '“Yes” or “No”', example: true },
  date: { name: 'a date', example: '2026-02-28' },
  list: { name: 'a list', example: ['first', 'second'] },
  json: { name: 'JSON', example: {} },
} as const satisfies Partial<Record<AttributeType, { name: string; example: JsonValue }>>;
type OtherType = keyof typeof otherTypes;

function otherTypeOf(known: KnownAttributes, key: string): OtherType | undefined {
  const type = known.get(key);
  return type !== undefined && Object.hasOwn(otherTypes, type) ? (type as OtherType) : undefined;
}

/** Whether attributes.KEY can be a column for values of this type: an import turns its cells into texts. */
function isText(type: AttributeType | undefined): boolean {
  return type === undefined || !Object.hasOwn(otherTypes, type) || type === 'date';
}

/** Whether a value is a text although it should have this type. */
function isStray(value: unknown, type: OtherType): value is string {
  return typeof value === 'string' && !(type === 'date' && isDate(value));
}

/** The type of a column for one attribute, as far as its first cells show it. */
export interface CellType {
  readonly text: string;
  /** Whether other users have another type. */
  readonly isStray: boolean;
}

export function cellTypeOf(key: string, cells: readonly string[], known: KnownAttributes): CellType {
  const filled = cells.filter((cell) => cell !== '');
  const type = otherTypeOf(known, key);
  if (type !== undefined && (filled.length === 0 ? type !== 'date' : filled.some((cell) => isStray(cell, type)))) {
    const some = filled.some((cell) => !isStray(cell, type)) ? 'Some cells are imported as text' : 'Imported as text';
    return { text: `${some}, but other users have ${otherTypes[type].name}.`, isStray: true };
  }
  const isDates = filled.length > 0 && filled.every(isDate);
  return { text: isDates ? 'Imported as a date.' : 'Imported as text.', isStray: false };
}

/** The values of an attribute that would become text, although other users have another type. */
export interface StrayTexts {
  readonly key: string;
  readonly type: OtherType;
  readonly rows: number;
  /** The first of these rows, from 1, and its text. */
  readonly firstRow: number;
  readonly firstText: string;
}

export function createStrayTexts(known: KnownAttributes) {
  const types = [...known.keys()].flatMap((key) => {
    const type = otherTypeOf(known, key);
    return type === undefined ? [] : [{ key, type }];
  });
  const found = new Map<string, StrayTexts>();
  return {
    add(row: number, attributes: Readonly<Record<string, unknown>> = {}): void {
      for (const { key, type } of types) {
        const value = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
        if (!isStray(value, type)) continue;
        const before = found.get(key) ?? { key, type, rows: 0, firstRow: row, firstText: value };
        found.set(key, { ...before, rows: before.rows + 1 });
      }
    },
    /** The most frequent first. */
    list: () => [...found.values()].sort((a, b) => b.rows - a.rows || a.firstRow - b.firstRow),
  };
}

/** Such as "a number". */
export function typeName({ type }: StrayTexts): string {
  return otherTypes[type].name;
}

/** Says how to write the values, so that they get the type that other users have. */
export function adviceFor(all: readonly StrayTexts[]): string {
  const advice: string[] = [];
  if (all.some(({ type }) => type === 'date')) advice.push(`Write dates as ${otherTypes.date.example}.`);
  const inJson = all.find(({ type }) => !isText(type));
  if (inJson !== undefined) {
    const example = JSON.stringify({ [inJson.key]: otherTypes[inJson.type].example });
    advice.push(
      `A column for one attribute always becomes text. For other types, use a column “attributes” with JSON, such as ${example}.`,
    );
  }
  return advice.join(' ');
}

/** A CSV file with the columns of an import and one example row. It contains no values of users. */
export function templateOf(known: KnownAttributes): string {
  const isColumn = (key: string) => matchHeader([attributePrefix + key])[0]?.field === attributePrefix + key;
  const keys = [...known.keys()].slice(0, templateKeysMax);
  const texts = keys.filter((key) => isText(known.get(key)) && isColumn(key));
  const others = keys.filter((key) => !isText(known.get(key)));
  const header = ['first_name', 'last_name', 'email', ...texts.map((key) => attributePrefix + key)];
  const cells = ['Ada', 'Lovelace', 'ada.lovelace@example.com', ...texts.map((key) => exampleOf(known.get(key)))];
  if (others.length > 0) {
    header.push('attributes');
    const examples = others.map((key) => [key, otherTypes[otherTypeOf(known, key) ?? 'json'].example]);
    cells.push(JSON.stringify(Object.fromEntries(examples)));
  }
  // Excel reads a CSV file as UTF-8 only if it begins with a byte order mark.
  return `\ufeff${formatLine(header)}${formatLine(cells)}`;
}

function exampleOf(type: AttributeType | undefined): string {
  if (type === 'date') return otherTypes.date.example;
  return type === 'link' ? 'https://example.com' : 'Example';
}
