/**
 * Signs in at an OpenID Connect issuer: the authorization code flow with PKCE, as a client without a secret. Stores
 * nothing. Every failure is an IssuerError, whose message is for the user.
 */
import * as oauth from 'oauth4webapi';
import { type Grant, type Issuer, IssuerError, type IssuerSettings } from './issuer.js';

const requestMsMax = 10_000;
// Computers whose clock is wrong by a few seconds are common.
const clockToleranceSeconds = 60;

/** `pageAddress` is the redirect URI. It must be registered at the issuer. */
export function createIssuerClient(settings: IssuerSettings, pageAddress: string): Issuer {
  const address = new URL(settings.issuer);
  const client: oauth.Client = { client_id: settings.clientId, [oauth.clockTolerance]: clockToleranceSeconds };
  // Only an issuer that is itself configured with http: may have endpoints with http:.
  const requests = () => ({
    signal: AbortSignal.timeout(requestMsMax),
    [oauth.allowInsecureRequests]: address.protocol === 'http:',
  });
  let metadata: oauth.AuthorizationServer | undefined;

  async function discover(): Promise<oauth.AuthorizationServer> {
    const response = await oauth.discoveryRequest(address, requests());
    metadata ??= await oauth.processDiscoveryResponse(address, response);
    return metadata;
  }

  /** Converts errors to IssuerErrors. */
  async function atIssuer<T>(work: (server: oauth.AuthorizationServer) => Promise<T>): Promise<T> {
    // Browsers have no cryptography on pages loaded over plain HTTP from another machine.
    if (!isSecureContext) {
      throw new IssuerError('Signing in there requires HTTPS. Open this page with https://.', { isFinal: true });
    }
    try {
      return await work(metadata ?? (await discover()));
    } catch (error) {
      throw issuerErrorOf(error, address.host);
    }
  }

  return {
    host: address.host,
    begin: (attempt) =>
      atIssuer(async (server) => {
        const url = pageUrl(server.authorization_endpoint);
        if (url === undefined) throw new oauth.OperationProcessingError('The issuer has no sign-in page.');
        const challenge = await oauth.calculatePKCECodeChallenge(attempt.verifier);
        const parameters = {
          client_id: settings.clientId,
          redirect_uri: pageAddress,
          response_type: 'code',
          scope: withOpenId(settings.scope),
          state: attempt.state,
          nonce: attempt.nonce,
          code_challenge: challenge,
          code_challenge_method: 'S256',
          ...audienceParameters(settings.audience),
        };
        for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
        return url.href;
      }),
    finish: ({ state, nonce, verifier }, response) =>
      atIssuer(async (server) => {
        const checked = oauth.validateAuthResponse(server, client, response, state);
        const tokens = await oauth.processAuthorizationCodeResponse(
          server,
          client,
          await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), checked, pageAddress, verifier, {
            ...requests(),
            additionalParameters: resourceParameter(settings.audience),
          }),
          { expectedNonce: nonce, requireIdToken: true },
        );
        return grantOf(tokens);
      }),
    refresh: (grant) =>
      atIssuer(async (server) => {
        const tokens = await oauth.processRefreshTokenResponse(
          server,
          client,
          await oauth.refreshTokenGrantRequest(server, client, oauth.None(), grant.refreshToken ?? '', {
            ...requests(),
            additionalParameters: resourceParameter(settings.audience),
          }),
        );
        return grantOf(tokens, grant);
      }),
    signOut: (grant) =>
      atIssuer(async (server) => {
        if (grant.refreshToken !== undefined && server.revocation_endpoint !== undefined) {
          await oauth
            .revocationRequest(server, client, oauth.None(), grant.refreshToken, requests())
            // The token expires by itself.
            .catch(() => {});
        }
        const url = pageUrl(server.end_session_endpoint);
        if (url === undefined) return undefined;
        // Without id_token_hint, because addresses end up in logs. The issuer may ask the person to confirm instead.
        url.searchParams.set('client_id', settings.clientId);
        url.searchParams.set('post_logout_redirect_uri', pageAddress);
        return url.href;
      }),
  };
}

function withOpenId(scope: string): string {
  const scopes = scope.split(/\s+/).filter((part) => part !== '');
  return (scopes.includes('openid') ? scopes : ['openid', ...scopes]).join(' ');
}

/** Issuers that do not know a parameter ignore it (RFC 6749, 3.1). A resource must be a URI (RFC 8707). */
function audienceParameters(audience: string | undefined): Record<string, string> {
  return audience === undefined ? {} : { audience, ...resourceParameter(audience) };
}

function resourceParameter(audience: string | undefined): Record<string, string> {
  return audience !== undefined && URL.canParse(audience) ? { resource: audience } : {};
}

/** A URL of another kind, such as javascript:, would run in this page. */
function pageUrl(address: string | undefined): URL | undefined {
  return address !== undefined && /^https?:/i.test(address) && URL.canParse(address) ? new URL(address) : undefined;
}

/** The previous grant is the one that was refreshed. */
function grantOf(tokens: oauth.TokenEndpointResponse, previous?: Grant): Grant {
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  const isJwt = tokens.access_token.split('.').length === 3;
  // Some issuers have opaque access tokens, which only they can read. Their ID token names the client as the audience.
  const token = isJwt || tokens.id_token === undefined ? tokens.access_token : tokens.id_token;
  const seconds =
    token === tokens.id_token && claims !== undefined ? claims.exp - Date.now() / 1000 : tokens.expires_in;
  const names = [claims?.name, claims?.preferred_username, claims?.email];
  return {
    token,
    expiresMs: seconds === undefined ? undefined : Date.now() + seconds * 1000,
    refreshToken: tokens.refresh_token ?? previous?.refreshToken,
    name: names.find((name) => typeof name === 'string' && name.trim() !== '')?.toString() ?? previous?.name,
  };
}

function issuerErrorOf(error: unknown, host: string): IssuerError {
  const final = (message: string) => new IssuerError(message, { isFinal: true });
  if (error instanceof IssuerError) return error;
  if (error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError) {
    return final(refusalText(error.error, host));
  }
  if (error instanceof oauth.OperationProcessingError && error.code === oauth.JWT_TIMESTAMP_CHECK) {
    return final(`This computer’s clock differs from the clock of ${host}. Correct the clock and try again.`);
  }
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    return final(`The response of ${host} cannot be used. Ask the administrator of this directory.`);
  }
  // fetch fails with a TypeError, or with a DOMException after the time limit.
  return new IssuerError(`Cannot reach ${host}. Check your connection and try again.`, { isFinal: false });
}

/** The text for an error code of RFC 6749 or of OpenID Connect. */
function refusalText(code: string, host: string): string {
  switch (code) {
    case 'access_denied':
      return `${host} did not let you in, or you cancelled the sign-in.`;
    case 'invalid_grant':
      return `The sign-in took too long. Start it again.`;
    case 'server_error':
    case 'temporarily_unavailable':
      return `${host} is not available at the moment. Try again later.`;
    default:
      // Only letters and underscores, because the text comes from outside.
      return `${host} refused the sign-in (${code.replaceAll(/[^a-z_]/gi, '').slice(0, 40)}). Ask the administrator of this directory.`;
  }
}
