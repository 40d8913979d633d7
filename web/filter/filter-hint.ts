/**
 * Why a filter may match nobody, from a sample of users: an attribute that none of them has, or one whose values have another
 * type, or attributes that a text is not searched in, or a text in another spelling.
 */
import type { User } from '../../generated/users/v1/user.js';
import { quoted, stringValue, type Token, tokensOf } from '../text/cel-tokens.js';
import { foldText } from '../text/fold-text.js';
import { closestKey } from '../users/closest-key.js';
import type { JsonValue } from '../users/user-fields.js';
import {
  type Chip,
  type FieldPath,
  isAttribute,
  type Operator,
  spellingsOf,
  writeChips,
  writePath,
} from './filter-chips.js';
import { readChips } from './read-chips.js';
import { isTextSearch, roomBeside, searchedBy, searchIn, searchOfRest, unsearchedPaths } from './text-search.js';
import { sampleOf } from './user-sample.js';

export type FilterHint =
  | {
      readonly problem: 'attribute';
      /** The unknown key. */
      readonly written: string;
      /** The key that was probably meant, and the filter with it. */
      readonly meant?: { readonly text: string; readonly filter: string } | undefined;
    }
  | {
      /** The text has another spelling in an attribute or in a name. */
      readonly problem: 'accents' | 'name';
      /** The differences that the filter sees, such as “accents”. */
      readonly differences: string;
      /** Whether the filter compares the whole text. */
      readonly isWhole: boolean;
      /** A spelling that somebody has, and the filter with it. */
      readonly meant?: { readonly text: string; readonly filter: string } | undefined;
      /** For a name: the search that finds all spellings, and the filter without the condition. */
      readonly search?: { readonly query: string; readonly filter: string } | undefined;
    }
  | {
      readonly problem: 'type';
      /** The key of the attribute. */
      readonly written: string;
      /** The type of its values, such as “a list”, if the filter compares it with another type. */
      readonly type: string;
      /** The comparison that was probably meant, and the filter with it. */
      readonly meant: { readonly text: string; readonly filter: string } | undefined;
    }
  | {
      readonly problem: 'unsearched';
      /** The attributes that the filter does not search. */
      readonly paths: readonly FieldPath[];
      /** The filter that searches them, or as many as there is room for. */
      readonly rest: string;
    };

/** The first hint explains most. */
export function filterHints(filter: string, users: readonly User[]): readonly FilterHint[] {
  const wrong = unknownAttribute(filter, users) ?? otherType(filter, users);
  if (wrong !== undefined) return [wrong];
  const unsearched = unsearchedAttributes(filter, users);
  const accents = otherSpelling(filter, users);
  if (unsearched === undefined) return accents === undefined ? [] : [accents];
  // Accents are to blame only if everything was searched, or if somebody has the other spelling.
  return accents !== undefined && 'meant' in accents ? [unsearched, accents] : [unsearched];
}

/** Whether the filter searches a text in the attributes of the sample. */
export function hasTextSearch(filter: string): boolean {
  return (readChips(filter) ?? []).some(isTextSearch);
}

function unsearchedAttributes(filter: string, users: readonly User[]): FilterHint | undefined {
  const chips = readChips(filter) ?? [];
  const at = chips.findIndex(isTextSearch);
  const chip = chips[at];
  if (chip === undefined) return undefined;
  const { fields } = sampleOf(users);
  const paths = unsearchedPaths(chip, fields);
  if (paths.length === 0) return undefined;
  const room = roomBeside(writeChips(chips.toSpliced(at, 1)));
  return { problem: 'unsearched', paths, rest: writeChips(chips.with(at, searchOfRest(chip, fields, room))) };
}

/** A key in the text of a filter, after other keys. */
interface KeyReference {
  /** Where the name `attributes` begins. */
  readonly attributesAt: number;
  readonly parents: readonly string[];
  readonly key: string;
  readonly from: number;
  readonly to: number;
}

function unknownAttribute(filter: string, users: readonly User[]): FilterHint | undefined {
  const references = keyReferences(filter);
  for (const { parents, key } of references) {
    const keys = keysAt(users, parents);
    if (keys.length === 0 || keys.includes(key)) continue;
    const meant = closestKey(key, keys);
    if (meant === undefined) return { problem: 'attribute', written: key };
    const isSame = (other: KeyReference) =>
      other.key === key && JSON.stringify(other.parents) === JSON.stringify(parents);
    const name = writePath(['', meant]);
    const fixed = references
      .filter(isSame)
      .reduceRight((text, { from, to }) => text.slice(0, from) + name + text.slice(to), filter);
    return { problem: 'attribute', written: key, meant: { text: meant, filter: fixed } };
  }
  return undefined;
}

/** The keys after `attributes`, each from its dot or bracket on. The name of a function is not a key. */
function keyReferences(filter: string): KeyReference[] {
  const tokens = tokensOf(filter).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  const found: KeyReference[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.text !== 'attributes' || tokens[index - 1]?.text === '.') continue;
    const parents: string[] = [];
    for (let at = index + 1; ; ) {
      const next = keyAt(tokens, at);
      if (next === undefined) break;
      found.push({ attributesAt: token.from, parents: [...parents], ...next });
      parents.push(next.key);
      at = next.after;
    }
  }
  return found;
}

function keyAt(tokens: readonly Token[], at: number) {
  const [first, second, third] = tokens.slice(at, at + 3);
  if (first === undefined || second === undefined) return undefined;
  if (first.text === '.' && second.kind === 'name' && third?.text !== '(')
    return { key: second.text, from: first.from, to: second.from + second.text.length, after: at + 2 };
  const key = first.text === '[' && third?.text === ']' ? stringValue(second.text) : undefined;
  return key === undefined || third === undefined
    ? undefined
    : { key, from: first.from, to: third.from + third.text.length, after: at + 3 };
}

/** The keys that users have in an object, the most frequent first. */
function keysAt(users: readonly User[], parents: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const value of valuesAt(users, parents)) {
    for (const key of isObject(value) ? Object.keys(value) : []) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([key]) => key);
}

function valuesAt(users: readonly User[], keys: readonly string[]): JsonValue[] {
  return users.flatMap(({ attributes = {} }) => {
    let value: JsonValue | undefined = attributes;
    for (const key of keys) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    return value === undefined || value === null ? [] : [value];
  });
}

const comparisons = ['==', '<', '<=', '>', '>='];

/** A comparison of an attribute with a text or a number, if no user of the sample has a value of this type there. */
function otherType(filter: string, users: readonly User[]): FilterHint | undefined {
  const tokens = tokensOf(filter).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  for (const { parents, key, attributesAt, to } of keyReferences(filter)) {
    const at = tokens.findIndex(({ from }) => from >= to);
    const [operator, literal] = at < 0 ? [] : tokens.slice(at, at + 2);
    if (operator === undefined || literal === undefined || !comparisons.includes(operator.text)) continue;
    const compared = literal.kind === 'number' ? Number(literal.text) : stringValue(literal.text);
    if (compared === undefined) continue;
    const types = new Set(valuesAt(users, [...parents, key]).map(typeOf));
    const [type] = types;
    if (type === undefined || types.size > 1 || type === typeOf(compared)) continue;
    const path = filter.slice(attributesAt, to);
    const fixed = comparisonWith(type, path, operator.text, compared);
    const end = literal.from + literal.text.length;
    const meant =
      fixed === undefined
        ? undefined
        : { text: fixed, filter: filter.slice(0, attributesAt) + fixed + filter.slice(end) };
    return { problem: 'type', written: key, type, meant };
  }
  return undefined;
}

function typeOf(value: JsonValue): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' ? 'text' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** The same comparison with a value of the type, if there is one. */
function comparisonWith(type: string, path: string, operator: string, compared: string | number): string | undefined {
  const written = typeof compared === 'string' ? quoted(compared) : String(compared);
  if (type === 'a list') return operator === '==' ? `${written} in ${path}` : undefined;
  // As texts, "9" is greater than "3000".
  if (type === 'text') return operator === '==' ? `${path} == ${quoted(String(compared))}` : undefined;
  const isNumber = typeof compared === 'string' && /^-?\d+(?:\.\d+)?$/.test(compared);
  if (type === 'a number' && isNumber) return `${path} ${operator} ${compared}`;
  const isBoolean = compared === 'true' || compared === 'false';
  return type === 'a boolean' && operator === '==' && isBoolean ? `${path} == ${compared}` : undefined;
}

function isObject(value: JsonValue | undefined): value is Record<string, JsonValue> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const names = ['display_name', 'first_name', 'last_name'];
const isName = ([name = '']: FieldPath) => names.includes(name);

const exactOperators: readonly Operator[] = ['is', 'startsWith', 'endsWith', 'containsExactly'];

/** Unlike the search by name, a filter compares texts with their accents, and with all but the usual capitals. */
function otherSpelling(filter: string, users: readonly User[]): FilterHint | undefined {
  const chips = readChips(filter) ?? [];
  const isSearch = ({ operator, path }: Chip) => operator === 'contains' && (isAttribute(path) || isName(path));
  const hintOf = (at: number, { path, operator, values }: Chip) => ({
    problem: isName(path) ? ('name' as const) : ('accents' as const),
    isWhole: operator === 'is',
    search:
      isName(path) && values.length === 1
        ? { query: String(values[0]), filter: writeChips(chips.toSpliced(at, 1)) }
        : undefined,
  });
  for (const [at, chip] of chips.entries()) {
    const written = String(chip.values[0] ?? '');
    const text = isSearch(chip)
      ? spellingIn(textsOf(chip, users), written, spellingsOf(chip.path, written))
      : undefined;
    if (text === undefined) continue;
    const room = roomBeside(writeChips(chips.toSpliced(at, 1)));
    const fixed = searchIn({ ...chip, values: [text] }, searchedBy(chip), room);
    const meant = { text, filter: writeChips(chips.with(at, fixed)) };
    return { ...hintOf(at, chip), differences: differenceOf(text, written), meant };
  }
  const at = chips.findIndex((chip) => isSearch(chip) || (isName(chip.path) && exactOperators.includes(chip.operator)));
  const chip = chips[at];
  if (chip === undefined) return undefined;
  const differences = isSearch(chip) ? 'accents and unusual capitals' : 'capitals and accents';
  return { ...hintOf(at, chip), differences };
}

function differenceOf(a: string, b: string): string {
  if (a.toLowerCase() === b.toLowerCase()) return 'capitals';
  const letters = (text: string) => text.toLowerCase().replaceAll(/[^\p{L}\p{M}\p{N}\s]/gu, '');
  return letters(a) === letters(b) ? 'apostrophes' : 'accents';
}

function textsOf({ path, others = [] }: Chip, users: readonly User[]): string[] {
  const searched = new Set([path, ...others].map(pathId));
  const fields = sampleOf(users).fields.filter((field) => searched.has(pathId(field.path)));
  return fields.flatMap(({ values }) => values.map(({ value }) => String(value)));
}

const pathId = (path: FieldPath) => JSON.stringify(path);

/** The part of a text that the search by name would find, if the text has none of the spellings that were tried. */
function spellingIn(texts: readonly string[], written: string, tried: readonly string[]): string | undefined {
  const folded = foldText(written);
  if (folded === '') return undefined;
  const isTried = (text: string) => tried.some((each) => text.includes(each));
  for (const text of texts.filter((each) => foldText(each).includes(folded) && !isTried(each))) {
    for (let from = 0; from < text.length; from++) {
      for (let to = from + 1; to <= text.length; to++) {
        const part = text.slice(from, to);
        if (foldText(part) === folded) return part;
      }
    }
  }
  return undefined;
}
