/**
 * Decides at the header of each call whether its caller may make it, before the server reads the request. Conditions on
 * the request are checked later, by the handlers.
 */
import type { CallInfo } from '../grpc-server/observer.js';
import type { Caller } from '../model/caller.js';
import { accessDenied, Fault } from '../model/fault.js';
import { anyone } from '../policy/method-roles.js';
import type { CallerLimiter } from './caller-limits.js';

/** Knows the callers. */
export interface CallerAccess {
  /** Returns who calls, or why the credentials are not accepted. Rejects only because of bugs. */
  identify(call: Pick<CallInfo, 'fields' | 'connection' | 'peer'>): Caller | Fault | Promise<Caller | Fault>;
  /** Returns why the caller's streams must end now: its credential is not valid any more, or its rights changed. */
  endOf(caller: Caller): Fault | undefined;
}

export interface CallerGateOptions {
  /** Undefined if the server is open to everyone. */
  readonly access: CallerAccess | undefined;
  /** Whether calls to this path need no credentials, such as health checks. */
  isOpen(path: string): boolean;
  readonly limiter?: CallerLimiter;
  /** Returns why the server cannot serve a call that its caller may make. */
  refusalOf(path: string): Fault | undefined;
}

/** Returns why a call is refused, or undefined. Stores the caller in the call. */
export function createCallerGate({
  access,
  isOpen,
  limiter,
  refusalOf,
}: CallerGateOptions): (call: CallInfo) => unknown {
  const settle = (call: CallInfo, found: Caller | Fault): Fault | undefined => {
    if (found instanceof Fault) return found;
    call.caller = found;
    const limited = isHealth(call.path) ? undefined : limiter?.admit(call, found);
    if (limited !== undefined) return limited;
    const isAllowed = isSystemMethod(call.path) || found.permissions.methods.has(call.path);
    return isAllowed ? refusalOf(call.path) : accessDenied();
  };
  return (call) => {
    if (access === undefined || isOpen(call.path)) return settle(call, anyone);
    const found = access.identify(call);
    return found instanceof Promise ? found.then((late) => settle(call, late)) : settle(call, found);
  };
}

/** Health and reflection need no role: if they are not open, every known caller may use them. */
function isSystemMethod(path: string): boolean {
  return path.startsWith('/grpc.');
}

/** Probes must not fail because their address has used up a limit. */
function isHealth(path: string): boolean {
  return path.startsWith('/grpc.health.');
}

/** Returns who makes the call that a handler serves. Throws if nobody has checked it. */
export function callerOf(context: object): Caller {
  if ('caller' in context && context.caller !== undefined) return context.caller as Caller;
  throw accessDenied();
}

/** Returns the caller of an open call, or undefined if it is not known yet. */
export function callerOfCall({ caller }: Pick<CallInfo, 'caller'>): Caller | undefined {
  return caller as Caller | undefined;
}
