/**
 * Compares the attributes of a file with those of the directory: finds the key that a column means and guesses the type of its
 * cells, counts the values that become text although they should have another type, and writes a template.
 */
import { attributeKeyOf, attributePath } from '../../src/fields.js';
import { unknownStyle } from '../../src/user-files/cell-style.js';
import { type CellKind, type CellType, kindOf, readNumber, valueOfCell } from '../../src/user-files/cell-types.js';
import { type Column, matchHeader } from '../../src/user-files/header.js';
import { frequentAttributes, type KnownAttributes } from '../attributes/use-attribute-types.js';
import type { Directory } from '../calls/directory.js';
import { readSampledUsers } from '../calls/sampled-users.js';
import { writePath } from '../filter/filter-chips.js';
import { excelDelimiter, formatLine } from '../text/csv-line.js';
import { isDate } from '../text/days.js';
import { type AttributeType, isSameName } from '../users/attributes.js';

// An import must not wait long for suggestions.
const timeoutMs = 3_000;
const templateKeysMax = 10;
const rareUsersMax = 300;
const none: ReadonlySet<string> = new Set();
/** Rarer attributes may be mistakes, or of no use to others. */
const templateShareMin = 0.1;

/**
 * The attributes of sampled users that the caller may write, the most frequent first. Leaves out those that a smaller share of
 * the users have. Empty if the call fails.
 */
export async function readKnownAttributes(directory: Directory, shareMin = 0): Promise<KnownAttributes> {
  if (!directory.may('listUsers')) return new Map();
  try {
    const known = frequentAttributes(await readSampledUsers(directory, AbortSignal.timeout(timeoutMs)), shareMin);
    return new Map([...known].filter(([key]) => !directory.caller.protectedAttributes.has(key)));
  } catch {
    return new Map();
  }
}

// A filter has at most 2048 characters.
const filterMax = 1_800;
/** A file with hundreds of columns must not cause hundreds of calls. */
const rareCallsMax = 10;

export interface RareAttributes {
  /** Those of the attributes that some users have. */
  readonly known: KnownAttributes;
  /** Those of which the server says that no user has a value. Keys that could not be looked up are in neither. */
  readonly newKeys: ReadonlySet<string>;
}

/**
 * Looks up which of the attributes some users have, even if no sampled user has them. Otherwise an import would change the
 * types of their values. Never rejects.
 */
export async function readRareAttributes(directory: Directory, keys: readonly string[]): Promise<RareAttributes> {
  const known = new Map<string, AttributeType>();
  const newKeys = new Set<string>();
  if (!directory.may('listUsers')) return { known, newKeys };
  const signal = AbortSignal.timeout(timeoutMs);
  let open = keys.filter((key) => canBeFiltered(key) && !directory.caller.protectedAttributes.has(key));
  try {
    for (let calls = 0; open.length > 0 && calls < rareCallsMax; calls++) {
      const { filter, asked } = filterFor(open);
      const { users, nextPageToken } = await directory.listUsers({ filter, pageSize: rareUsersMax }, { signal });
      const found = frequentAttributes(users);
      const isWhole = nextPageToken === '';
      for (const key of asked) {
        const type = found.get(key);
        if (type !== undefined) known.set(key, type);
        if (isWhole && (type ?? 'null') === 'null') newKeys.add(key);
      }
      // If the frequent ones fill the page, the others are looked up without them.
      open = open.filter((key) => !asked.has(key) || (!isWhole && !found.has(key)));
    }
  } catch {
    // The page guesses no types for the other keys.
  }
  return { known, newKeys };
}

function hasKey(key: string): string {
  return `has(${writePath(['attributes', key])})`;
}

function canBeFiltered(key: string): boolean {
  return key.isWellFormed() && !key.includes('\0') && hasKey(key).length <= filterMax;
}

/** A filter for as many of the keys as it can have. */
function filterFor(keys: readonly string[]): { readonly filter: string; readonly asked: ReadonlySet<string> } {
  const asked = new Set<string>();
  let filter = '';
  for (const key of keys) {
    const longer = filter === '' ? hasKey(key) : `${filter} || ${hasKey(key)}`;
    if (longer.length > filterMax) continue;
    filter = longer;
    asked.add(key);
  }
  return { filter, asked };
}

/** Maps columns that match no field to the attributes with their name. Prefers the same spelling. */
export function withKnownKeys(
  columns: readonly Column[],
  known: KnownAttributes,
  newKeys: ReadonlySet<string> = none,
): readonly Column[] {
  const keys = [...known.keys()];
  const taken = new Set(columns.map(({ field }) => field));
  const mapped = (column: Column, key: string | undefined): Column => {
    if (column.field !== '' || column.isIgnored || !key) return column;
    const field = attributePath(key);
    if (taken.has(field)) return column;
    taken.add(field);
    return withField(column, field, known, newKeys);
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

/** The types that are not text, with a name, an example of a cell, and how to write a value. */
const otherTypes = {
  number: { name: 'a number', example: '3', advice: 'Write all numbers of a column in the same way, such as 1234.5.' },
  boolean: { name: '“Yes” or “No”', example: 'yes', advice: 'Write yes or no.' },
  date: { name: 'a date', example: '2026-02-28', advice: 'Write dates as 2026-02-28.' },
  list: { name: 'a list', example: '["first","second"]', advice: 'Write lists as ["first","second"].' },
  json: { name: 'JSON', example: undefined, advice: 'Write JSON as {"key":"value"}.' },
} as const satisfies Record<CellKind & AttributeType, object>;

function otherTypeOf(known: KnownAttributes, key: string): CellKind | undefined {
  const type = known.get(key);
  return type !== undefined && Object.hasOwn(otherTypes, type) ? (type as CellKind) : undefined;
}

/** If an attribute's name has one of these words, its digits are not a number: a postcode may begin with 0, and 8.30 is a time. */
const codeWords = new Set(
  (
    'zip zipcode postcode postal plz phone tel telephone telefon mobile fax iban account code version release time id ids ' +
    'number nr no'
  ).split(' '),
);

function isCode(key: string): boolean {
  const words = key.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase();
  return words.split(/[^\p{L}]+/u).some((word) => codeWords.has(word));
}

/**
 * The type that most other users have in the attribute, as the cells write it, or the type of all cells if the attribute is new.
 * Undefined if the user must choose what the cells mean, or if some users may have texts in the attribute.
 */
function guessType(
  { field, style = unknownStyle }: Column,
  known: KnownAttributes,
  newKeys: ReadonlySet<string>,
): CellType | undefined {
  const key = attributeKeyOf(field);
  if (key === undefined) return undefined;
  if (newKeys.has(key)) {
    const isNumber = style.numbers.some((type) => type === style.common);
    return isNumber && isCode(key) ? undefined : style.common;
  }
  const kind = otherTypeOf(known, key);
  if (kind !== 'number' && kind !== 'date') return kind;
  const types = kind === 'number' ? style.numbers : style.dates;
  return types.length === 1 ? types[0] : undefined;
}

/** Gives each column for one attribute the type that most other users have, or the type of its cells. */
export function withTypes(
  columns: readonly Column[],
  known: KnownAttributes,
  newKeys: ReadonlySet<string> = none,
): readonly Column[] {
  return columns.map((column) => withType(column, guessType(column, known, newKeys)));
}

/** Undefined is the type of texts. */
export function withType(column: Column, type: CellType | undefined): Column {
  if (column.type === type) return column;
  const { type: _, ...rest } = column;
  return type === undefined ? rest : { ...rest, type };
}

/** Changes the field of a column. A type that the user chose stays if both fields are attributes. */
export function withField(
  column: Column,
  field: string,
  known: KnownAttributes,
  newKeys: ReadonlySet<string> = none,
): Column {
  const isChosen = attributeKeyOf(column.field) !== undefined && column.type !== guessType(column, known, newKeys);
  const isKept = isChosen && attributeKeyOf(field) !== undefined;
  const changed = { ...column, field };
  return withType(changed, isKept ? column.type : guessType(changed, known, newKeys));
}

/** Whether a value is a text although it should have this type. */
export function isStray(value: unknown, type: CellKind | undefined): value is string {
  return typeof value === 'string' && !(type === 'date' && isDate(value));
}

/** A type that the values of an attribute should have, other than text. */
interface ExpectedType {
  readonly type: CellKind;
  /** Whether other users have it. Otherwise the user chose it. */
  readonly isTypeOfOthers: boolean;
  /** Whether the column is text although other users have this type. */
  readonly isTextChosen: boolean;
}

/** `kind` is the type of the column for this attribute. */
function expectedTypeOf(key: string, kind: CellKind | undefined, known: KnownAttributes): ExpectedType | undefined {
  const type = otherTypeOf(known, key);
  if (kind !== undefined && kind !== type) return { type: kind, isTypeOfOthers: false, isTextChosen: false };
  return type && { type, isTypeOfOthers: true, isTextChosen: kind === undefined };
}

/** Describes the values that the cells of a column for one attribute become, as far as its first cells show it. */
export interface CellNote {
  readonly text: string;
  /** Whether some do not get the type that was chosen, or that other users have. */
  readonly isStray: boolean;
}

/** How the user chooses the meaning of these cells before they can become numbers or dates. Undefined if it is clear. */
function openChoiceOf(
  { type, style = unknownStyle }: Pick<Column, 'type' | 'style'>,
  filled: readonly string[],
): { readonly kind: 'number' | 'date'; readonly advice: string } | undefined {
  const { numbers, unclearNumber, dates } = style;
  if (type !== undefined) return undefined;
  const areAll = (types: readonly CellType[]) =>
    types.length > 1 && filled.every((cell) => types.some((each) => !isStray(valueOfCell(cell, each), kindOf(each))));
  if (filled.length > 0 && areAll(numbers)) {
    const [first, second] = numbers.map((each) => readNumber(unclearNumber, each));
    return { kind: 'number', advice: `Choose whether ${unclearNumber} is ${first} or ${second}.` };
  }
  if (filled.some((cell) => !isDate(cell)) && areAll(dates)) {
    return { kind: 'date', advice: 'Choose whether the day or the month is first.' };
  }
  return undefined;
}

/** Returns undefined if the type of the column needs no explanation. */
export function cellNoteOf(
  key: string,
  column: Pick<Column, 'type' | 'style'>,
  cells: readonly string[],
  known: KnownAttributes,
): CellNote | undefined {
  const { type: cellType } = column;
  const filled = cells.filter((cell) => cell !== '');
  const expected = expectedTypeOf(key, kindOf(cellType), known);
  const choice = openChoiceOf(column, filled);
  if (expected === undefined) {
    if (choice !== undefined && !known.has(key)) {
      return { text: `These seem to be ${choice.kind}s. ${choice.advice}`, isStray: false };
    }
    return filled.length > 0 && filled.every(isDate) ? { text: 'Imported as a date.', isStray: false } : undefined;
  }
  const { type, isTypeOfOthers } = expected;
  const strays = filled.filter((cell) => isStray(valueOfCell(cell, cellType), type));
  if (strays.length > 0) {
    const some = strays.length < filled.length ? 'Some cells are imported as text' : 'Imported as text';
    const why = isTypeOfOthers ? 'but other users have' : 'because they are not';
    const advice = choice?.kind === type ? ` ${choice.advice}` : '';
    return { text: `${some}, ${why} ${otherTypes[type].name}.${advice}`, isStray: true };
  }
  if (!isTypeOfOthers && known.has(key)) {
    return { text: `Other users have ${nameOf(otherTypeOf(known, key))} in this attribute.`, isStray: true };
  }
  if (cellType === 'commaNumber') return { text: 'Read with a decimal comma, as in 1.234,5.', isStray: false };
  // A column of the type date needs no explanation.
  const isDates = type === 'date' && cellType === undefined && filled.length > 0;
  return isDates ? { text: 'Imported as a date.', isStray: false } : undefined;
}

function nameOf(type: CellKind | undefined): string {
  return type === undefined ? 'a text' : otherTypes[type].name;
}

/** The values of an attribute that would become text, although they should have another type. */
export interface StrayTexts extends ExpectedType {
  readonly key: string;
  readonly rows: number;
  /** The first of these rows, from 1, and its text. */
  readonly firstRow: number;
  readonly firstText: string;
}

export function createStrayTexts(columns: readonly Column[], known: KnownAttributes) {
  // A column of JSON may contain any of the attributes.
  const kinds = new Map([...known.keys()].map((key) => [key, otherTypeOf(known, key)]));
  for (const { field, type } of columns) {
    const key = attributeKeyOf(field);
    if (key !== undefined) kinds.set(key, kindOf(type));
  }
  const types = [...kinds].flatMap(([key, kind]) => {
    const expected = expectedTypeOf(key, kind, known);
    return expected === undefined ? [] : [{ key, ...expected }];
  });
  const found = new Map<string, StrayTexts>();
  return {
    add(row: number, attributes: Readonly<Record<string, unknown>> = {}): void {
      for (const type of types) {
        const { key } = type;
        const value = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
        if (!isStray(value, type.type)) continue;
        const before = found.get(key) ?? { ...type, rows: 0, firstRow: row, firstText: value };
        found.set(key, { ...before, rows: before.rows + 1 });
      }
    },
    /** The most frequent first. */
    list: () => [...found.values()].sort((a, b) => b.rows - a.rows || a.firstRow - b.firstRow),
  };
}

/** Such as "a text that is not a number". */
export function describeStray({ type, isTypeOfOthers }: StrayTexts): string {
  return `a text ${isTypeOfOthers ? 'where other users have' : 'that is not'} ${otherTypes[type].name}`;
}

/** Says what to do so that the values get the type that they should have. */
export function adviceFor(strayTexts: readonly StrayTexts[]): string {
  const all = strayTexts.filter(({ isTextChosen }) => !isTextChosen);
  const chosen = all.length < strayTexts.length ? ['To change the type of a column, go back.'] : [];
  const advice = all.map(({ type }) => [type, otherTypes[type].advice] as const);
  // A cell would have been converted.
  const isQuoted = all.some(({ type, firstText }) => type !== 'date' && valueOfCell(firstText, type) !== firstText);
  const quotes = isQuoted ? ['In JSON, write numbers, true, false and lists without quotes around them.'] : [];
  // Each type once.
  return [...chosen, ...new Map(advice).values(), ...quotes].join(' ');
}

export async function readTemplate(directory: Directory): Promise<string> {
  return templateOf(await readKnownAttributes(directory, templateShareMin), excelDelimiter());
}

/** A CSV file with the columns of an import and one example row. It contains no values of users. */
export function templateOf(known: KnownAttributes, delimiter: string): string {
  const isColumn = (key: string) => matchHeader([attributePath(key)])[0]?.field === attributePath(key);
  // Hardly anybody writes JSON in a spreadsheet.
  const keys = [...known.keys()].filter((key) => known.get(key) !== 'json' && isColumn(key)).slice(0, templateKeysMax);
  const header = ['first_name', 'last_name', 'email', ...keys.map(attributePath)];
  const cells = ['Ada', 'Lovelace', 'ada.lovelace@example.com', ...keys.map((key) => exampleOf(known, key))];
  // Excel reads a CSV file as UTF-8 only if it begins with a byte order mark.
  return `\ufeff${formatLine(header, delimiter)}${formatLine(cells, delimiter)}`;
}

function exampleOf(known: KnownAttributes, key: string): string {
  const type = otherTypeOf(known, key);
  const example = type && otherTypes[type].example;
  return example ?? (known.get(key) === 'link' ? 'https://example.com' : 'Example');
}
