/**
 * Compiles the conditions of the access file: CEL expressions over `caller`, `method`, `request` and `user`. They are
 * compiled when the file is read, and bound to each caller once.
 */
import { type CelInput, celEnv, parse, plan } from '@bufbuild/cel';
import type { Condition } from '../model/caller.js';
import { Fault } from '../model/fault.js';
import { compactText, describePosition } from '../model/filter-text.js';
import { hasAtMost } from '../model/text.js';
import { ConditionProblem, checkCondition, type Reads } from './condition-types.js';
import { camelCaseOf } from './request-fields.js';

const conditionCharactersMax = 2048;
const environment = celEnv();
const noFields = new Map<string, CelInput>();

export interface CompiledCondition {
  readonly readsUser: boolean;
  bind(caller: ConditionCaller): Condition;
}

export interface ConditionCaller {
  readonly actor: string;
  readonly roles: ReadonlySet<string>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Says what is allowed instead, and at which character. */
export class ConditionError extends Error {
  override readonly name = 'ConditionError';
}

/** Throws ConditionError. */
export function compileCondition(text: string): CompiledCondition {
  if (!hasAtMost(text, conditionCharactersMax)) {
    throw new ConditionError(`must have at most ${conditionCharactersMax} characters`);
  }
  const { expr, reads } = checkedExpression(text);
  const evaluate = plan(environment, expr) as Evaluate;
  const names = inputNames(reads);
  return {
    readsUser: reads.user,
    bind({ actor, roles, claims }) {
      const caller = new Map<string, CelInput>([
        ['actor', actor],
        ['roles', [...roles].sort()],
        ['claims', inputOf(claims)],
      ]);
      return {
        readsUser: reads.user,
        holds: ({ method, request, user }) =>
          // Without this, has(user.email) would be false for a call that does not concern a user.
          !(reads.user && user === undefined) &&
          evaluateSafely(evaluate, {
            caller,
            method,
            request: names.requestFields.length > 0 ? requestInput(request, names) : noFields,
            user: reads.user ? userInput(user, names) : noFields,
          }),
      };
    },
  };
}

type Evaluate = (variables: Record<string, CelInput>) => unknown;

function checkedExpression(text: string) {
  // The compact text limits the nesting, because the parser does not.
  const { text: compact, origins } = compacted(text);
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(compact);
  } catch {
    throw new ConditionError('must be a CEL expression, as in user.attributes.department == "sales"');
  }
  try {
    return { expr: parsed.expr, reads: checkCondition(parsed.expr) };
  } catch (error) {
    if (!(error instanceof ConditionProblem)) throw error;
    const offset = parsed.sourceInfo?.positions[String(error.expr.id)];
    const where = offset === undefined ? '' : ` (${describePosition(text, origins[offset] ?? text.length)})`;
    throw new ConditionError(`${error.message}${where}`);
  }
}

function compacted(text: string): ReturnType<typeof compactText> {
  try {
    return compactText(text);
  } catch (error) {
    throw error instanceof Fault ? new ConditionError(error.violations[0]?.description) : error;
  }
}

/** An expression that fails is not fulfilled, for example because the user lacks an attribute. */
function evaluateSafely(evaluate: Evaluate, variables: Record<string, CelInput>): boolean {
  const { stackTraceLimit } = Error;
  // CEL makes an Error for every value that is missing. Its stack would take longer than the decision.
  Error.stackTraceLimit = 0;
  try {
    return evaluate(variables) === true;
  } catch {
    return false;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The names that an expression reads, with the names of generated code. */
interface Inputs {
  readonly requestFields: readonly (readonly [name: string, property: string])[];
  readonly userFields: readonly (readonly [name: string, property: string])[];
  readonly attributeKeys: readonly string[];
}

function inputNames({ requestFields, userFields, attributeKeys }: Reads): Inputs {
  const named = (names: ReadonlySet<string>) => [...names].map((name) => [name, camelCaseOf(name)] as const);
  return {
    requestFields: named(requestFields),
    userFields: named(userFields),
    attributeKeys: [...attributeKeys],
  };
}

/** Has only the fields that the condition reads and the request has. */
function requestInput(request: unknown, names: Inputs): CelInput {
  const input = new Map<string, CelInput>();
  for (const [name, property] of names.requestFields) {
    const value = propertyOf(request, property);
    if (value !== undefined) input.set(name, name === 'user' ? userInput(value, names) : idInput(name, value));
  }
  return input;
}

/** Has only the keys of attributes that the condition names, so that its size does not depend on the client. */
function userInput(user: unknown, { userFields, attributeKeys }: Inputs): CelInput {
  const input = new Map<string, CelInput>();
  for (const [name, property] of userFields) {
    const value = propertyOf(user, property);
    if (value !== undefined) input.set(name, idInput(name, value));
  }
  if (attributeKeys.length === 0) return input;
  const attributes = new Map<string, CelInput>();
  const all = propertyOf(user, 'attributes');
  for (const key of attributeKeys) {
    const value = propertyOf(all, key);
    if (value !== undefined) attributes.set(key, inputOf(value));
  }
  return input.set('attributes', attributes);
}

/** Ids are compared in lower case, because requests may write them in either case. */
function idInput(name: string, value: unknown): CelInput {
  if (name === 'id' && typeof value === 'string') return value.toLowerCase();
  if (name === 'ids' && Array.isArray(value)) return value.map((id) => String(id).toLowerCase());
  return inputOf(value);
}

function propertyOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}

/** Makes maps of objects, because CEL reads some objects as protobuf messages, by their keys. */
function inputOf(value: unknown): CelInput {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(inputOf);
  if (typeof value === 'object' && value !== null) {
    return new Map(Object.entries(value).map(([key, child]): [string, CelInput] => [key, inputOf(child)]));
  }
  return null;
}
