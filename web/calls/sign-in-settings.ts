/** How to sign in at this server, from its /sign-in.json. */
import type { IssuerSettings } from './issuer.js';

export interface SignInSettings {
  /** Whether the server accepts only callers that it knows. */
  readonly isRequired: boolean;
  /** Unset if the server accepts only tokens and API keys that the user has already. */
  readonly issuer: IssuerSettings | undefined;
}

const requestMsMax = 10_000;

/** Returns undefined if the server does not say, such as an older one, or if it cannot be reached. */
export async function loadSignInSettings(origin: string): Promise<SignInSettings | undefined> {
  try {
    const response = await fetch(`${origin}/sign-in.json`, {
      // With the request of index.html, which began earlier. The server forbids keeping the answer.
      signal: AbortSignal.timeout(requestMsMax),
    });
    return response.ok ? readSettings(await response.json()) : undefined;
  } catch {
    return undefined;
  }
}

function readSettings(body: unknown): SignInSettings | undefined {
  if (!isObject(body) || typeof body.required !== 'boolean') return undefined;
  return { isRequired: body.required, issuer: isObject(body.oidc) ? readIssuer(body.oidc) : undefined };
}

function readIssuer(oidc: Readonly<Record<string, unknown>>): IssuerSettings | undefined {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  const issuer = text(oidc.issuer) ?? '';
  const clientId = text(oidc.client_id);
  if (clientId === undefined || !URL.canParse(issuer) || !/^https?:$/.test(new URL(issuer).protocol)) return undefined;
  return { issuer, clientId, scope: text(oidc.scope) ?? 'openid', audience: text(oidc.audience) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
