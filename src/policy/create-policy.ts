/**
 * Turns verified credentials into callers. All that an access file says about a credential is combined once, so that
 * the decision about a call is a lookup.
 */
import {
  type BuiltInRole,
  builtInRoles,
  type Condition,
  type MethodPermission,
  type Permissions,
  type Subject,
} from '../model/caller.js';
import type { AccessFile, AttributeRule, CallerEntry, ClaimValue } from './access-schema.js';
import { type ActorOf, createActors } from './actor.js';
import { containedRoles, methodRoles } from './method-roles.js';
import type { IssuerConfig, Policy } from './policy.js';

/** The methods that a condition on `user` can open: those that write single users which the server knows beforehand. */
const userConditionPaths: ReadonlySet<string> = new Set([
  '/users.v1.UserService/CreateUser',
  '/users.v1.UserService/BatchCreateUsers',
  '/users.v1.UserService/UpdateUser',
  '/users.v1.UserService/DeleteUser',
  '/users.v1.UserService/ImportUsers',
  '/profileservice.ProfileService/CreateProfile',
]);

export interface PolicyOptions {
  /** The directory's secret, for actors that might be personal data. */
  readonly actorSecret: Buffer;
}

/** Without an access file, keys have the roles that they were created with, and every certificate has all. */
export function createPolicy(file: AccessFile | undefined, { actorSecret }: PolicyOptions): Policy {
  const actorOf = createActors(actorSecret);
  const issuers = new Map((file?.issuers ?? []).map((issuer) => [issuer.name, issuer]));
  const rolesOf = (names: readonly string[]) => expandRoles(names, file);
  return {
    issuers: file?.issuers ?? [],
    ...(file?.signIn && { signIn: file.signIn }),
    callerOf(subject) {
      const actor = actorNameOf(subject, issuers, actorOf);
      const entries = (file?.callers ?? []).filter((entry) => matches(entry, subject));
      const always = entries.filter(({ condition }) => condition === undefined).flatMap(({ roles }) => roles);
      const roles = rolesOf([...ownRoles(subject, file), ...always]);
      const variables = { actor, roles, claims: subject.kind === 'token' ? subject.claims : {} };
      const conditional = entries.flatMap(({ condition, roles: names }): ConditionalRoles[] =>
        condition === undefined ? [] : [{ roles: rolesOf(names), condition: condition.bind(variables) }],
      );
      const { kind, expiresMs } = subject;
      const permissions = permissionsOf(roles, conditional, file?.attributes);
      return { actor, kind, roles, permissions, ...(expiresMs !== undefined && { expiresMs }) };
    },
  };
}

interface ConditionalRoles {
  readonly roles: ReadonlySet<string>;
  readonly condition: Condition;
}

/** The roles that a credential has by itself. */
function ownRoles(subject: Subject, file: AccessFile | undefined): readonly string[] {
  if (subject.kind === 'key') return subject.roles;
  return subject.kind === 'certificate' && file === undefined ? ['admin'] : [];
}

/** Adds the roles that each role contains. Drops unknown ones, such as a key's role that the file does not have any more. */
function expandRoles(names: readonly string[], file: AccessFile | undefined): Set<string> {
  const roles = new Set<string>();
  for (const name of names) {
    const own = file?.roles.get(name);
    if (own !== undefined) roles.add(name);
    for (const role of own ?? [name]) {
      if (isBuiltIn(role)) for (const contained of containedRoles[role]) roles.add(contained);
    }
  }
  return roles;
}

function isBuiltIn(name: string): name is BuiltInRole {
  return builtInRoles.some((role) => role === name);
}

function permissionsOf(
  roles: ReadonlySet<string>,
  conditional: readonly ConditionalRoles[],
  attributes: ReadonlyMap<string, AttributeRule> = new Map(),
): Permissions {
  const methods = new Map<string, MethodPermission>();
  for (const [path, role] of Object.entries(methodRoles)) {
    if (role === 'anyone' || roles.has(role)) {
      methods.set(path, 'always');
      continue;
    }
    const conditions = conditional
      .filter(
        ({ roles: granted, condition }) => granted.has(role) && (!condition.readsUser || userConditionPaths.has(path)),
      )
      .map(({ condition }) => condition);
    if (conditions.length > 0) methods.set(path, conditions);
  }
  const hidden = new Set<string>();
  const protectedKeys = new Set<string>();
  const isAllowed = (names: readonly string[] | undefined) =>
    names === undefined || names.some((name) => roles.has(name));
  for (const [key, { read, write }] of attributes) {
    if (!isAllowed(read)) hidden.add(key);
    // Nobody can change what they must not see: the result would show it.
    if (!isAllowed(read) || !isAllowed(write)) protectedKeys.add(key);
  }
  return { methods, hiddenAttributes: hidden, protectedAttributes: protectedKeys };
}

function matches({ match }: CallerEntry, subject: Subject): boolean {
  switch (match.kind) {
    case 'token':
      return (
        subject.kind === 'token' &&
        subject.issuer === match.issuer &&
        [...match.claims].every(([name, value]) => hasClaim(claimAt(subject.claims, name), value))
      );
    case 'certificate':
      return subject.kind === 'certificate' && subject.names.some((name) => matchesName(match.pattern, name));
    case 'key':
      return subject.kind === 'key' && subject.name === match.name;
  }
}

/** Equal, or an element of a list. */
function hasClaim(claim: unknown, value: ClaimValue): boolean {
  return claim === value || (Array.isArray(claim) && claim.includes(value));
}

/** The claim with this name, which may itself have dots, or the nested claim at this path. */
function claimAt(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const step of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = Reflect.get(value, step);
  }
  return value;
}

/** A pattern that ends with a slash and a star matches everything after the slash. Names of hosts have no case. */
function matchesName(pattern: string, name: string): boolean {
  if (pattern.startsWith('dns:')) return pattern.toLowerCase() === name.toLowerCase();
  if (!pattern.startsWith('spiffe://') || !pattern.endsWith('/*')) return pattern === name;
  const prefix = pattern.slice(0, -1);
  return name.startsWith(prefix) && name.length > prefix.length;
}

const unknownName = 'unknown';

function actorNameOf(subject: Subject, issuers: ReadonlyMap<string, IssuerConfig>, actorOf: ActorOf): string {
  switch (subject.kind) {
    case 'key':
      return actorOf('key:', subject.name);
    case 'certificate': {
      const [, prefix = 'subject:', name = unknownName] =
        /^(spiffe:\/\/|dns:|subject:)(.*)$/s.exec(subject.names[0] ?? '') ?? [];
      return actorOf(prefix, name === '' ? unknownName : name);
    }
    case 'token': {
      const claim = claimAt(subject.claims, issuers.get(subject.issuer)?.actorClaim ?? 'sub');
      const name = typeof claim === 'string' || typeof claim === 'number' ? String(claim) : '';
      return actorOf(`${subject.issuer}:`, name === '' ? unknownName : name);
    }
  }
}
