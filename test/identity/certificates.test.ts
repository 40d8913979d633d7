/** The names in client certificates. A client that may choose one of its names must not get another one by it. */
import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { cryptoProvider, Name, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { certificateSubject } from '../../src/identity/certificates.js';
import { Fault } from '../../src/model/fault.js';
import { callerOf, policyOf, reasonOf, startIdentity } from './issuer.js';

cryptoProvider.set(crypto);
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);

interface Names {
  readonly type: 'url' | 'dns' | 'email';
  readonly value: string;
}

async function certificateOf(
  names: readonly Names[],
  commonNames: readonly string[] = [],
  notAfter = new Date('2049-12-31T00:00:00Z'),
): Promise<PeerCertificate> {
  const made = await X509CertificateGenerator.createSelfSigned({
    name: new Name(commonNames.map((name) => ({ CN: [{ utf8String: name }] }))),
    notBefore: new Date('2020-01-01'),
    notAfter,
    keys,
    signingAlgorithm: algorithm,
    extensions: names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...names])],
  });
  // As a TLS socket returns it.
  return new X509Certificate(Buffer.from(made.rawData)).toLegacyObject() as PeerCertificate;
}

const namesOf = async (...args: Parameters<typeof certificateOf>) =>
  certificateSubject(await certificateOf(...args)).names;

const spiffe = 'spiffe://example.com/billing';

describe('a client certificate', () => {
  it('has the names of SPIFFE, of hosts and of its subject, in this order', async () => {
    const names: Names[] = [
      { type: 'dns', value: 'Billing.example.com' },
      { type: 'email', value: 'a@example.com' },
      { type: 'url', value: spiffe },
    ];
    expect(await namesOf(names, ['billing'])).toEqual([spiffe, 'dns:billing.example.com', 'subject:CN=billing']);
  });

  it('has no other URI than a SPIFFE ID', async () => {
    const values = ['https://example.com/a', 'spiffe://example.com/a/../b', 'spiffe://example.com/./b', 'spiffe://A/b'];
    const names = values.map((value): Names => ({ type: 'url', value }));
    expect(await namesOf([...names, { type: 'url', value: 'spiffe://example.com/..a/b.' }], ['billing'])).toEqual([
      'spiffe://example.com/..a/b.',
      'subject:CN=billing',
    ]);
  });

  it('expires', async () => {
    const certificate = await certificateOf([], ['billing'], new Date('2030-01-01T00:00:00Z'));
    expect(certificateSubject(certificate).expiresMs).toBe(Date.parse('2030-01-01T00:00:00Z'));
  });

  it.each([
    ['a comma', `https://evil.example/, URI:${spiffe}`],
    ['a quote and a comma', `https://evil.example/", URI:${spiffe}`],
    ['a backslash', `https://evil.example/\\", URI:${spiffe}`],
    ['a line break', `https://evil.example/\nURI:${spiffe}`],
    ['a NUL', `${spiffe}\0.evil.example`],
    ['a space', `${spiffe} x`],
  ])('cannot have another name by %s in one', async (_, value) => {
    for (const type of ['url', 'dns', 'email'] as const) {
      expect(await namesOf([{ type, value }])).not.toContain(spiffe);
    }
    const names = await namesOf([], [`evil\nCN=billing`, value]);
    expect(names).toEqual([]);
  });

  it.each(['billing\nCN=admin', 'billing, CN=admin', 'bill\0ing', ' billing', 'a+CN=b', ''])(
    'has no subject of the common name %j',
    async (name) => {
      expect(await namesOf([], [name])).toEqual([]);
    },
  );

  it('has no subject of several common names', async () => {
    expect(await namesOf([], ['billing', 'admin'])).toEqual([]);
  });

  it('has only names that are in it', async () => {
    const part = fc.constantFrom(
      ', ',
      ',',
      '"',
      '\\',
      ':',
      'URI:',
      'DNS:',
      spiffe,
      '\n',
      '\0',
      'a',
      '.',
      '=',
      'CN=x',
      ' ',
    );
    const value = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(''));
    const name = fc.record({ type: fc.constantFrom('url', 'dns', 'email'), value });
    await fc.assert(
      fc.asyncProperty(
        fc.array(name, { maxLength: 4 }),
        fc.array(value, { maxLength: 2 }),
        async (names, commonNames) => {
          const actual = [
            ...names.filter(({ type }) => type === 'url').map((each) => each.value),
            ...names.filter(({ type }) => type === 'dns').map((each) => `dns:${each.value.toLowerCase()}`),
            ...(commonNames.length === 1 ? [`subject:CN=${commonNames[0]}`] : []),
          ];
          for (const found of await namesOf(names, commonNames)) expect(actual).toContain(found);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a connection with a client certificate', () => {
  it('is read once, and expires while it is open', async () => {
    let nowMs = Date.parse('2029-12-31T23:59:59Z');
    const certificate = await certificateOf([], ['billing'], new Date('2030-01-01T00:00:00Z'));
    let reads = 0;
    const connection = {
      peer: '127.0.0.1:1',
      host: '127.0.0.1',
      heldBytes: 0,
      certificate() {
        reads++;
        return certificate;
      },
    };
    const { identity } = startIdentity(policyOf(), { nowMs: () => nowMs });
    const call = { fields: [], connection, peer: connection.peer };
    const first = await identity.identify(call);
    if (first instanceof Fault) throw first;
    expect(first.actor).toBe('subject:CN=billing');
    expect(await identity.identify(call)).toBe(first);
    expect(identity.endOf(first)).toBeUndefined();
    nowMs += 2000;
    expect(reasonOf(await identity.identify(call))).toBe('CREDENTIALS_EXPIRED');
    expect(identity.endOf(first)?.reason).toBe('CREDENTIALS_EXPIRED');
    expect(reads).toBe(1);
  });

  it('does not save a call with a bad token', async () => {
    const certificate = await certificateOf([], ['billing']);
    const connection = { peer: '127.0.0.1:1', host: '127.0.0.1', heldBytes: 0, certificate: () => certificate };
    const { identity } = startIdentity({ ...policyOf(), callerOf });
    const fields = ['authorization', 'Bearer a.b.c'];
    expect(reasonOf(await identity.identify({ fields, connection, peer: connection.peer }))).toBe(
      'CREDENTIALS_INVALID',
    );
    const basic = ['authorization', 'Basic abc', 'x-forwarded-client-cert', 'URI=spiffe://example.com/admin'];
    const found = await identity.identify({ fields: basic, connection, peer: connection.peer });
    expect(found instanceof Fault ? found : found.actor).toBe('subject:CN=billing');
  });
});
