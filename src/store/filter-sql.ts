/**
 * Translates a filter into an SQL condition over a row `u` of users.
 *
 * Only the filter's shape becomes SQL text: constants and keys go through `bind`. The SQL never raises an error, for
 * any attributes.
 */
import { type FilterField, filterFields } from '../fields.js';
import type { Attribute, Column, Comparison, Constant, Filter, Operand, TextMatch } from '../model/filter.js';
import { uuidForm } from '../model/user.js';

/** Binds a value and returns its placeholder, which may occur in the SQL more than once. */
export type Bind = (value: unknown) => string;

/** Creates a binder that gives each value a separate parameter, in the order of `values`. */
export function createBinder(): { readonly bind: Bind; readonly values: readonly unknown[] } {
  const values: unknown[] = [];
  return { values, bind: (value) => `$${values.push(value)}` };
}

/** A WHERE clause with all conditions; empty without conditions. */
export function whereOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
}

/** The SQL of the fields that are not simply a column with the same name. */
const computedSql: Readonly<Partial<Record<FilterField, string>>> = {
  id: 'CAST(u.id AS text)',
  display_name: "CASE WHEN u.last_name = '' THEN u.first_name ELSE u.first_name || ' ' || u.last_name END",
};

const operatorSql: Readonly<Record<Comparison, string>> = {
  '==': '=',
  '!=': '<>',
  '<': '<',
  '<=': '<=',
  '>': '>',
  '>=': '>=',
};

/** The types that operands can be compared as, and their SQL types. jsonb_typeof returns the first three names. */
const scalarSql = { string: 'text', number: 'numeric', boolean: 'boolean', timestamp: 'timestamptz' } as const;
type Scalar = keyof typeof scalarSql;

/**
 * Returns the condition for a filter. Its value can be null, which means false, so callers must negate it with IS NOT
 * TRUE instead of NOT. (A coalesce around each comparison would prevent the use of indexes.)
 *
 * The columns must not be nullable.
 */
export function filterSql(filter: Filter, bind: Bind): string {
  switch (filter.kind) {
    case 'and':
      return filter.terms.length === 0 ? 'TRUE' : `(${filter.terms.map((t) => filterSql(t, bind)).join(' AND ')})`;
    case 'or':
      return filter.terms.length === 0 ? 'FALSE' : `(${filter.terms.map((t) => filterSql(t, bind)).join(' OR ')})`;
    case 'not':
      return `(${filterSql(filter.term, bind)} IS NOT TRUE)`;
    case 'has':
      return `(${attributeSql(filter.attribute, bind).json} IS NOT NULL)`;
    case 'compare':
      return `(${compareSql(filter.comparison, filter.left, filter.right, bind)})`;
    case 'member':
      return filter.of.length === 0 ? 'FALSE' : `(${memberSql(filter.left, filter.of, bind)})`;
    case 'element':
      return `(${hasElementSql(filter.list, filter.element, bind)})`;
    case 'match': {
      const { match, left, right } = filter;
      const inText = scalarsSql('string', [left, right], bind, (text, part) => matchSql(match, text, part));
      // Only the row shows whether an attribute is a text or a list.
      if (match !== 'contains' || left.kind !== 'attribute') return `(${inText})`;
      return `(${inText} OR ${hasElementSql(left, right, bind)})`;
    }
  }
}

/** These functions use `right` literally, unlike LIKE, which has wildcards. */
function matchSql(match: TextMatch, left: string, right: string): string {
  switch (match) {
    case 'startsWith':
      return `starts_with(${left}, ${right})`;
    case 'endsWith':
      return `right(${left}, length(${right})) = ${right}`;
    case 'contains':
      return `strpos(${left}, ${right}) > 0`;
  }
}

/** The condition that an attribute is a list with the element, which is a constant or a text. */
function hasElementSql(list: Attribute, element: Operand, bind: Bind): string {
  const { json } = attributeSql(list, bind);
  if (element.kind === 'constant') return `${json} @> CAST(${bind(JSON.stringify([element.value]))} AS jsonb)`;
  const { sql, guard } = operandSql('string', element, bind);
  return `${guard === undefined ? '' : `${guard} AND `}${json} @> jsonb_build_array(${sql})`;
}

function compareSql(comparison: Comparison, left: Column | Attribute, right: Operand, bind: Bind): string {
  const operator = operatorSql[comparison];
  if (left.kind === 'attribute' && right.kind !== 'column') {
    if (comparison === '==' || comparison === '!=') {
      const { json } = attributeSql(left, bind);
      const other = right.kind === 'attribute' ? attributeSql(right, bind).json : jsonConstantSql(right, bind);
      // Equal JSON values have the same type, but different values may have different types.
      const typed = comparison === '==' ? '' : `jsonb_typeof(${json}) = jsonb_typeof(${other}) AND `;
      return `${typed}${json} ${operator} ${other}`;
    }
    if (right.kind === 'attribute') {
      const scalars = ['string', 'number', 'boolean'] as const;
      const conditions = scalars.map((s) => scalarsSql(s, [left, right], bind, (l, r) => `${l} ${operator} ${r}`));
      return conditions.join(' OR ');
    }
  }
  // UUIDs have the same order as their texts, and a comparison of UUIDs can use the index.
  if (left.kind === 'column' && left.name === 'id' && right.kind === 'constant' && uuidForm.test(String(right.value))) {
    return `u.id ${operator} CAST(${bind(right.value)} AS uuid)`;
  }
  return scalarsSql(scalarOf(left, right), [left, right], bind, (l, r) => `${l} ${operator} ${r}`);
}

function memberSql(left: Column | Attribute, of: readonly Constant[], bind: Bind): string {
  if (left.kind === 'attribute') {
    return `${attributeSql(left, bind).json} IN (${of.map((constant) => jsonConstantSql(constant, bind)).join(', ')})`;
  }
  if (left.name === 'id') return `u.id IN (${of.map(({ value }) => `CAST(${bind(value)} AS uuid)`).join(', ')})`;
  const scalar = scalarOf(left, left);
  const member = (operand: Operand) => foldedSql(scalar, operandSql(scalar, operand, bind).sql, [left]);
  return `${member(left)} IN (${of.map(member).join(', ')})`;
}

/** The type in which two compatible operands are compared, from the first that has a fixed type. */
function scalarOf(left: Operand, right: Operand): Scalar {
  for (const operand of [left, right]) {
    if (operand.kind === 'column') return filterFields[operand.name] === 'timestamp' ? 'timestamp' : 'string';
    if (operand.kind === 'constant' && operand.type !== 'null') return operand.type;
  }
  throw new TypeError('a filter that compares neither columns nor constants has no type');
}

function scalarsSql(
  scalar: Scalar,
  operands: readonly [Operand, Operand],
  bind: Bind,
  compare: (left: string, right: string) => string,
): string {
  const [left, right] = [operandSql(scalar, operands[0], bind), operandSql(scalar, operands[1], bind)];
  const condition = compare(foldedSql(scalar, left.sql, operands), foldedSql(scalar, right.sql, operands));
  const guards = [left.guard, right.guard].filter((guard) => guard !== undefined);
  // Postgres may evaluate the sides of AND in any order. Only CASE evaluates the guard before the cast.
  return guards.length === 0 ? condition : `CASE WHEN ${guards.join(' AND ')} THEN ${condition} ELSE FALSE END`;
}

function operandSql(scalar: Scalar, operand: Operand, bind: Bind): { readonly sql: string; readonly guard?: string } {
  switch (operand.kind) {
    case 'column':
      return { sql: computedSql[operand.name] ?? `u.${operand.name}` };
    case 'constant':
      return { sql: `CAST(${bind(String(operand.value))} AS ${scalarSql[scalar]})` };
    case 'attribute': {
      const { json, text } = attributeSql(operand, bind);
      return { sql: `CAST(${text} AS ${scalarSql[scalar]})`, guard: `jsonb_typeof(${json}) = '${scalar}'` };
    }
  }
}

/** One side of a comparison of `operands`. Texts are converted to the form in which they are compared. */
function foldedSql(scalar: Scalar, sql: string, operands: readonly Operand[]): string {
  if (scalar !== 'string') return sql;
  const kinds = operands.map((operand) => (operand.kind === 'column' ? filterFields[operand.name] : undefined));
  if (kinds.includes('email')) return `email_key(${sql}) COLLATE "C"`;
  if (kinds.includes('id')) return `lower((${sql}) COLLATE "C")`;
  // Compares by code point. Without this, an attribute's text would have the database's collation.
  return `(${sql}) COLLATE "C"`;
}

/** An attribute as JSON and as text; both are null if it is missing. Not `#>`, whose keys can also be list indexes. */
export function attributeSql(attribute: Attribute, bind: Bind): { readonly json: string; readonly text: string } {
  const keys = attribute.path.map((key) => `CAST(${bind(key)} AS text)`);
  const parent = ['u.attributes', ...keys.slice(0, -1)].join(' -> ');
  return { json: `(${parent} -> ${keys.at(-1)})`, text: `(${parent} ->> ${keys.at(-1)})` };
}

function jsonConstantSql(constant: Constant, bind: Bind): string {
  return `CAST(${bind(JSON.stringify(constant.value))} AS jsonb)`;
}
