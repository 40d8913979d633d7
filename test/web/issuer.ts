/** A real OpenID Connect issuer for tests: the package oidc-provider on a loopback port, with its own sign-in page. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { Provider } from 'oidc-provider';
import type { Page } from 'playwright-core';
import { freePort } from '../../src/embedded-postgres/process.js';

/** The audience of access tokens, unless a test changes it. */
export const audience = 'https://roster.example';
export const clientId = 'roster-page';

export interface TestIssuer extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  /** The tests change these between sign-ins. */
  readonly tokens: { seconds: number; audience: string; canRefresh: boolean };
  /** The requests to the token endpoint, by grant type. */
  readonly grants: string[];
  /** Allows pages at these addresses to sign in. */
  allow(pageAddress: string): Promise<void>;
  /** Stops answering, and answers again on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startIssuer(): Promise<TestIssuer> {
  const port = await freePort(0);
  const url = `http://localhost:${port}`;
  const tokens = { seconds: 3600, audience, canRefresh: false };
  const grants: string[] = [];
  const pages: string[] = [];
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

  const create = () => {
    const provider: Provider = new Provider(url, {
      clients: [
        {
          client_id: clientId,
          token_endpoint_auth_method: 'none',
          grant_types: ['authorization_code', 'refresh_token'],
          redirect_uris: pages.length === 0 ? ['http://localhost/'] : pages,
          post_logout_redirect_uris: pages,
        },
      ],
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'test', alg: 'RS256', use: 'sig' }] },
      cookies: { keys: ['test'] },
      clientBasedCORS: () => true,
      pkce: { required: () => true },
      claims: { openid: ['sub'], profile: ['name'] },
      // The name is in the ID token, as with most issuers.
      conformIdTokenClaims: false,
      findAccount: (_: unknown, id: string) => ({
        accountId: id,
        claims: () => ({ sub: id, name: id.charAt(0).toUpperCase() + id.slice(1) }),
      }),
      extraTokenClaims: (_: unknown, token: { accountId?: string }) => ({ groups: [`${token.accountId}s`] }),
      issueRefreshToken: () => tokens.canRefresh,
      ttl: { AccessToken: () => tokens.seconds, IdToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
      features: {
        devInteractions: { enabled: true },
        revocation: { enabled: true },
        rpInitiatedLogout: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => audience,
          useGrantedResource: () => true,
          getResourceServerInfo: () => ({
            scope: '',
            audience: tokens.audience,
            accessTokenTTL: tokens.seconds,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
      // A first-party client needs no consent.
      loadExistingGrant: async (context: { oidc: { session: { accountId: string } } }) => {
        const grant = new provider.Grant({ clientId, accountId: context.oidc.session.accountId });
        grant.addOIDCScope('openid profile offline_access');
        grant.addResourceScope(audience, '');
        await grant.save();
        return grant;
      },
    });
    provider.on('grant.success', (context) => {
      grants.push((context as { oidc: { params: { grant_type: string } } }).oidc.params.grant_type);
    });
    return provider;
  };

  let server = create().listen(port, 'localhost');
  await once(server, 'listening');
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const start = async () => {
    server = create().listen(port, 'localhost');
    await once(server, 'listening');
  };
  return {
    url,
    host: `localhost:${port}`,
    tokens,
    grants,
    async allow(pageAddress) {
      pages.push(pageAddress);
      await stop();
      await start();
    },
    stop,
    start,
    [Symbol.asyncDispose]: stop,
  };
}

/** Fills in the issuer's sign-in page. Every password is right. */
export async function signInAtIssuer(page: Page, login: string): Promise<void> {
  await page.getByPlaceholder('Enter any login').fill(login);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
}
