/** An OpenID Connect issuer at which users sign in. Its code is in issuer-client.ts. */

export interface IssuerSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly scope: string;
  /** The parameter that some issuers need to put the right audience into the access token. */
  readonly audience: string | undefined;
}

/** The secrets of one sign-in, from its start until the issuer's response. */
export interface SignInAttempt {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** The tokens of a finished sign-in. */
export interface Grant {
  /** The token for Roster. */
  readonly token: string;
  /** As in Date.now(); undefined if the issuer did not tell. */
  readonly expiresMs: number | undefined;
  readonly refreshToken: string | undefined;
  /** The person's name, if the ID token has it. */
  readonly name: string | undefined;
}

export class IssuerError extends Error {
  override readonly name = 'IssuerError';
  /** Whether the issuer answered, so that trying again with the same input cannot help. */
  readonly isFinal: boolean;

  constructor(message: string, options: { isFinal: boolean }) {
    super(message);
    this.isFinal = options.isFinal;
  }
}

export interface Issuer {
  /** The issuer's host, to show to the user. */
  readonly host: string;
  /** Returns the address of the issuer's sign-in page. */
  begin(attempt: SignInAttempt): Promise<string>;
  /** Exchanges the code in the issuer's response for tokens. */
  finish(attempt: SignInAttempt, response: URLSearchParams): Promise<Grant>;
  refresh(grant: Grant): Promise<Grant>;
  /** Revokes the refresh token. Returns the address that also ends the session at the issuer, if it has one. */
  signOut(grant: Grant): Promise<string | undefined>;
}

/** Hexadecimal text, which is also a valid verifier (RFC 7636, 4.1). */
function randomText(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(32)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function newSignInAttempt(): SignInAttempt {
  return { state: randomText(), nonce: randomText(), verifier: randomText() };
}
