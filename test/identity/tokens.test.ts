/** Tokens of issuers, from a gRPC client to the caller that a handler sees. */
import { Metadata } from '@grpc/grpc-js';
import { UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { GetUserRequest } from '../../generated/users/v1/user_service.js';
import { Fault } from '../../src/model/fault.js';
import { ada, startTestServer, storedAda } from '../rpc/harness.js';
import { createKey, identify, policyOf, reasonOf, startIdentity, startIssuer } from './issuer.js';

const getUser = '/users.v1.UserService/GetUser';
const request = GetUserRequest.encode(GetUserRequest.fromPartial({ id: ada.id })).finish();

function metadataOf(...authorizations: readonly string[]): Metadata {
  const metadata = new Metadata();
  for (const value of authorizations) metadata.add('authorization', value);
  return metadata;
}

describe('a server that requires credentials', () => {
  it('serves a call with a token, and none without', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    const server = await startTestServer({ getUser: async () => storedAda }, { access: identity });
    const token = await issuer.sign();
    const answer = (...values: readonly string[]) => server.call(getUser, request, metadataOf(...values));

    expect((await answer(`Bearer ${token}`)).code).toBe('OK');
    expect((await answer(`Bearer ${token}`)).code).toBe('OK');
    expect((await answer()).code).toBe('UNAUTHENTICATED');
    expect((await answer(`Bearer ${token}x`)).code).toBe('UNAUTHENTICATED');
    expect(server.callLines().map(({ reason }) => reason)).toEqual([
      undefined,
      undefined,
      'CREDENTIALS_MISSING',
      'CREDENTIALS_INVALID',
    ]);
    expect(JSON.stringify(server.lines)).not.toContain(token.slice(-20));
  });
});

describe('the field authorization', () => {
  it.each([
    ['no field', [], 'CREDENTIALS_MISSING'],
    ['another scheme', ['Basic dXNlcjpwYXNz'], 'CREDENTIALS_MISSING'],
    ['an empty field', [''], 'CREDENTIALS_MISSING'],
    ['an empty token', ['Bearer '], 'CREDENTIALS_INVALID'],
    ['only the scheme', ['bearer'], 'CREDENTIALS_INVALID'],
    ['two tokens in a field', ['Bearer a.b.c, Bearer a.b.c'], 'CREDENTIALS_INVALID'],
    ['a token after another scheme', ['Basic dXNlcjpwYXNz, Bearer a.b.c'], 'CREDENTIALS_INVALID'],
    ['a tab after the scheme', ['Bearer\ta.b.c'], 'CREDENTIALS_INVALID'],
    ['a space before the scheme', [' Bearer a.b.c'], 'CREDENTIALS_INVALID'],
    ['a comma after the scheme', ['Bearer, a.b.c'], 'CREDENTIALS_INVALID'],
    ['two fields', ['Bearer a.b.c', 'Basic abc'], 'CREDENTIALS_INVALID'],
    ['a large token', [`Bearer ${'a'.repeat(16 * 1024)}`], 'CREDENTIALS_INVALID'],
    ['a token with other characters', ['Bearer a.b.ü'], 'CREDENTIALS_INVALID'],
    ['a token that is no JWT', ['Bearer abc'], 'CREDENTIALS_INVALID'],
    ['an API key', ['Bearer roster_abc'], 'CREDENTIALS_INVALID'],
  ])('with %s is refused', async (_, values, reason) => {
    const { identity } = startIdentity(policyOf());
    expect(reasonOf(await identify(identity, ...values))).toBe(reason);
  });

  it('has a scheme in any case', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    const token = await issuer.sign();
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      expect(reasonOf(await identify(identity, `${scheme} ${token}`))).toBe('accepted');
    }
  });
});

describe('a token', () => {
  const nowSeconds = Math.floor(Date.now() / 1000);

  it.each<[string, Record<string, unknown>, string]>([
    ['nothing special', {}, 'accepted'],
    ['one of several audiences', { aud: ['other', 'roster'] }, 'accepted'],
    ['another audience', { aud: 'other' }, 'CREDENTIALS_INVALID'],
    ['a part of the audience', { aud: 'roster2' }, 'CREDENTIALS_INVALID'],
    ['no audience', { aud: undefined }, 'CREDENTIALS_INVALID'],
    ['an audience that is an object', { aud: { roster: true } }, 'CREDENTIALS_INVALID'],
    ['nested audiences', { aud: [['roster']] }, 'CREDENTIALS_INVALID'],
    ['another issuer', { iss: 'https://other.example' }, 'CREDENTIALS_INVALID'],
    ['no issuer', { iss: undefined }, 'CREDENTIALS_INVALID'],
    ['no expiry', { exp: undefined }, 'CREDENTIALS_INVALID'],
    ['an expiry that is a text', { exp: String(nowSeconds + 3600) }, 'CREDENTIALS_INVALID'],
    ['an expiry after the year 9999', { exp: 1e300 }, 'CREDENTIALS_INVALID'],
    ['an expiry within the clock skew', { exp: nowSeconds - 10 }, 'accepted'],
    ['an expiry before the clock skew', { exp: nowSeconds - 40 }, 'CREDENTIALS_EXPIRED'],
    ['a start within the clock skew', { nbf: nowSeconds + 10 }, 'accepted'],
    ['a start in the future', { nbf: nowSeconds + 3600 }, 'CREDENTIALS_INVALID'],
    ['a start that is a text', { nbf: '0' }, 'CREDENTIALS_INVALID'],
  ])('with %s', async (_, claims, reason) => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign(claims)}`))).toBe(reason);
  });

  it.each([
    ['at+jwt', 'accepted'],
    ['application/AT+JWT', 'accepted'],
    ['logout+jwt', 'CREDENTIALS_INVALID'],
    ['dpop+jwt', 'CREDENTIALS_INVALID'],
    ['', 'CREDENTIALS_INVALID'],
  ])('of type "%s"', async (typ, reason) => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign({}, { typ })}`))).toBe(reason);
  });

  it.each(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'])('may be signed with %s', async (alg) => {
    const issuer = await startIssuer();
    issuer.keys.push(await createKey(alg));
    const { identity } = startIdentity(policyOf(issuer.config()));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('accepted');
  });

  it('with an algorithm that the issuer must not use is refused', async () => {
    const issuer = await startIssuer();
    issuer.keys.push(await createKey('ES384'));
    const { identity } = startIdentity(policyOf(issuer.config({ algorithms: ['RS256'] })));
    expect(reasonOf(await identify(identity, `Bearer ${await issuer.sign()}`))).toBe('CREDENTIALS_INVALID');
  });

  it('without a signature is refused', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config({ algorithms: ['none', 'ES256'] })));
    const token = new UnsecuredJWT({ aud: 'roster' }).setIssuer(issuer.url).setExpirationTime('1h').encode();
    expect(reasonOf(await identify(identity, `Bearer ${token}`))).toBe('CREDENTIALS_INVALID');
    expect(reasonOf(await identify(identity, `Bearer ${token}AA`))).toBe('CREDENTIALS_INVALID');
  });

  it('without a key id is checked with each key that fits', async () => {
    const issuer = await startIssuer();
    issuer.keys.push(await createKey(), await createKey('RS256'));
    const { identity } = startIdentity(policyOf(issuer.config()));
    for (const key of issuer.keys) {
      const token = await issuer.sign({}, { kid: undefined }, key);
      expect(reasonOf(await identify(identity, `Bearer ${token}`))).toBe('accepted');
    }
    const foreign = await issuer.sign({}, { kid: undefined }, await createKey());
    expect(reasonOf(await identify(identity, `Bearer ${foreign}`))).toBe('CREDENTIALS_INVALID');
  });

  it('of one issuer is not accepted from another', async () => {
    const one = await startIssuer();
    const two = await startIssuer();
    const { identity } = startIdentity(policyOf(one.config({ name: 'one' }), two.config({ name: 'two' })));
    const forged = await one.sign({ iss: two.url }, { kid: two.keys[0]?.jwk.kid });
    expect(reasonOf(await identify(identity, `Bearer ${forged}`))).toBe('CREDENTIALS_INVALID');
    expect(reasonOf(await identify(identity, `Bearer ${await one.sign()}`))).toBe('accepted');
  });

  it('is not accepted after it has expired, although it was verified before', async () => {
    const issuer = await startIssuer();
    const { identity } = startIdentity(policyOf(issuer.config({ clockSkewSeconds: 0 })));
    const authorization = `Bearer ${await issuer.sign({ exp: Math.floor(Date.now() / 1000) + 2 })}`;
    const caller = await identify(identity, authorization);
    if (caller instanceof Fault) throw caller;
    expect(identity.endOf(caller)).toBeUndefined();
    await expect
      .poll(async () => reasonOf(await identify(identity, authorization)), { timeout: 10_000 })
      .toBe('CREDENTIALS_EXPIRED');
    expect(identity.endOf(caller)?.reason).toBe('CREDENTIALS_EXPIRED');
  });
});
