/**
 * Checks a parsed condition before it is used: its names, its functions and its types. A condition that passes takes a
 * bounded time: it has no loops and no regular expressions, and it converts only the values that it names.
 */
import type { parse } from '@bufbuild/cel';
import { methodRoles } from './method-roles.js';
import { requestFields, userFields } from './request-fields.js';

export type Expr = ReturnType<typeof parse>['expr'];

/** `any` is a value whose type is known only when a call is made, such as a claim or an attribute. */
export type ValueType = 'string' | 'number' | 'boolean' | 'null' | 'list' | 'any';

/** The values that a condition reads. Only these are converted for CEL. */
export interface Reads {
  readonly user: boolean;
  /** The fields of the request. */
  readonly requestFields: ReadonlySet<string>;
  /** The fields of `user` and of `request.user`, except attributes. */
  readonly userFields: ReadonlySet<string>;
  /** The keys of their attributes. */
  readonly attributeKeys: ReadonlySet<string>;
}

/** The error for an invalid part of a condition. */
export class ConditionProblem extends Error {
  constructor(
    description: string,
    readonly expr: Expr,
  ) {
    super(description);
  }
}

const methodNames = new Set(Object.keys(methodRoles).map((path) => path.slice(path.lastIndexOf('/') + 1)));

const allowed =
  'a condition can use caller, method, request and user with ==, !=, <, <=, >, >=, in, startsWith, endsWith, contains, size(), has(), +, &&, ||, ! and parentheses';

class Reader {
  user = false;
  readonly requestFields = new Set<string>();
  readonly userFields = new Set<string>();
  readonly attributeKeys = new Set<string>();
  /** How often the expression read `user` or `request` so far. */
  reads = 0;
}

/** Throws ConditionProblem. */
export function checkCondition(expr: Expr): Reads {
  const reader = new Reader();
  expectType(expr, ['boolean'], reader, 'must be true or false');
  return reader;
}

function expectType(expr: Expr, types: readonly ValueType[], reader: Reader, problem: string): ValueType {
  const type = typeOf(expr, reader);
  if (type !== 'any' && !types.includes(type)) throw new ConditionProblem(problem, expr);
  return type;
}

function typeOf(expr: Expr, reader: Reader): ValueType {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'constExpr':
      return typeOfConstant(expr);
    case 'listExpr':
      for (const element of exprKind.value.elements) typeOf(element, reader);
      return 'list';
    case 'identExpr':
    case 'selectExpr':
      return typeOfPath(expr, reader);
    case 'callExpr':
      return exprKind.value.function === '_[_]' ? typeOfPath(expr, reader) : typeOfCall(expr, reader);
    case 'comprehensionExpr':
      throw new ConditionProblem(`must not use all, exists, filter or map; ${allowed}`, expr);
  }
  throw new ConditionProblem(`must be a condition; ${allowed}`, expr);
}

const constantTypes: Readonly<Record<string, ValueType>> = {
  stringValue: 'string',
  int64Value: 'number',
  uint64Value: 'number',
  doubleValue: 'number',
  boolValue: 'boolean',
  nullValue: 'null',
};

function typeOfConstant(expr: Expr): ValueType {
  const constant = expr.exprKind.case === 'constExpr' ? expr.exprKind.value.constantKind.case : undefined;
  const type = constant && constantTypes[constant];
  if (type !== undefined) return type;
  throw new ConditionProblem('must have only strings, numbers, true, false and null as constants', expr);
}

function typeOfCall(expr: Expr, reader: Reader): ValueType {
  const call = expr.exprKind.case === 'callExpr' ? expr.exprKind.value : undefined;
  const { function: name = '', target, args = [] } = call ?? {};
  const [first, second] = args;
  if (first !== undefined && target !== undefined && args.length === 1) {
    if (name === 'startsWith' || name === 'endsWith' || name === 'contains')
      return textMatch(name, target, first, reader);
  } else if (first !== undefined && second === undefined) {
    switch (name) {
      case '!_':
        expectType(first, ['boolean'], reader, 'must have a condition after !');
        return 'boolean';
      case '-_':
        if (typeOf(first, reader) === 'number' && first.exprKind.case === 'constExpr') return 'number';
        break;
      case 'size':
        expectType(first, ['string', 'list'], reader, 'must have a string or a list in size()');
        return 'number';
      case 'has':
        throw new ConditionProblem('must have a field in has(), as in has(user.attributes.department)', first);
    }
  } else if (first !== undefined && second !== undefined && target === undefined) {
    return typeOfOperator(expr, name, args, reader);
  }
  throw new ConditionProblem(`must not use this operator or function; ${allowed}`, expr);
}

function textMatch(name: string, target: Expr, argument: Expr, reader: Reader): ValueType {
  const problem = `must have strings on both sides of ${name}`;
  expectType(target, ['string'], reader, problem);
  const before = reader.reads;
  expectType(argument, ['string'], reader, problem);
  // The time to search is the product of both lengths, so the client must not choose both.
  if (name === 'contains' && reader.reads > before) {
    throw new ConditionProblem('must not look for a value of user or request with contains', argument);
  }
  return 'boolean';
}

function typeOfOperator(expr: Expr, name: string, args: readonly Expr[], reader: Reader): ValueType {
  const [first = expr, second = expr] = args;
  switch (name) {
    case '_&&_':
    case '_||_':
      for (const arg of args)
        expectType(arg, ['boolean'], reader, `must have conditions on both sides of ${name.slice(1, -1)}`);
      return 'boolean';
    case '_==_':
    case '_!=_': {
      const types = [typeOf(first, reader), typeOf(second, reader)] as const;
      checkSameType(types, second);
      checkMethodName(first, second);
      checkMethodName(second, first);
      return 'boolean';
    }
    case '_<_':
    case '_<=_':
    case '_>_':
    case '_>=_': {
      const problem = `must have numbers or strings on both sides of ${name.slice(1, -1)}`;
      const ordered = ['number', 'string'] as const;
      checkSameType(
        [expectType(first, ordered, reader, problem), expectType(second, ordered, reader, problem)],
        second,
      );
      return 'boolean';
    }
    case '@in': {
      const type = typeOf(first, reader);
      expectType(second, ['list'], reader, 'must have a list after "in"');
      if (second.exprKind.case !== 'listExpr') return 'boolean';
      for (const element of second.exprKind.value.elements) {
        checkSameType([type, typeOf(element, reader)], element);
        checkMethodName(first, element);
      }
      return 'boolean';
    }
    case '_+_':
      for (const arg of args) expectType(arg, ['string'], reader, 'must have strings on both sides of +');
      return 'string';
  }
  throw new ConditionProblem(`must not use this operator or function; ${allowed}`, expr);
}

function checkSameType([left, right]: readonly [ValueType, ValueType], expr: Expr): void {
  if (left === right || left === 'any' || right === 'any' || left === 'null' || right === 'null') return;
  throw new ConditionProblem(`must not compare a ${left} with a ${right}`, expr);
}

function checkMethodName(side: Expr, other: Expr): void {
  if (side.exprKind.case !== 'identExpr' || side.exprKind.value.name !== 'method') return;
  const constant = other.exprKind.case === 'constExpr' ? other.exprKind.value.constantKind : undefined;
  if (constant?.case !== 'stringValue' || methodNames.has(constant.value)) return;
  throw new ConditionProblem(`must compare method with one of ${[...methodNames].join(', ')}`, other);
}

/** The type of a variable with fields and keys, such as `user.attributes.department` and `has(request.user.email)`. */
function typeOfPath(expr: Expr, reader: Reader): ValueType {
  const keys: string[] = [];
  let isTest = false;
  let parent: Expr | undefined = expr;
  while (parent !== undefined && parent.exprKind.case !== 'identExpr') {
    const { exprKind }: Expr = parent;
    if (exprKind.case === 'selectExpr' && (parent === expr || !exprKind.value.testOnly)) {
      isTest ||= exprKind.value.testOnly;
      keys.unshift(exprKind.value.field);
      parent = exprKind.value.operand;
    } else if (exprKind.case === 'callExpr' && exprKind.value.function === '_[_]') {
      const [operand, index]: Expr[] = exprKind.value.args;
      const key = index?.exprKind.case === 'constExpr' ? index.exprKind.value.constantKind : undefined;
      if (key?.case !== 'stringValue') {
        throw new ConditionProblem('must have a string in brackets, as in user.attributes["cost center"]', parent);
      }
      keys.unshift(key.value);
      parent = operand;
    } else {
      throw new ConditionProblem(`must name a field of caller, request or user; ${allowed}`, expr);
    }
  }
  const variable = parent?.exprKind.case === 'identExpr' ? parent.exprKind.value.name : '';
  const type = typeOfKeys(variable, keys, expr, reader);
  return isTest ? 'boolean' : type;
}

function typeOfKeys(variable: string, keys: readonly string[], expr: Expr, reader: Reader): ValueType {
  const [first, ...rest] = keys;
  switch (variable) {
    case 'method':
      if (first === undefined) return 'string';
      break;
    case 'caller':
      if (first === 'actor' && rest.length === 0) return 'string';
      if (first === 'roles' && rest.length === 0) return 'list';
      if (first === 'claims' && rest.length > 0) return 'any';
      throw new ConditionProblem('must name caller.actor, caller.roles or caller.claims.NAME', expr);
    case 'user':
      reader.user = true;
      return typeOfUserField('user', userFields, keys, expr, reader);
    case 'request': {
      reader.reads++;
      if (first === 'user') {
        reader.requestFields.add('user');
        return typeOfUserField('request.user', { id: 'string', etag: 'string', ...userFields }, rest, expr, reader);
      }
      const type = first !== undefined && Object.hasOwn(requestFields, first) ? requestFields[first] : undefined;
      if (first === undefined || type === undefined || rest.length > 0) {
        throw new ConditionProblem(`must name one of request.user.FIELD, ${listOf('request', requestFields)}`, expr);
      }
      reader.requestFields.add(first);
      return type;
    }
  }
  throw new ConditionProblem('must name caller, method, request or user; strings need quotes', expr);
}

function typeOfUserField(
  variable: string,
  fields: Readonly<Record<string, ValueType>>,
  keys: readonly string[],
  expr: Expr,
  reader: Reader,
): ValueType {
  reader.reads++;
  const [first, key, ...rest] = keys;
  if (first === 'attributes' && key !== undefined) {
    reader.attributeKeys.add(key);
    return 'any';
  }
  const type = first !== undefined && Object.hasOwn(fields, first) ? fields[first] : undefined;
  if (first !== undefined && type !== undefined && key === undefined && rest.length === 0) {
    reader.userFields.add(first);
    return type;
  }
  throw new ConditionProblem(`must name one of ${listOf(variable, fields)}, ${variable}.attributes.KEY`, expr);
}

function listOf(variable: string, fields: Readonly<Record<string, unknown>>): string {
  return Object.keys(fields)
    .map((name) => `${variable}.${name}`)
    .join(', ');
}
