/**
 * Describes who makes a call and what this caller may do. Each verified credential has one Caller, which is computed once, so that a
 * decision about a call is a lookup.
 */

/** The roles that open methods. Every role of the access file is made of these. */
export const builtInRoles = ['reader', 'writer', 'bulk', 'admin'] as const;

export type BuiltInRole = (typeof builtInRoles)[number];

export interface Caller {
  /**
   * The name in the audit log and in the change log, such as `key:billing`, `corp:4711` or
   * `spiffe://example.com/billing`. Never personal data. Empty if the server is open to everyone.
   */
  readonly actor: string;
  readonly kind: 'anyone' | 'token' | 'certificate' | 'key';
  /** The built-in roles and the roles of the access file that the caller has without a condition. */
  readonly roles: ReadonlySet<string>;
  readonly permissions: Permissions;
  /** When the credential expires, in milliseconds since 1970. */
  readonly expiresMs?: number;
}

export interface Permissions {
  /** By the method's path, such as `/users.v1.UserService/GetUser`. A method that is missing is forbidden. */
  readonly methods: ReadonlyMap<string, MethodPermission>;
  /** The keys of `attributes` that answers leave out, and that filters and masks must not mention. */
  readonly hiddenAttributes: ReadonlySet<string>;
  /** The keys of `attributes` that the caller must not write. Contains all hidden ones. */
  readonly protectedAttributes: ReadonlySet<string>;
}

/** `always`, or conditions of which one must hold. */
export type MethodPermission = 'always' | readonly Condition[];

/** A compiled CEL expression of the access file. */
export interface Condition {
  /** Whether the expression reads `user`: the user that a write would change, before and after it. */
  readonly readsUser: boolean;
  /** An expression that fails is not fulfilled. */
  holds(variables: ConditionVariables): boolean;
}

export interface ConditionVariables {
  /** Such as `GetUser`. */
  readonly method: string;
  /** The decoded request, with the names of generated code, such as `updateMask`. */
  readonly request: unknown;
  readonly user?: unknown;
}

/** A credential that was verified. The policy turns it into a Caller. */
export type Subject =
  | {
      readonly kind: 'token';
      /** The name of the issuer in the access file. */
      readonly issuer: string;
      readonly claims: Readonly<Record<string, unknown>>;
      readonly expiresMs: number;
    }
  | {
      readonly kind: 'certificate';
      /** As in `spiffe://example.com/billing`, `dns:billing.example.com` and `subject:CN=billing`, in this order. */
      readonly names: readonly string[];
      readonly expiresMs: number;
    }
  | {
      readonly kind: 'key';
      readonly name: string;
      readonly roles: readonly string[];
      readonly expiresMs?: number;
    };
