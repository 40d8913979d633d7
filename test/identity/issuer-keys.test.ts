/** The keys of issuers: rotation, outages, discovery and files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Identity } from '../../src/identity/create-identity.js';
import type { Caller } from '../../src/model/caller.js';
import { Fault } from '../../src/model/fault.js';
import { createAuthority } from '../certificates.js';
import { createKey, identify, issuerConfig, policyOf, reasonOf, startIdentity, startIssuer } from './issuer.js';

// A cool-down of 100 ms instead of 10 s, and so on.
const timeScale = 0.01;

function createFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-keys-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Waits until the key of the token is known. */
async function callerOf(identity: Identity, token: string): Promise<Caller> {
  await expect.poll(async () => reasonOf(await identify(identity, `Bearer ${token}`))).toBe('accepted');
  const caller = await identify(identity, `Bearer ${token}`);
  if (caller instanceof Fault) throw caller;
  return caller;
}

describe('the keys of an issuer', () => {
  it('are fetched once for many tokens', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, sub) => issuer.sign({ sub: String(sub) })));
    const found = await Promise.all(tokens.map((token) => identify(identity, `Bearer ${token}`)));
    expect(found.map(reasonOf)).toEqual(tokens.map(() => 'accepted'));
    expect(issuer.requests).toEqual(['/keys']);
  });

  it('are fetched again for a new key, and a removed key stops working', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()), { timeScale });
    const old = `Bearer ${await issuer.sign()}`;
    expect(reasonOf(await identify(identity, old))).toBe('accepted');
    issuer.keys.push(await createKey());
    const rotated = `Bearer ${await issuer.sign()}`;
    await expect.poll(async () => reasonOf(await identify(identity, rotated))).toBe('accepted');
    expect(reasonOf(await identify(identity, old))).toBe('accepted');
    issuer.keys.splice(0, 2, await createKey());
    // The token with the newest key makes the server see that the others are gone.
    const newest = `Bearer ${await issuer.sign()}`;
    await expect.poll(async () => reasonOf(await identify(identity, newest))).toBe('accepted');
    expect(reasonOf(await identify(identity, old))).toBe('CREDENTIALS_INVALID');
    expect(reasonOf(await identify(identity, rotated))).toBe('CREDENTIALS_INVALID');
  });

  it('end only the streams of tokens that a removed key has signed', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()), { timeScale });
    const removed = await callerOf(identity, await issuer.sign({ sub: 'removed' }));
    issuer.keys.push(await createKey());
    const kept = await callerOf(identity, await issuer.sign({ sub: 'kept' }));
    expect(identity.endOf(removed)).toBeUndefined();
    issuer.keys.shift();
    issuer.keys.push(await createKey());
    await callerOf(identity, await issuer.sign({ sub: 'new' }));
    expect(identity.endOf(removed)?.reason).toBe('CREDENTIALS_INVALID');
    expect(identity.endOf(kept)).toBeUndefined();
  });

  it('are fetched at most once in ten seconds for unknown keys', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    for (let count = 0; count < 50; count++) {
      const token = await issuer.sign({}, { kid: `unknown-${count}` });
      expect(reasonOf(await identify(identity, `Bearer ${token}`))).toBe('CREDENTIALS_INVALID');
    }
    expect(issuer.requests).toHaveLength(1);
  });

  it('are fetched again in the background', async () => {
    const issuer = await startIssuer();
    issuer.answer = (_, response) => {
      response.setHeader('cache-control', 'public, max-age=60');
      response.end(JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) }));
    };
    startIdentity(policyOf(issuer.config()), { timeScale });
    await expect.poll(() => issuer.requests.length, { timeout: 10_000 }).toBeGreaterThan(2);
  });

  it('survive an outage of the issuer, which is reported once', async () => {
    const issuer = await startIssuer();
    const { identity, events } = startIdentity(policyOf(issuer.config()), { timeScale });
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    issuer.answer = (request) => request.socket.destroy();
    const unknown = `Bearer ${await issuer.sign({}, {}, await createKey())}`;
    await expect.poll(async () => reasonOf(await identify(identity, unknown))).toBe('ISSUER_UNAVAILABLE');
    await expect.poll(() => issuer.requests.length).toBeGreaterThan(3);
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign({ sub: 'new' })}`))).toBe('accepted');
    expect(events.errors).toMatchObject([{ issuer: 'corp', hasKeys: true }]);
    issuer.answer = undefined;
    await expect.poll(() => events.recovered).toEqual(['corp']);
    expect(reasonOf(await identify(identity, unknown))).toBe('CREDENTIALS_INVALID');
  });

  it('that were never fetched make the issuer unavailable, without a request for each call', async () => {
    const issuer = await startIssuer();
    issuer.answer = (_, response) => response.writeHead(503).end();
    const { identity, events } = startIdentity(policyOf(issuer.config()));
    const authorization = `Bearer ${await issuer.sign()}`;
    for (let count = 0; count < 100; count++) {
      expect(reasonOf(await identify(identity, authorization))).toBe('ISSUER_UNAVAILABLE');
    }
    expect(issuer.requests).toHaveLength(1);
    expect(events.errors).toMatchObject([{ hasKeys: false }]);
    issuer.answer = undefined;
    await expect
      .poll(async () => reasonOf(await identify(identity, authorization)), { timeout: 5000 })
      .toBe('accepted');
  });

  it.each([
    ['a redirect', (response: Response) => response.writeHead(302, { location: '/other' }).end()],
    ['text', (response: Response) => response.end('no JSON')],
    ['a list', (response: Response) => response.end('[]')],
    ['no keys', (response: Response) => response.end('{"keys":[]}')],
    ['only secrets', (response: Response) => response.end('{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}')],
    ['a document that is too large', (response: Response) => response.end(`{"keys":["${'x'.repeat(600 * 1024)}"]}`)],
  ])('cannot be %s', async (_, answer) => {
    const issuer = await startIssuer();
    issuer.answer = (__, response) => answer(response);
    const { identity, events } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('ISSUER_UNAVAILABLE');
    expect(events.errors).toHaveLength(1);
    expect(issuer.requests).toEqual(['/keys']);
  });

  it('are not used if they are weak, for encryption, or private', async () => {
    const issuer = await startIssuer();
    const weak = await createKey('RS256', { modulusLength: 2048 });
    const short = { ...weak, jwk: { ...weak.jwk, kid: 'short', n: weak.jwk.n?.slice(0, 170) } };
    const encryption = await createKey();
    issuer.keys.push(short, { ...encryption, jwk: { ...encryption.jwk, use: 'enc' } });
    const { identity } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign({}, {}, encryption)}`))).toBe(
      'CREDENTIALS_INVALID',
    );
    const signed = await issuer.sign({}, { kid: 'short' }, weak);
    expect(reasonOf(await identify(identity, `Bearer ${signed}`))).toBe('CREDENTIALS_INVALID');
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign({}, {}, issuer.keys[0])}`))).toBe('accepted');
  });

  it('are found by discovery', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config({ jwksUrl: undefined })));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    expect(issuer.requests).toEqual(['/.well-known/openid-configuration', '/keys']);
  });

  it.each([
    ['another issuer', { issuer: 'https://other.example' }],
    ['no URL of keys', { jwks_uri: 7 }],
    ['keys without TLS', { jwks_uri: 'http://keys.example/keys' }],
    ['keys in a file', { jwks_uri: 'file:///etc/passwd' }],
  ])('are not used if discovery names %s', async (_, changes) => {
    const issuer = await startIssuer();
    issuer.answer = (__, response) =>
      response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/keys`, ...changes }));
    const { identity } = startIdentity(policyOf(issuer.config({ jwksUrl: undefined })));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('ISSUER_UNAVAILABLE');
    expect(issuer.requests).toEqual(['/.well-known/openid-configuration']);
  });

  it('can be in a file, which is read again', async () => {
    const issuer = await startIssuer();
    const jwksFile = path.join(createFolder(), 'keys.json');
    const write = () => writeFileSync(jwksFile, JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) }));
    write();
    const config = issuer.config({ jwksUrl: undefined, jwksFile });
    const { identity, events } = startIdentity(policyOf(config), { timeScale });
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    writeFileSync(jwksFile, '{');
    await expect.poll(() => events.errors).toHaveLength(1);
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    issuer.keys.splice(0, 1, await createKey());
    write();
    const rotated = `Bearer ${await issuer.sign()}`;
    await expect.poll(async () => reasonOf(await identify(identity, rotated))).toBe('accepted');
    expect(issuer.requests).toEqual([]);
  });

  it('are fetched over TLS with own authorities and a token, as those of Kubernetes', async () => {
    const folder = createFolder();
    const authority = createAuthority();
    const issuer = await startIssuer();
    const authorizations: (string | undefined)[] = [];
    const server = createServer(authority.issue('issuer'), (request, response) => {
      authorizations.push(request.headers.authorization);
      response.end(JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    const jwksUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    const caFile = path.join(folder, 'ca.pem');
    const tokenFile = path.join(folder, 'token');
    writeFileSync(caFile, authority.cert);
    writeFileSync(tokenFile, 'service-account\n');
    const trusting = startIdentity(policyOf(issuer.config({ jwksUrl, caFile, tokenFile })));
    const distrusting = startIdentity(policyOf(issuer.config({ jwksUrl, tokenFile })));
    const authorization = `Bearer ${await issuer.sign()}`;
    expect(reasonOf(await identify(trusting.identity, authorization))).toBe('accepted');
    expect(reasonOf(await identify(distrusting.identity, authorization))).toBe('ISSUER_UNAVAILABLE');
    expect(authorizations).toEqual(['Bearer service-account']);
  });

  it('are not fetched again by a changed policy, unless they are elsewhere', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    const authorization = `Bearer ${await issuer.sign()}`;
    expect(reasonOf(await identify(identity, authorization))).toBe('accepted');
    issuer.answer = (request) => request.socket.destroy();
    identity.setPolicy(policyOf(issuer.config({ audiences: ['roster', 'other'] })));
    expect(reasonOf(await identify(identity, authorization))).toBe('accepted');
    identity.setPolicy(policyOf(issuer.config({ audiences: ['other'] })));
    expect(reasonOf(await identify(identity, authorization))).toBe('CREDENTIALS_INVALID');
    identity.setPolicy(policyOf(issuer.config({ jwksUrl: `${issuer.url}/other` })));
    expect(reasonOf(await identify(identity, authorization))).toBe('ISSUER_UNAVAILABLE');
    identity.setPolicy(policyOf());
    expect(reasonOf(await identify(identity, authorization))).toBe('CREDENTIALS_INVALID');
  });

  it('of an issuer that is silent do not delay tokens of another', async () => {
    const silent = await startIssuer();
    silent.answer = () => {};
    const issuer = await startIssuer();
    const configs = [silent.config({ name: 'silent' }), issuer.config()];
    const { identity } = startIdentity(policyOf(...configs));
    const waiting = Array.from({ length: 2000 }, async (_, sub) =>
      identify(identity, `Bearer ${await silent.sign({ sub: String(sub) })}`),
    );
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
    const reasons = (await Promise.all(waiting)).map(reasonOf);
    expect(new Set(reasons)).toEqual(new Set(['ISSUER_UNAVAILABLE']));
  });
});

type Response = Parameters<NonNullable<Awaited<ReturnType<typeof startIssuer>>['answer']>>[1];

describe('a URL of keys', () => {
  it.each(['http://keys.example/keys', 'ftp://127.0.0.1/keys', 'no URL', 'https://user:password@127.0.0.1/keys'])(
    'cannot be %s',
    async (jwksUrl) => {
      const issuer = await startIssuer();
      const config = { ...issuerConfig(issuer.url), jwksUrl };
      const { identity, events } = startIdentity(policyOf(config));
      expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('ISSUER_UNAVAILABLE');
      expect(String(events.errors[0]?.error)).toMatch(/https|URL|password/);
      expect(String(events.errors[0]?.error)).not.toContain('user:');
    },
  );
});
