/** Why the server refused a filter, in words for the page, and where the error is. */
import { filterFields } from '../../src/fields.js';
import type { CallError } from '../calls/call-error.js';
import { quoted, type Token, tokensOf } from '../text/cel-tokens.js';
import { placeInFilter, relativeUnits, sentFilter } from '../text/relative-days.js';
import { isSameName } from '../users/attributes.js';
import { closestKey } from '../users/closest-key.js';
import { type Chip, type FieldPath, isAttribute, writeChip, writePath } from './filter-chips.js';
import type { FilterFieldInfo } from './filter-fields.js';

export interface Mistake {
  readonly text: string;
  /** An index in the filter's text; undefined if the error has no place. */
  readonly at: number | undefined;
}

const unknownName = 'must name one of the fields';
/** Said of the name before a dot or a bracket. */
const unknownOwner = 'must name a key of attributes';
const placeForm = /;? ?\(?(?:the error is )?at character (\d+)\)?/;

/** `sampled` are the fields of a sample of users, the most frequent attributes first. */
export function mistakeOf(
  error: CallError | undefined,
  filter: string,
  sampled: readonly FilterFieldInfo[] = [],
): Mistake | undefined {
  const violation = error?.violations.find(({ field }) => field === 'filter');
  if (violation === undefined) return undefined;
  const [place, character] = placeForm.exec(violation.description) ?? [];
  const description = place === undefined ? violation.description : violation.description.replace(place, '');
  const before = [...sentFilter(filter)].slice(0, Number(character) - 1).join('');
  const at = character === undefined ? undefined : placeInFilter(filter, before.length);
  // For these, the server knows only where its parser stopped.
  if (description === 'must be a CEL expression') {
    return syntaxMistake(filter) ?? { text: 'The expression cannot be read at the marked place.', at };
  }
  if (at !== undefined && description.startsWith(unknownName)) {
    const [name] = /^\w+/.exec(filter.slice(at)) ?? [''];
    const isOperand = operandStart.test(filter.slice(0, at));
    const meant = meantPath(name, sampled) ?? (isOperand ? undefined : closestPath(name, sampled));
    if (meant !== undefined) return { text: `“${name}” is not a field. Did you mean ${writePath(meant)}?`, at };
    if (isOperand) return { text: needsQuotes(name), at };
  }
  const [owner = ''] = description.startsWith(unknownOwner) ? (/\w+$/.exec(filter.slice(0, at)) ?? []) : [];
  if (at !== undefined && closestKey(owner, ['attributes']) !== undefined) {
    return { text: `“${owner}” is not a field. Did you mean attributes?`, at: at - owner.length };
  }
  const isDay = at !== undefined && relativeUnits.some((unit) => filter.startsWith(unit, at));
  if (isDay && description.startsWith('must compare create_time')) {
    return { text: 'Created and Updated are times. Put the day into timestamp(…), such as timestamp(today - 6).', at };
  }
  return { text: `The filter ${description.replaceAll('create_time and update_time', 'Created and Updated')}.`, at };
}

/** The text before a name that is probably a value, because it is compared with a field. */
const operandStart = /(?:(?<!["'\d]\s*)[=!<>]=?|[[,]|\bin|\.\w+\()\s*$/;

const needsQuotes = (text: string) =>
  /^(?:true|false|null)$/i.test(text)
    ? `Did you mean ${text.toLowerCase()}?`
    : `A text needs quotes. Did you mean ${quoted(text)}?`;

/** The field with another spelling of this name, or the attribute with this name. */
function meantPath(name: string, sampled: readonly FilterFieldInfo[]): FieldPath | undefined {
  const attributes = sampled.map(({ path }) => path).filter(isAttribute);
  const isNamed = (path: FieldPath) => isSameName(path.at(-1) ?? '', name);
  return (
    Object.keys(filterFields)
      .map((field) => [field])
      .find(isNamed) ??
    attributes.find((path) => path.at(-1) === name) ??
    attributes.find(isNamed)
  );
}

/** Other words for a field. */
const fieldsByWord: Readonly<Record<string, string>> = {
  name: 'display_name',
  fullname: 'display_name',
  givenname: 'first_name',
  forename: 'first_name',
  surname: 'last_name',
  familyname: 'last_name',
  mail: 'email',
  emailaddress: 'email',
  created: 'create_time',
  createdat: 'create_time',
  updated: 'update_time',
  updatedat: 'update_time',
};

/** The field or attribute that a mistyped name or another word most likely means. */
function closestPath(name: string, sampled: readonly FilterFieldInfo[]): FieldPath | undefined {
  const word = name.toLowerCase().replaceAll('_', '');
  const field = Object.hasOwn(fieldsByWord, word) ? fieldsByWord[word] : undefined;
  if (field !== undefined) return [field];
  const attributes = sampled.map(({ path }) => path).filter(isAttribute);
  const paths = [...Object.keys(filterFields).map((each) => [each]), ['attributes'], ...attributes];
  const nameOf = (path: FieldPath) => path.at(-1) ?? '';
  const closest = closestKey(name, paths.map(nameOf));
  return paths.find((path) => nameOf(path) === closest);
}

const instead: Readonly<Record<string, string>> = {
  '=': '==',
  '&': '&&',
  '|': '||',
  and: '&&',
  or: '||',
  not: '!',
  '“': '"',
  '”': '"',
  '„': '"',
  '‘': '"',
  '’': '"',
};
const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']' };

/** Finds the usual mistakes of somebody who seldom writes expressions. */
function syntaxMistake(filter: string): Mistake | undefined {
  const tokens = tokensOf(filter).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  const open: Token[] = [];
  for (const [index, token] of tokens.entries()) {
    const { kind, text, from: at } = token;
    const isKey = tokens[index - 1]?.text === '.';
    if (kind === 'string' && !isClosed(text)) return { text: 'A quote is missing at the end of this text.', at };
    const right = isKey ? undefined : insteadOf(token);
    if (right !== undefined) return { text: `Write ${right} instead of ${text}.`, at };
    if (kind !== 'operator') continue;
    const wrongValue = comparisons.includes(text) ? valueMistake(filter, at + text.length) : undefined;
    if (wrongValue !== undefined) return wrongValue;
    if (Object.hasOwn(closing, text)) open.push(token);
    else if (text === ')' || text === ']') {
      const opened = open.pop();
      if (closing[opened?.text ?? ''] !== text) return { text: `Nothing is open that this ${text} could close.`, at };
    }
  }
  const last = tokens.at(-1);
  if (last?.kind === 'operator' && last.text !== ')' && last.text !== ']') {
    return { text: 'The expression is not complete. Something is missing at the end.', at: last.from };
  }
  const [first] = open;
  return first && { text: `The closing ${closing[first.text]} is missing.`, at: first.from };
}

function insteadOf({ kind, text }: Token): string | undefined {
  const key = text.toLowerCase();
  if (kind === 'name' && key === 'in' && text !== key) return key;
  return kind !== 'string' && Object.hasOwn(instead, key) ? instead[key] : undefined;
}

const comparisons = ['==', '!=', '<', '<=', '>', '>='];
/** Thousands with separators, or a decimal comma. */
const numberForm = /^\s*(?<number>-?\d{1,3}(?:[ ,]\d{3})+(?:\.\d+)?|-?\d+,\d+)(?![\d,])/;
const wordsForm = /^\s*(?<words>[\p{L}_][^&|()[\]"'“”=<>!,]*?)\s*(?=$|&&|\|\||[)]|\b(?:and|or)\b)/iu;

/** Finds a number with separators, or a text of several words or with unusual letters and without quotes. */
function valueMistake(filter: string, after: number): Mistake | undefined {
  const rest = filter.slice(after);
  const at = after + rest.length - rest.trimStart().length;
  const number = numberForm.exec(rest)?.groups?.number;
  if (number !== undefined) {
    const isDecimal = !/[ ,]\d{3}(?:\.|$)/.test(number);
    const meant = isDecimal ? number.replace(',', '.') : number.replaceAll(/[ ,]/g, '');
    return { text: `A number has no separators except the decimal point. Did you mean ${meant}?`, at };
  }
  const words = wordsForm.exec(rest)?.groups?.words ?? '';
  // A single word can be the name of a field, so the syntax is right.
  const isName = /^\w*$/.test(words);
  const isExpression = /^(?:attributes|timestamp|has|today|this_year)\b/.test(words);
  return isName || isExpression ? undefined : { text: needsQuotes(words), at };
}

function isClosed(text: string): boolean {
  const [, quote = ''] = /^[bBrR]*(["']+)/.exec(text) ?? [];
  const mark = quote.length >= 3 ? quote.slice(0, 3) : quote.charAt(0);
  const body = text.slice(text.indexOf(mark) + mark.length);
  return body.endsWith(mark);
}

/** The index of the chip that contains the place of the mistake, if the filter is written as the chips are. */
export function chipAt(chips: readonly Chip[], filter: string, at: number | undefined): number {
  if (at === undefined) return -1;
  let end = 0;
  const texts = chips.map(writeChip);
  if (texts.join(' && ') !== filter) return -1;
  return texts.findIndex((text) => {
    end += text.length + ' && '.length;
    return at < end;
  });
}
