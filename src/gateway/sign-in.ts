/** Tells the page how its users sign in. */
import type { ResponseContent } from './router.js';

export interface SignIn {
  /** Whether calls need credentials. */
  readonly isRequired: boolean;
  /** Sign-in with OpenID Connect, if it is configured. */
  readonly oidc?: OidcSignIn;
}

export interface OidcSignIn {
  /** The URL of the issuer. */
  readonly issuer: string;
  readonly clientId: string;
  readonly scope: string;
  readonly audience?: string;
  /** Origins other than the issuer's that the page has to reach, such as that of the token endpoint. */
  readonly connectOrigins?: readonly string[];
}

export const signInPath = '/sign-in.json';

/** The page always accepts an API key or a token, which `key` says. */
export function signInContent({ isRequired, oidc }: SignIn): ResponseContent {
  const content = {
    required: isRequired,
    key: true,
    ...(oidc && {
      oidc: { issuer: oidc.issuer, client_id: oidc.clientId, scope: oidc.scope, audience: oidc.audience },
    }),
  };
  return { status: 200, body: JSON.stringify(content), headers: { 'content-type': 'application/json' } };
}

// Other characters, such as a semicolon, could add directives to the page's policy.
const originForm = /^https?:\/\/(?:[\w.-]+|\[[\da-f:]+\])(?::\d+)?$/;

/** The origins that the page may send requests to, in addition to its own. */
export function signInOrigins({ oidc }: SignIn): string[] {
  if (oidc === undefined) return [];
  const urls = [oidc.issuer, ...(oidc.connectOrigins ?? [])];
  const origins = urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).origin);
  return [...new Set(origins)].filter((origin) => originForm.test(origin));
}
