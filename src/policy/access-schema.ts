/** The form of the access file. docs/access.md explains each key. */
import { z } from 'zod';
import { type BuiltInRole, builtInRoles } from '../model/caller.js';
import { type CompiledCondition, ConditionError, compileCondition } from './condition.js';
import type { IssuerConfig, SignInConfig } from './policy.js';
import {
  httpsForm,
  httpsOriginForm,
  isHttps,
  isHttpsOrigin,
  isMapping,
  list,
  mapOf,
  object,
  oneOf,
  oneOrMore,
  readableFile,
  text,
} from './schema-parts.js';

/** A checked access file. All paths are absolute. */
export interface AccessFile {
  readonly issuers: readonly IssuerConfig[];
  /** The built-in roles that each role of the file contains. */
  readonly roles: ReadonlyMap<string, readonly BuiltInRole[]>;
  readonly callers: readonly CallerEntry[];
  readonly attributes: ReadonlyMap<string, AttributeRule>;
  readonly signIn?: SignInConfig;
}

/** Gives roles to the callers that it matches. Every matching entry counts. */
export interface CallerEntry {
  readonly match: CallerMatch;
  readonly roles: readonly string[];
  readonly condition: CompiledCondition | undefined;
}

export type CallerMatch =
  | { readonly kind: 'token'; readonly issuer: string; readonly claims: ReadonlyMap<string, ClaimValue> }
  | { readonly kind: 'certificate'; readonly pattern: string }
  | { readonly kind: 'key'; readonly name: string };

export type ClaimValue = string | number | boolean;

/** The roles that may read and write a key of attributes. Undefined if the method's role is enough. */
export interface AttributeRule {
  readonly read?: readonly string[] | undefined;
  readonly write?: readonly string[] | undefined;
}

const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
const defaultAlgorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];

// They begin the actors of certificates and API keys.
const reservedNames = ['key', 'dns', 'subject', 'spiffe'];

/** The schema for one file: its parts name each other. Relative paths start at `folder`. */
export function accessFileSchema(content: unknown, folder: string): z.ZodType<AccessFile> {
  const known = namesIn(content);
  const roles = oneOrMore(oneOf([...new Set([...builtInRoles, ...known.roles])], 'a role'));
  const issuer = oneOf(known.issuers, 'the name of an issuer');
  const schema = object({
    issuers: list(issuerSchema(folder)).superRefine(rejectRepeatedNames).default([]),
    roles: mapOf(
      text()
        .regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must have up to 32 of a-z, 0-9, _ and -, and begin with a letter')
        .refine((name) => !builtInRoles.some((role) => role === name), 'must not be the name of a built-in role'),
      oneOrMore(oneOf(builtInRoles, 'a built-in role')),
    ),
    callers: list(callerSchema(issuer, roles, known.writingRoles)).default([]),
    attributes: mapOf(text(), attributeSchema(roles)),
    sign_in: object({
      issuer,
      client_id: text(),
      scope: text().default('openid'),
      audience: text().optional(),
      connect_origins: list(text().refine(isHttpsOrigin, httpsOriginForm)).default([]),
    }).optional(),
  });
  return schema.transform(({ sign_in: signIn, ...rest }): AccessFile => {
    if (signIn === undefined) return rest;
    const { client_id: clientId, audience, connect_origins: connectOrigins, ...others } = signIn;
    return { ...rest, signIn: { ...others, clientId, connectOrigins, ...(audience !== undefined && { audience }) } };
  });
}

interface KnownNames {
  readonly roles: readonly string[];
  /** Those that a condition on `user` can give, because they contain writes. */
  readonly writingRoles: readonly string[];
  readonly issuers: readonly string[];
}

/** The names that a file defines, even if other parts of it are wrong. */
function namesIn(content: unknown): KnownNames {
  const { roles: own, issuers } = isMapping(content) ? content : {};
  const roles = isMapping(own) ? own : {};
  const writingRoles = builtInRoles.filter((role) => role !== 'reader');
  const writes = (value: unknown) => writingRoles.some((role) => role === value);
  return {
    roles: Object.keys(roles),
    writingRoles: [
      ...writingRoles,
      ...Object.keys(roles).filter((name) => [roles[name]].flat().some((role) => writes(role))),
    ],
    issuers: (Array.isArray(issuers) ? issuers : []).flatMap((issuer) =>
      isMapping(issuer) && typeof issuer.name === 'string' ? [issuer.name] : [],
    ),
  };
}

function issuerSchema(folder: string) {
  return object({
    name: text()
      .regex(/^[a-z0-9-]{1,32}$/, 'must have 1 to 32 of a-z, 0-9 and -')
      .refine((name) => !reservedNames.includes(name), `must not be ${reservedNames.join(', ')}`),
    issuer: text(),
    audience: oneOrMore(text()).refine((audiences) => audiences.length > 0, 'must have at least one audience'),
    jwks: text().refine(isHttps, `must be ${httpsForm}`).optional(),
    jwks_file: readableFile(folder).optional(),
    algorithms: oneOrMore(oneOf(algorithms, 'an algorithm with public keys'))
      .refine((names) => names.length > 0, 'must have at least one algorithm')
      .default(defaultAlgorithms),
    clock_skew_seconds: z
      .int('must be a whole number from 0 to 300')
      .min(0, 'must be at least 0')
      .max(300, 'must be at most 300')
      .default(30),
    actor_claim: text().default('sub'),
    ca: readableFile(folder).optional(),
    token_file: readableFile(folder).optional(),
  })
    .superRefine(({ issuer, jwks, jwks_file: file }, context) => {
      if (jwks !== undefined && file !== undefined) {
        context.addIssue({ code: 'custom', path: ['jwks_file'], message: 'must not be set together with jwks' });
      }
      if (jwks === undefined && file === undefined && !isHttps(issuer)) {
        const message = `must be ${httpsForm}, because discovery finds the keys there; otherwise set jwks or jwks_file`;
        context.addIssue({ code: 'custom', path: ['issuer'], message });
      }
    })
    .transform(
      (parts): IssuerConfig => ({
        name: parts.name,
        issuer: parts.issuer,
        audiences: parts.audience,
        algorithms: parts.algorithms,
        clockSkewSeconds: parts.clock_skew_seconds,
        actorClaim: parts.actor_claim,
        ...(parts.jwks !== undefined && { jwksUrl: parts.jwks }),
        ...(parts.jwks_file !== undefined && { jwksFile: parts.jwks_file }),
        ...(parts.ca !== undefined && { caFile: parts.ca }),
        ...(parts.token_file !== undefined && { tokenFile: parts.token_file }),
      }),
    );
}

function rejectRepeatedNames(issuers: readonly IssuerConfig[], context: z.RefinementCtx): void {
  for (const property of ['name', 'issuer'] as const) {
    const seen = new Set<string>();
    for (const [index, issuer] of issuers.entries()) {
      if (seen.has(issuer[property])) {
        context.addIssue({ code: 'custom', path: [index, property], message: 'must be different for each issuer' });
      }
      seen.add(issuer[property]);
    }
  }
}

const certificateForm = /^(?:spiffe:\/\/[a-z0-9._-]+(?:\/[\w.-]+)*(?:\/\*)?|dns:[\w.-]+|subject:CN=[^*]+)$/;
const certificateText =
  'must be spiffe://TRUST-DOMAIN/PATH, dns:NAME or subject:CN=NAME; only a path of spiffe may end with /*';

function callerSchema(issuer: z.ZodType<string>, roles: z.ZodType<string[]>, writingRoles: readonly string[]) {
  return object({
    issuer: issuer.optional(),
    claims: mapOf(text(), z.union([z.string(), z.number(), z.boolean()], 'must be a text, a number, true or false')),
    certificate: text().regex(certificateForm, certificateText).optional(),
    key: text()
      .regex(/^[\w.-]{1,64}$/, 'must be the name of an API key')
      .optional(),
    role: roles,
    when: text().transform(toCondition).optional(),
  })
    .superRefine(({ issuer: name, certificate, key, claims, role, when }, context) => {
      if ([name, certificate, key].filter((value) => value !== undefined).length !== 1) {
        context.addIssue({ code: 'custom', message: 'must have exactly one of issuer, certificate and key' });
      }
      if (claims.size > 0 && name === undefined) {
        context.addIssue({ code: 'custom', path: ['claims'], message: 'must be set only together with issuer' });
      }
      if (when?.readsUser && !role.some((given) => writingRoles.includes(given))) {
        const message = 'must not read user, because none of these roles writes users, and reads do not check the user';
        context.addIssue({ code: 'custom', path: ['when'], message });
      }
    })
    .transform(({ issuer: name = '', claims, certificate, key, role, when: condition }): CallerEntry => {
      if (certificate !== undefined)
        return { match: { kind: 'certificate', pattern: certificate }, roles: role, condition };
      if (key !== undefined) return { match: { kind: 'key', name: key }, roles: role, condition };
      return { match: { kind: 'token', issuer: name, claims }, roles: role, condition };
    });
}

function toCondition(when: string, context: z.RefinementCtx): CompiledCondition {
  try {
    return compileCondition(when);
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

function attributeSchema(roles: z.ZodType<string[]>) {
  return object({ read: roles.optional(), write: roles.optional() }).refine(
    ({ read, write }) => read !== undefined || write !== undefined,
    'must have read, write or both',
  );
}
