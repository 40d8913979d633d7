/** The access file in use: whose tokens are accepted, and what each verified credential may do. */
import type { Caller, Subject } from '../model/caller.js';

export interface Policy {
  readonly issuers: readonly IssuerConfig[];
  /** How the page's users sign in. */
  readonly signIn?: SignInConfig;
  /** Returns what a verified credential may do. A known caller without a role may call only GetCaller. */
  callerOf(subject: Subject): Caller;
}

/** An issuer whose tokens are accepted. All paths are absolute. */
export interface IssuerConfig {
  /** As in [a-z0-9-]{1,32}. The prefix of actors. */
  readonly name: string;
  /** The value of the claim `iss`. */
  readonly issuer: string;
  /** A token must name one of these in its claim `aud`. */
  readonly audiences: readonly string[];
  /** Where the keys are. Without either, OpenID Connect discovery finds their URL. */
  readonly jwksUrl?: string;
  readonly jwksFile?: string;
  /** Such as RS256. Never HS256 or none. */
  readonly algorithms: readonly string[];
  readonly clockSkewSeconds: number;
  /** The claim that names the actor. Nested claims have dots. */
  readonly actorClaim: string;
  /** The authorities, in PEM, that may have signed the certificate of the server with the keys. */
  readonly caFile?: string;
  /** A bearer token for fetching the keys. The file is read at each fetch. */
  readonly tokenFile?: string;
}

export interface SignInConfig {
  /** The name of the issuer. */
  readonly issuer: string;
  readonly clientId: string;
  readonly scope: string;
  readonly audience?: string;
  /** Origins other than the issuer's that the page has to reach, such as that of the token endpoint. */
  readonly connectOrigins: readonly string[];
}
