/** Describes who uses the page, and what the server allows this caller to do. */
import type { GetCallerResponse, UserServiceDefinition } from '../../generated/users/v1/user_service.js';

export type MethodName = keyof UserServiceDefinition['methods'];

/** Such as `/users.v1.UserService/GetUser`. The definition of the service would bring the code of every message. */
export function methodPath(method: MethodName): string {
  return `/users.v1.UserService/${method.charAt(0).toUpperCase()}${method.slice(1)}`;
}

export interface Caller {
  /** As in UserChange.actor. Empty if the server does not know its callers. */
  readonly actor: string;
  /** The person's name, if the issuer told it. */
  readonly name: string | undefined;
  readonly roles: readonly string[];
  readonly protectedAttributes: ReadonlySet<string>;
  /** Whether the caller may call the method, at least for some requests. */
  may(method: MethodName): boolean;
  /** The same for a method's path, such as `/users.v1.UserService/GetUser`. */
  mayCall(path: string): boolean;
}

/** The caller of a server that is open to everyone. */
export const anyone: Caller = {
  actor: '',
  name: undefined,
  roles: [],
  protectedAttributes: new Set(),
  may: () => true,
  mayCall: () => true,
};

/** The caller before the server has told who it is. */
export const nobody: Caller = { ...anyone, may: () => false, mayCall: () => false };

export function callerOf(response: GetCallerResponse, name: string | undefined): Caller {
  const { actor, roles, hiddenAttributes, protectedAttributes } = response;
  // Servers that do not know their callers need not list the methods.
  if (actor === '') return anyone;
  const methods = new Set(response.methods);
  return {
    actor,
    name,
    roles,
    protectedAttributes: new Set([...hiddenAttributes, ...protectedAttributes]),
    may: (method) => methods.has(methodPath(method).slice(1)),
    mayCall: (path) => methods.has(path.slice(1)),
  };
}
