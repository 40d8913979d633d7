/** Parses the order of a list. Fields are known names, and the keys of attributes never become text of a statement. */
import { type OrderField, orderFields, parseAttributePath } from '../fields.js';
import { invalid } from './fault.js';
import { hasAtMost, validateStorable } from './text.js';
import { attributesLevelsMax } from './user.js';

export interface FieldTerm {
  readonly field: OrderField;
  readonly descending: boolean;
}

export interface AttributeTerm {
  /** From one key to `attributesLevelsMax` keys. */
  readonly attribute: readonly string[];
  readonly descending: boolean;
}

export type OrderTerm = FieldTerm | AttributeTerm;

/** In Unicode code points, like a filter. */
const orderCharactersMax = 2048;
/** A page token contains the values of all attributes. */
const attributeTermsMax = 5;

/** Parses an order_by as in AIP-132. If it is empty, the order is create_time. Throws INVALID_ORDER_BY. */
export function parseOrderBy(text: string): OrderTerm[] {
  if (!hasAtMost(text, orderCharactersMax)) throw invalidOrderBy(`must have at most ${orderCharactersMax} characters`);
  if (text.trim() === '') return [{ field: 'create_time', descending: false }];
  const terms: OrderTerm[] = [];
  for (const part of partsOf(text)) {
    const term = parseTerm(part.trim());
    if (terms.some((other) => isSame(other, term)))
      throw invalidOrderBy(`must name ${'field' in term ? term.field : 'each attribute'} only once`);
    terms.push(term);
  }
  if (terms.filter((term) => 'attribute' in term).length > attributeTermsMax)
    throw invalidOrderBy(`must name at most ${attributeTermsMax} attributes`);
  return terms;
}

/** Splits at the commas outside of quotes. */
function partsOf(text: string): string[] {
  const parts = [''];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[^",]+|[",]/gs)) {
    if (token === ',') parts.push('');
    else parts.push(`${parts.pop()}${token}`);
  }
  return parts;
}

function parseTerm(text: string): OrderTerm {
  const descending = /\sdesc$/.test(text);
  const name = descending ? text.slice(0, -'desc'.length).trimEnd() : text;
  const field = orderFields.find((known) => known === name);
  if (field !== undefined) return { field, descending };
  const attribute = parseAttribute(name);
  if (attribute !== undefined) return { attribute, descending };
  throw invalidOrderBy(
    `must be a comma-separated list of ${orderFields.join(', ')}, attributes.KEY and attributes["a key"], each with an ` +
      'optional " desc"',
  );
}

function parseAttribute(name: string): string[] | undefined {
  const keys = parseAttributePath(name);
  if (keys?.some((key) => validateStorable(key) !== undefined)) return undefined;
  if (keys !== undefined && keys.length > attributesLevelsMax)
    throw invalidOrderBy(`must name at most ${attributesLevelsMax} keys in one attribute`);
  return keys;
}

function isSame(a: OrderTerm, b: OrderTerm): boolean {
  if ('field' in a) return 'field' in b && a.field === b.field;
  return 'attribute' in b && a.attribute.join('\0') === b.attribute.join('\0');
}

function invalidOrderBy(description: string) {
  return invalid([{ field: 'order_by', description }], 'INVALID_ORDER_BY');
}
