/**
 * Parses the CEL filter of a list or an export into a small, type-checked tree, which does not depend on the table.
 *
 * An error says what is allowed, and at which character. It never repeats the filter, because constants may be personal
 * data. `true`, `false` and an attribute alone are conditions. An attribute alone means that it equals `true`.
 */
import { parse } from '@bufbuild/cel';
import { type FilterField, filterFields } from '../fields.js';
import { compactText, describePosition, invalidFilter } from './filter-text.js';
import { hasAtMost } from './text.js';
import { attributesLevelsMax, uuidForm } from './user.js';

/** In Unicode code points. */
const filterCharactersMax = 2048;

export type Column = { readonly kind: 'column'; readonly name: FilterField };
/** A path has from one key to `attributesLevelsMax` keys. */
export type Attribute = { readonly kind: 'attribute'; readonly path: readonly string[] };
/**
 * A string is well-formed and has no U+0000, and a number is finite. A timestamp is RFC 3339 in UTC with six digits, so
 * it sorts as text. A timestamp between two milliseconds becomes the middle of the two. The table's timestamps have
 * whole milliseconds, so comparisons have the same result.
 */
export type Constant = { readonly kind: 'constant' } & (
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'number'; readonly value: number }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'null'; readonly value: null }
  | { readonly type: 'timestamp'; readonly value: string }
);
export type Operand = Column | Attribute | Constant;

export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=';
export type TextMatch = 'startsWith' | 'endsWith' | 'contains';

/**
 * A tree with two-valued logic: a leaf is false if its attribute is missing or has another type.
 *
 * - An empty `and` is true, and an empty `or` is false. Neither directly contains a filter of its own kind.
 * - Both sides of a leaf have matching types. An attribute matches every type except timestamp. An id is compared (==,
 *   !=) with a UUID in lower case.
 * - Every leaf has a field. In `compare` and `member`, it is on the left. Only == and != compare with null.
 */
export type Filter =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Filter[] }
  | { readonly kind: 'not'; readonly term: Filter }
  | {
      readonly kind: 'compare';
      readonly comparison: Comparison;
      readonly left: Column | Attribute;
      readonly right: Operand;
    }
  | { readonly kind: 'member'; readonly left: Column | Attribute; readonly of: readonly Constant[] }
  | { readonly kind: 'element'; readonly element: Constant; readonly list: Attribute }
  | { readonly kind: 'match'; readonly match: TextMatch; readonly left: Operand; readonly right: Operand }
  | { readonly kind: 'has'; readonly attribute: Attribute };

type Expr = ReturnType<typeof parse>['expr'];

/** The error for an invalid part of a filter. parseFilter converts it to a Fault, and adds the position. */
class Refusal extends Error {
  constructor(
    description: string,
    readonly expr: Expr,
  ) {
    super(description);
  }
}

/** Returns undefined for a blank filter, which matches all users. Throws INVALID_FILTER. */
export function parseFilter(text: string): Filter | undefined {
  if (!hasAtMost(text, filterCharactersMax)) throw invalidFilter(`must have at most ${filterCharactersMax} characters`);
  const compact = compactText(text);
  if (compact.text.trim() === '') return undefined;
  const where = (offset: number) => describePosition(text, compact.origins[offset] ?? text.length);

  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(compact.text);
  } catch (error) {
    const offset = syntaxErrorOffset(error);
    throw invalidFilter(`must be a CEL expression${offset === undefined ? '' : `; the error is ${where(offset)}`}`);
  }
  try {
    return parseCondition(parsed.expr);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const offset = parsed.sourceInfo?.positions[String(error.expr.id)];
    throw invalidFilter(offset === undefined ? error.message : `${error.message} (${where(offset)})`);
  }
}

function syntaxErrorOffset(error: unknown): number | undefined {
  // The parser does not export its class of errors. The caller drops the error, because its message quotes the filter.
  if (!(error instanceof Error) || !('location' in error)) return undefined;
  const location = error.location as { readonly start?: { readonly offset?: unknown } } | undefined;
  return typeof location?.start?.offset === 'number' ? location.start.offset : undefined;
}

const flipped: Readonly<Record<Comparison, Comparison>> = {
  '==': '==',
  '!=': '!=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

const allowed =
  'a filter can use ==, !=, <, <=, >, >=, in [..], startsWith, endsWith, contains, timestamp(), has(), &&, ||, ! and parentheses';

// Recurses at most three times for each level of the text (|| of && of !). The parser also nests chains of + or ==,
// which are refused without recursion.
function parseCondition(expr: Expr): Filter {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'constExpr':
      if (exprKind.value.constantKind.case !== 'boolValue') break;
      return { kind: exprKind.value.constantKind.value ? 'and' : 'or', terms: [] };
    case 'identExpr':
      parseOperand(expr);
      throw new Refusal('must compare the field with a constant or a field', expr);
    case 'selectExpr':
      if (exprKind.value.testOnly) return { kind: 'has', attribute: parseAttribute(expr) };
      return parseFlag(expr);
    case 'callExpr': {
      const { function: name, target, args } = exprKind.value;
      const [first, second] = args;
      if (first === undefined) break;
      if (target !== undefined) {
        if ((name === 'startsWith' || name === 'endsWith' || name === 'contains') && args.length === 1) {
          return parseMatch(name, target, first);
        }
        break;
      }
      if (name === '!_') return { kind: 'not', term: parseCondition(first) };
      if (name === '_[_]') return parseFlag(expr);
      // The parser handles has(a.b) itself, but not has(a["b"]).
      if (name === 'has' && args.length === 1) return { kind: 'has', attribute: parseAttribute(first) };
      if (second === undefined) break;
      if (name === '_&&_') return join('and', args);
      if (name === '_||_') return join('or', args);
      if (name === '@in') return parseMember(first, second);
      const comparison = name.slice(1, -1);
      if (Object.hasOwn(flipped, comparison)) return parseComparison(comparison as Comparison, first, second);
      break;
    }
  }
  throw new Refusal(`must be a condition; ${allowed}`, expr);
}

function join(kind: 'and' | 'or', args: readonly Expr[]): Filter {
  const terms = args.map(parseCondition).flatMap((term) => (term.kind === kind ? term.terms : [term]));
  return { kind, terms };
}

function parseFlag(expr: Expr): Filter {
  const right = { kind: 'constant', type: 'boolean', value: true } as const;
  return { kind: 'compare', comparison: '==', left: parseAttribute(expr), right };
}

function parseComparison(comparison: Comparison, first: Expr, second: Expr): Filter {
  const left = parseOperand(first);
  const right = parseOperand(second);
  if (left.kind === 'constant') {
    if (right.kind === 'constant') throw new Refusal('must not compare two constants', first);
    return compare(flipped[comparison], right, left, first);
  }
  return compare(comparison, left, right, second);
}

function compare(comparison: Comparison, left: Column | Attribute, right: Operand, rightExpr: Expr): Filter {
  const equality = comparison === '==' || comparison === '!=';
  if (!equality && typeOf(right) === 'null') throw new Refusal('must compare null only with == or !=', rightExpr);
  return { kind: 'compare', comparison, left, right: checkRight(left, right, equality, rightExpr) };
}

function parseMember(first: Expr, second: Expr): Filter {
  const left = parseOperand(first);
  if (left.kind === 'constant') return { kind: 'element', element: left, list: parseList(left, first, second) };
  if (second.exprKind.case !== 'listExpr') {
    throw new Refusal('must compare a field with a list of constants, as in FIELD in [..]', second);
  }
  const of = second.exprKind.value.elements.map((element) => {
    const constant = parseOperand(element);
    if (constant.kind !== 'constant') throw new Refusal('must have only constants in a list', element);
    return checkRight(left, constant, true, element);
  });
  return { kind: 'member', left, of };
}

/** The attribute after `in` in `"vip" in attributes.tags`. */
function parseList(element: Constant, elementExpr: Expr, expr: Expr): Attribute {
  if (expr.exprKind.case === 'listExpr') throw new Refusal('must have a field before "in"', elementExpr);
  const list = parseOperand(expr);
  if (list.kind !== 'attribute') throw new Refusal('must have an attribute or a list of constants after "in"', expr);
  if (element.type === 'timestamp') throw new Refusal('must not look for a timestamp in attributes', elementExpr);
  return list;
}

function parseMatch(match: TextMatch, target: Expr, argument: Expr): Filter {
  const left = parseOperand(target);
  const right = parseOperand(argument);
  for (const [operand, expr] of [[left, target] as const, [right, argument] as const]) {
    const type = typeOf(operand);
    if (type !== 'string' && type !== 'attribute')
      throw new Refusal(`must have strings on both sides of ${match}`, expr);
  }
  if (left.kind === 'constant' && right.kind === 'constant')
    throw new Refusal('must not compare two constants', target);
  return { kind: 'match', match, left, right };
}

function typeOf(operand: Operand): 'attribute' | 'string' | 'timestamp' | 'number' | 'boolean' | 'null' {
  if (operand.kind === 'attribute') return 'attribute';
  if (operand.kind === 'column') return filterFields[operand.name] === 'timestamp' ? 'timestamp' : 'string';
  return operand.type;
}

/** Returns the right side of a comparison, with an id in lower case. Throws if the types of the sides do not match. */
function checkRight<Right extends Operand>(
  left: Column | Attribute,
  right: Right,
  equality: boolean,
  rightExpr: Expr,
): Right {
  const leftType = typeOf(left);
  const rightType = typeOf(right);
  const types = [leftType, rightType];
  if (leftType !== rightType && (types.includes('timestamp') || !types.includes('attribute'))) {
    throw new Refusal(
      types.includes('timestamp')
        ? 'must compare create_time and update_time with each other or with timestamp("2026-01-01T00:00:00Z")'
        : `must not compare a ${leftType} with a ${rightType}`,
      rightExpr,
    );
  }
  if (
    equality &&
    left.kind === 'column' &&
    left.name === 'id' &&
    right.kind === 'constant' &&
    right.type === 'string'
  ) {
    if (!uuidForm.test(right.value)) throw new Refusal('must compare id with a UUID', rightExpr);
    return { ...right, value: right.value.toLowerCase() };
  }
  return right;
}

function parseOperand(expr: Expr): Operand {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'constExpr':
      return parseConstant(expr, 1);
    case 'identExpr': {
      const { name } = exprKind.value;
      if (Object.hasOwn(filterFields, name)) return { kind: 'column', name: name as FilterField };
      if (name === 'attributes') throw new Refusal('must name a key of attributes, as in attributes.department', expr);
      throw new Refusal(
        `must name one of the fields ${Object.keys(filterFields).join(', ')} and attributes.KEY; strings need quotes`,
        expr,
      );
    }
    case 'selectExpr':
      if (exprKind.value.testOnly) break;
      return parseAttribute(expr);
    case 'callExpr': {
      const { function: name, target, args } = exprKind.value;
      const [argument] = args;
      if (target !== undefined || argument === undefined) break;
      if (name === '_[_]') return parseAttribute(expr);
      if (name === 'timestamp' && args.length === 1) return parseTimestamp(argument);
      // A minus is not a part of the number if a space or a parenthesis follows it.
      if (name === '-_') return parseConstant(argument, -1);
      break;
    }
  }
  throw new Refusal(`must have a field or a constant here; ${allowed}`, expr);
}

function parseAttribute(expr: Expr): Attribute {
  const path: string[] = [];
  let parent: Expr | undefined = expr;
  while (parent !== undefined) {
    const { exprKind }: Expr = parent;
    if (exprKind.case === 'selectExpr' && (parent === expr || !exprKind.value.testOnly)) {
      path.unshift(exprKind.value.field);
      parent = exprKind.value.operand;
    } else if (exprKind.case === 'callExpr' && exprKind.value.function === '_[_]') {
      const [operand, index]: Expr[] = exprKind.value.args;
      const key = index?.exprKind.case === 'constExpr' ? parseConstant(index, 1) : undefined;
      if (key?.type !== 'string')
        throw new Refusal('must have a string in brackets, as in attributes["a key"]', parent);
      path.unshift(key.value);
      parent = operand;
    } else {
      break;
    }
    if (path.length > attributesLevelsMax) throw new Refusal(`must name at most ${attributesLevelsMax} keys`, expr);
  }
  if (path.length > 0 && parent?.exprKind.case === 'identExpr' && parent.exprKind.value.name === 'attributes') {
    return { kind: 'attribute', path };
  }
  throw new Refusal('must name a key of attributes; no other field has keys', expr);
}

function parseConstant(expr: Expr, sign: 1 | -1): Constant {
  const literal = expr.exprKind.case === 'constExpr' ? expr.exprKind.value.constantKind : undefined;
  switch (literal?.case) {
    case 'int64Value':
    case 'uint64Value': {
      const value = BigInt(sign) * literal.value;
      // The bounds of CEL's integers. The result is a double, like all numbers in attributes.
      const [min, max] = literal.case === 'uint64Value' ? [0n, 2n ** 64n - 1n] : [-(2n ** 63n), 2n ** 63n - 1n];
      if (value < min || value > max) throw new Refusal('must have integers of at most 64 bits', expr);
      return { kind: 'constant', type: 'number', value: Number(value) };
    }
    case 'doubleValue':
      if (!Number.isFinite(literal.value)) throw new Refusal('must have finite numbers', expr);
      return { kind: 'constant', type: 'number', value: sign * literal.value };
  }
  if (sign === 1) {
    switch (literal?.case) {
      case 'stringValue':
        // Postgres cannot store such strings.
        if (literal.value.includes('\0')) throw new Refusal('must not contain U+0000', expr);
        if (!literal.value.isWellFormed()) throw new Refusal('must be well-formed Unicode', expr);
        return { kind: 'constant', type: 'string', value: literal.value };
      case 'boolValue':
        return { kind: 'constant', type: 'boolean', value: literal.value };
      case 'nullValue':
        return { kind: 'constant', type: 'null', value: null };
    }
  }
  throw new Refusal('must have a constant: a string, a number, true, false, null or timestamp()', expr);
}

const timestampForm =
  /^(?<time>(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?<ms>\d{1,3})(?<rest>\d*))?(?:Z|(?<sign>[+-])(?<hours>[01]\d|2[0-3]):(?<minutes>[0-5]\d))$/;
// The range of google.protobuf.Timestamp, which Postgres can store.
const timestampMin = Date.parse('0001-01-01T00:00:00Z');
const timestampMax = Date.parse('9999-12-31T23:59:59.999Z');

function parseTimestamp(expr: Expr): Constant {
  const constant = parseConstant(expr, 1);
  const parts = constant.type === 'string' ? timestampForm.exec(constant.value)?.groups : undefined;
  const local = Date.parse(`${parts?.time}Z`);
  // Date.parse reads February 30 as March 2.
  if (parts?.time === undefined || Number.isNaN(local) || !new Date(local).toISOString().startsWith(parts.time)) {
    throw new Refusal('must have an RFC 3339 time, as in timestamp("2026-01-01T00:00:00Z")', expr);
  }
  const offsetMinutes = Number(`${parts.sign ?? ''}1`) * (Number(parts.hours ?? 0) * 60 + Number(parts.minutes ?? 0));
  const ms = local - offsetMinutes * 60_000 + Number((parts.ms ?? '').padEnd(3, '0'));
  if (ms < timestampMin || ms > timestampMax) throw new Refusal('must have years from 1 to 9999 (UTC)', expr);
  const micros = /[1-9]/.test(parts.rest ?? '') ? '500' : '000';
  return { kind: 'constant', type: 'timestamp', value: new Date(ms).toISOString().replace('Z', `${micros}Z`) };
}
