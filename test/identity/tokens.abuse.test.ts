/** Rubbish and forged tokens: never accepted, never an internal error, and never in the log. */
import { createHmac, createPublicKey } from 'node:crypto';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { base64url } from 'jose';
import { describe, expect, it } from 'vitest';
import { GetUserRequest } from '../../generated/users/v1/user_service.js';
import { ada, startTestServer, storedAda } from '../rpc/harness.js';
import { createKey, identify, policyOf, reasonOf, startIdentity, startIssuer } from './issuer.js';

const refusals = ['CREDENTIALS_MISSING', 'CREDENTIALS_INVALID', 'CREDENTIALS_EXPIRED'];

const encode = (value: unknown) => base64url.encode(JSON.stringify(value));

async function setUp() {
  const issuer = await startIssuer();
  issuer.keys.push(await createKey('RS256'));
  const { identity } = startIdentity(policyOf(issuer.config()));
  const valid = await issuer.sign();
  expect(reasonOf(await identify(identity, `Bearer ${valid}`))).toBe('accepted');
  const outcomeOf = async (token: string) => reasonOf(await identify(identity, `Bearer ${token}`));
  return { issuer, identity, valid, outcomeOf };
}

describe('a token that was changed', () => {
  it('is refused, whatever was changed', async () => {
    const { valid, outcomeOf } = await setUp();
    const change = fc.record({
      at: fc.nat({ max: valid.length - 1 }),
      removed: fc.nat({ max: 40 }),
      added: fc.string({ maxLength: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, removed, added }) => {
        const changed = valid.slice(0, at) + added + valid.slice(at + removed);
        fc.pre(changed.trimEnd() !== valid);
        expect(refusals).toContain(await outcomeOf(changed));
      }),
      { numRuns: 500 },
    );
  });

  it('is refused with another text for the same signature', async () => {
    const { valid, outcomeOf } = await setUp();
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const variants = [...alphabet].map((last) => valid.slice(0, -1) + last).filter((token) => token !== valid);
    const signatureOf = (token: string) => Buffer.from(token.split('.')[2] ?? '', 'base64url');
    expect(variants.some((token) => signatureOf(token).equals(signatureOf(valid)))).toBe(true);
    for (const token of variants) expect(await outcomeOf(token)).toBe('CREDENTIALS_INVALID');
  });

  it('is refused with any header and any claims', async () => {
    const { issuer, valid, outcomeOf } = await setUp();
    const [header = '', payload = '', signature = ''] = valid.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const part = fc.oneof(
      fc.json().map((text) => base64url.encode(text)),
      fc
        .dictionary(fc.constantFrom('iss', 'aud', 'exp', 'nbf', 'iat', 'sub', '__proto__'), fc.jsonValue())
        .map((some) => encode({ ...claims, ...some })),
      fc.constant(payload),
      fc.uint8Array({ maxLength: 50 }).map((bytes) => base64url.encode(bytes)),
    );
    const anyHeader = fc.record({
      alg: fc.constantFrom('ES256', 'RS256', 'HS256', 'none', 'NONE', '', 'EdDSA', 'ES256K'),
      kid: fc.constantFrom(
        ...issuer.keys.map(({ jwk }) => jwk.kid),
        '',
        '../../etc/passwd',
        "' or 1=1 --",
        '__proto__',
      ),
      typ: fc.constantFrom('JWT', undefined, 'at+jwt'),
    });
    const headers = fc.oneof(anyHeader.map(encode), part, fc.constant(header));
    const signatures = fc.oneof(
      fc.constant(signature),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => base64url.encode(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(headers, part, signatures, async (...parts) => {
        fc.pre(parts.join('.') !== valid);
        expect(refusals).toContain(await outcomeOf(parts.join('.')));
      }),
      { numRuns: 500 },
    );
  });

  it('is refused as any text', async () => {
    const { outcomeOf } = await setUp();
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 20_000, size: 'max' }));
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        expect(refusals).toContain(await outcomeOf(token));
      }),
      { numRuns: 300 },
    );
  });
});

describe('a forged token', () => {
  it('is refused with the public key as the secret of an HMAC', async () => {
    const { issuer, outcomeOf } = await setUp();
    for (const { jwk } of issuer.keys) {
      const key = createPublicKey({ key: jwk, format: 'jwk' });
      const secrets = [
        key.export({ type: 'spki', format: 'pem' }),
        key.export({ type: 'spki', format: 'der' }),
        Buffer.from(JSON.stringify(jwk)),
        Buffer.from(jwk.n ?? jwk.x ?? '', 'base64url'),
      ];
      for (const secret of secrets) {
        const header = encode({ alg: 'HS256', kid: jwk.kid, typ: 'JWT' });
        const claims = encode({ iss: issuer.url, aud: 'roster', sub: 'admin', exp: Date.now() / 1000 + 60 });
        const signature = createHmac('sha256', secret).update(`${header}.${claims}`).digest('base64url');
        expect(await outcomeOf(`${header}.${claims}.${signature}`)).toBe('CREDENTIALS_INVALID');
      }
    }
  });

  it('is refused if it brings its own key, which is never fetched', async () => {
    const { issuer, outcomeOf } = await setUp();
    const attacker = await startIssuer();
    const key = attacker.keys[0];
    const requests = issuer.requests.length;
    const headers = [
      { jwk: key?.jwk },
      { jku: `${attacker.url}/keys` },
      { x5u: `${attacker.url}/keys` },
      { x5c: ['MIIB'] },
      { kid: `${attacker.url}/keys` },
      { crit: ['exp'], exp: 1 },
      { crit: [] },
      { b64: false, crit: ['b64'] },
    ];
    for (const header of headers) {
      for (const kid of [undefined, issuer.keys[0]?.jwk.kid, key?.jwk.kid]) {
        const token = await attacker.sign({ iss: issuer.url }, { kid }, key).then((signed) => {
          const [, claims = '', signature = ''] = signed.split('.');
          return [`${encode({ alg: 'ES256', kid, typ: 'JWT', ...header })}`, claims, signature].join('.');
        });
        expect(await outcomeOf(token)).toBe('CREDENTIALS_INVALID');
      }
    }
    expect(attacker.requests).toEqual([]);
    expect(issuer.requests).toHaveLength(requests);
  });

  it('is refused if it asks for an extension that the server does not have', async () => {
    const { issuer, outcomeOf } = await setUp();
    const own = issuer.keys[0];
    if (own === undefined) throw new Error('no key');
    // Signed by the issuer itself, so that only the header is wrong.
    const signed = async (header: object) => {
      const input = `${encode({ alg: 'ES256', kid: own.jwk.kid, ...header })}.${encode({ iss: issuer.url, aud: 'roster', sub: 'x', exp: Math.floor(Date.now() / 1000) + 60 })}`;
      const signature = await crypto.subtle.sign(
        { name: 'ECDSA', hash: 'SHA-256' },
        own.privateKey,
        Buffer.from(input),
      );
      return `${input}.${Buffer.from(signature).toString('base64url')}`;
    };
    expect(await outcomeOf(await signed({}))).toBe('accepted');
    expect(await outcomeOf(await signed({ crit: ['http://example.com/ext'], 'http://example.com/ext': true }))).toBe(
      'CREDENTIALS_INVALID',
    );
    expect(await outcomeOf(await signed({ typ: ['JWT'] }))).toBe('CREDENTIALS_INVALID');
    expect(await outcomeOf(await signed({ alg: 'RS256' }))).toBe('CREDENTIALS_INVALID');
  });
});

describe('rubbish tokens', () => {
  it('do not delay the calls of other clients, and are not in the log', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    const server = await startTestServer({ getUser: async () => storedAda }, { access: identity });
    const request = GetUserRequest.encode(GetUserRequest.fromPartial({ id: ada.id })).finish();
    const call = (token: string) => {
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${token}`);
      return server.call('/users.v1.UserService/GetUser', request, metadata);
    };
    const [header, payload] = (await issuer.sign()).split('.');
    const signature = (index: number) => Buffer.alloc(64, `${index}-`).toString('base64url');
    const rubbish = Array.from({ length: 500 }, (_, index) => call(`${header}.${payload}.${signature(index)}`));
    expect((await call(await issuer.sign({ sub: 'other' }))).code).toBe('OK');
    const codes = new Set((await Promise.all(rubbish)).map(({ code }) => code));
    for (const code of codes) expect(['UNAUTHENTICATED', 'RESOURCE_EXHAUSTED']).toContain(code);
    const log = JSON.stringify(server.lines);
    expect(log).not.toContain(payload);
    expect(log).not.toContain(signature(7).slice(0, 20));
    expect(log).toContain('CREDENTIALS_INVALID');
  });
});
