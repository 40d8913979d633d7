/** A real issuer, the package oidc-provider: its discovery, its keys and its access tokens. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/embedded-postgres/process.js';
import { Fault } from '../../src/model/fault.js';
import { identify, issuerConfig, policyOf, startIdentity } from './issuer.js';

interface ProviderModule {
  readonly Provider: new (
    issuer: string,
    configuration: Readonly<Record<string, unknown>>,
  ) => { listen(port: number, host: string): Server };
}

it('accepts an access token of a client of an OpenID Connect issuer', async () => {
  // The package has no types.
  const name: string = 'oidc-provider';
  const { Provider }: ProviderModule = await import(name);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const port = await freePort(0);
  const url = `http://127.0.0.1:${port}`;
  const provider = new Provider(url, {
    clients: [
      {
        client_id: 'billing',
        client_secret: 'secret of this test',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'test', alg: 'RS256', use: 'sig' }] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: 'roster',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
  const server = provider.listen(port, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  expect((server.address() as AddressInfo).port).toBe(port);
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('billing:secret+of+this+test')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: 'https://roster.example' }),
  });
  const { access_token: token } = (await response.json()) as { access_token: string };
  const { identity } = startIdentity(policyOf(issuerConfig(url)));
  const found = await identify(identity, `Bearer ${token}`);
  expect(found instanceof Fault ? found : found.actor).toBe('corp:billing');
});
