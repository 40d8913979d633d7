/**
 * Applies a caller's conditions and its rules for attributes to the calls of a service. Calls of other callers go to the
 * handlers directly.
 */
import { createPause } from '../concurrency/event-loop.js';
import type { Caller, Condition } from '../model/caller.js';
import { accessDenied } from '../model/fault.js';
import { noFields } from '../model/user.js';
import type { Directory } from '../operations/directory.js';
import { createWriteGuards, type WriteGuard } from '../operations/guard-writes.js';
import { hideAttributes } from '../operations/hide-attributes.js';
import {
  checkFilter,
  checkNewUsers,
  checkOrderBy,
  checkReplaced,
  checkUpdate,
  checkUpdatingRows,
} from './attribute-rules.js';
import { callerOf } from './caller-gate.js';
import type { ImportOptions, UserToCreate } from './request-shapes.js';

type Handler = (request: unknown, context: object) => unknown;

interface ServedPath {
  /** As in `/users.v1.UserService/GetUser`. */
  readonly path: string;
  readonly requestStream: boolean;
}

/** `create` makes the handlers for a directory. A call with rules gets handlers for a directory that keeps to them. */
export function withCallerRules<Service extends object>(
  definition: { readonly [Key in keyof Service]: ServedPath },
  directory: Directory,
  create: (directory: Directory) => Service,
): Service {
  const open = create(directory);
  const guardWrites = createWriteGuards(directory);
  const handlers = Object.entries<ServedPath>(definition).map(([key, method]): [string, Handler] => {
    const handle = handlerOf(open, key);
    const { path } = method;
    return [
      key,
      (request, context) => {
        const caller = callerOf(context);
        const permission = caller.permissions.methods.get(path);
        if (permission === 'always' && caller.permissions.protectedAttributes.size === 0)
          return handle(request, context);
        if (permission === undefined) throw accessDenied();
        const call = { caller, method: nameOf(path), conditions: permission === 'always' ? undefined : permission };
        const isStream = method.requestStream;
        const guard = isStream ? undefined : checkRequest(call, request as RawRequest);
        const guarded = guard === undefined ? directory : guardWrites(guard);
        const { hiddenAttributes } = caller.permissions;
        const service = create(hiddenAttributes.size === 0 ? guarded : hideAttributes(guarded, hiddenAttributes));
        const checked = isStream ? checkedMessages(call, request as AsyncIterable<RawRequest>) : request;
        return handlerOf(service, key)(checked, context);
      },
    ];
  });
  return Object.fromEntries(handlers) as Service;
}

function handlerOf(service: object, key: string): Handler {
  const handler: unknown = Reflect.get(service, key);
  if (typeof handler !== 'function') throw new TypeError(`The service has no function ${key}.`);
  return handler.bind(service);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

interface RestrictedCall {
  readonly caller: Caller;
  /** As in `GetUser`. */
  readonly method: string;
  /** Undefined if the caller may always call the method. */
  readonly conditions: readonly Condition[] | undefined;
}

/** The fields that the rules read, of a decoded request that nothing has validated yet. */
interface RawRequest {
  readonly user?: UserToCreate;
  readonly users?: readonly UserToCreate[];
  readonly updateMask?: readonly string[];
  readonly filter?: string;
  readonly orderBy?: string;
  readonly options?: ImportOptions;
}

/** Throws ACCESS_DENIED and FIELD_FORBIDDEN. Returns the checks that need the stored user. */
function checkRequest(call: RestrictedCall, request: RawRequest): WriteGuard | undefined {
  const { method, caller } = call;
  const { permissions } = caller;
  const conditions = remainingConditions(call, request);
  if (request.filter !== undefined) checkFilter(request.filter, permissions);
  if (request.orderBy !== undefined) checkOrderBy(request.orderBy, permissions);
  switch (method) {
    case 'CreateUser':
      if (conditions !== undefined) checkRow(call, conditions, request, request.user);
      checkNewUsers([request.user], permissions, () => 'user');
      return conditions && createGuard(call, conditions, request, false);
    case 'BatchCreateUsers': {
      const { users = [] } = request;
      if (conditions !== undefined)
        for (const [index, user] of users.entries()) checkRow(call, conditions, request, user, index);
      checkNewUsers(users, permissions, (index) => `users[${index}]`);
      return conditions && createGuard(call, conditions, request, false);
    }
    case 'CreateProfile':
      if (conditions !== undefined) checkRow(call, conditions, request, { ...noFields, ...request });
      return undefined;
    case 'UpdateUser': {
      const replaces = checkUpdate({ user: request.user, updateMask: request.updateMask ?? [] }, permissions);
      return conditions !== undefined || replaces ? createGuard(call, conditions, request, replaces) : undefined;
    }
    case 'DeleteUser':
      return conditions && createGuard(call, conditions, request, false);
  }
  // No other method has a user to check.
  if (conditions !== undefined) throw accessDenied();
  return undefined;
}

/** Checks every message of a stream. */
async function* checkedMessages(
  call: RestrictedCall,
  requests: AsyncIterable<RawRequest>,
): AsyncGenerator<RawRequest, void, undefined> {
  const isImport = call.method === 'ImportUsers';
  const pause = createPause();
  let updates = false;
  let replaces = false;
  for await (const request of requests) {
    const conditions = remainingConditions(call, request);
    const { options } = request;
    updates ||= options?.onConflict === onConflictUpdate;
    replaces ||= options?.onConflict === onConflictUpdate && options.mergeAttributes !== true;
    // Nobody has checked the users that an import updates.
    if (conditions !== undefined && (!isImport || updates)) throw accessDenied();
    const { users = [] } = request;
    if (conditions !== undefined) {
      for (const [index, user] of users.entries()) {
        const paused = pause();
        if (paused !== undefined) await paused;
        checkRow(call, conditions, request, user, index);
      }
    }
    checkNewUsers(users, call.caller.permissions, (index) => `users[${index}]`);
    if (replaces && call.caller.permissions.protectedAttributes.size > 0) checkUpdatingRows(users);
    yield request;
  }
}

// ON_CONFLICT_UPDATE.
const onConflictUpdate = 2;

/**
 * Returns undefined if the caller may make this request whatever its users are, and otherwise the conditions on users,
 * of which one must hold. Throws ACCESS_DENIED if the caller has no such condition.
 */
function remainingConditions(
  { method, conditions }: RestrictedCall,
  request: RawRequest,
): readonly Condition[] | undefined {
  if (conditions?.some((condition) => !condition.readsUser && condition.holds({ method, request })) !== false) {
    return undefined;
  }
  const onUsers = conditions.filter(({ readsUser }) => readsUser);
  if (onUsers.length === 0) throw accessDenied();
  return onUsers;
}

function checkRow(
  { method }: RestrictedCall,
  conditions: readonly Condition[],
  request: RawRequest,
  user: unknown,
  index?: number,
): void {
  if (conditions.some((condition) => condition.holds({ method, request, user }))) return;
  throw accessDenied(index === undefined ? undefined : `users[${index}]`);
}

/** One condition must hold both before and after an update. Otherwise, two entries could be combined to move a user. */
function createGuard(
  { caller, method }: RestrictedCall,
  conditions: readonly Condition[] | undefined,
  request: RawRequest,
  replacesAttributes: boolean,
): WriteGuard {
  const { permissions } = caller;
  return {
    hidesMissing: conditions !== undefined && permissions.methods.get('/users.v1.UserService/GetUser') !== 'always',
    admit(before) {
      const fulfilled = conditions?.filter((condition) => condition.holds({ method, request, user: before }));
      if (fulfilled?.length === 0) throw accessDenied();
      return (after) => {
        if (fulfilled?.some((condition) => condition.holds({ method, request, user: after })) === false) {
          throw accessDenied();
        }
        if (replacesAttributes) checkReplaced(before, after, permissions);
      };
    },
  };
}
