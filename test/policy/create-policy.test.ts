import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { Caller, Condition, Subject } from '../../src/model/caller.js';
import { parseAccessFile } from '../../src/policy/access-file.js';
import { createPolicy } from '../../src/policy/create-policy.js';

const actorSecret = randomBytes(32);
const policyOf = (text?: string) =>
  createPolicy(text === undefined ? undefined : parseAccessFile(text, tmpdir()), { actorSecret });

const token = (claims: Record<string, unknown>, issuer = 'corp'): Subject => ({
  kind: 'token',
  issuer,
  claims: { sub: '4711', ...claims },
  expiresMs: 1,
});
const certificate = (...names: string[]): Subject => ({ kind: 'certificate', names, expiresMs: 2 });
const key = (name: string, ...roles: string[]): Subject => ({ kind: 'key', name, roles });

const methodsOf = ({ permissions }: Caller) =>
  [...permissions.methods.keys()].map((path) => path.slice(path.lastIndexOf('/') + 1));
const permissionOf = ({ permissions }: Caller, method: string) =>
  permissions.methods.get(`/users.v1.UserService/${method}`);
const conditionsOf = (caller: Caller, method: string): readonly Condition[] => {
  const permission = permissionOf(caller, method);
  return permission === undefined || permission === 'always' ? [] : permission;
};

const reads = [
  'GetCaller',
  'GetUser',
  'GetUserByEmail',
  'ListUsers',
  'BatchGetUsers',
  'ResolveUsers',
  'ListUserChanges',
];
const writes = ['CreateUser', 'BatchCreateUsers', 'UpdateUser', 'DeleteUser', 'CreateProfile'];
const bulks = ['ImportUsers', 'ExportUsers', 'WatchUsers'];

const issuers = `
issuers:
  - {name: corp, issuer: https://a/, audience: roster}
  - {name: other, issuer: https://b/, audience: roster, actor_claim: person.id}
`;

describe('a policy without an access file', () => {
  it('gives keys their roles, and every certificate all', () => {
    const policy = policyOf();
    expect(methodsOf(policy.callerOf(key('a')))).toEqual(['GetCaller']);
    expect(methodsOf(policy.callerOf(key('a', 'reader')))).toEqual(reads);
    expect(methodsOf(policy.callerOf(key('a', 'writer')))).toEqual([...reads, ...writes]);
    expect(methodsOf(policy.callerOf(key('a', 'bulk')))).toEqual(['GetCaller', ...bulks]);
    expect(methodsOf(policy.callerOf(certificate('dns:a')))).toEqual([...reads, ...writes, ...bulks]);
    expect([...policy.callerOf(key('a', 'admin')).roles].sort()).toEqual(['admin', 'bulk', 'reader', 'writer']);
  });

  it('gives tokens and unknown roles nothing', () => {
    expect(methodsOf(policyOf().callerOf(token({})))).toEqual(['GetCaller']);
    expect(methodsOf(policyOf().callerOf(key('a', 'hr', 'constructor')))).toEqual(['GetCaller']);
  });
});

describe('a policy', () => {
  it('gives a certificate or a token nothing that no entry says', () => {
    const policy = policyOf(`${issuers}
callers:
  - {certificate: dns:a, role: reader}`);
    expect(methodsOf(policy.callerOf(certificate('dns:b', 'subject:CN=a')))).toEqual(['GetCaller']);
    expect(methodsOf(policy.callerOf(token({ roles: ['admin'] })))).toEqual(['GetCaller']);
    expect(methodsOf(policy.callerOf(certificate('spiffe://x/y', 'dns:A')))).toEqual(reads);
  });

  it('combines all matching entries', () => {
    const policy = policyOf(`${issuers}
roles: {hr: [reader], loader: bulk}
callers:
  - {issuer: corp, claims: {groups: people}, role: hr}
  - {issuer: corp, role: loader}
  - {issuer: other, role: admin}
  - {key: a, role: hr}`);
    const both = policy.callerOf(token({ groups: ['x', 'people'] }));
    expect(methodsOf(both)).toEqual([...reads, ...bulks]);
    expect([...both.roles].sort()).toEqual(['bulk', 'hr', 'loader', 'reader']);
    expect(methodsOf(policy.callerOf(token({ groups: 'people ' })))).toEqual(['GetCaller', ...bulks]);
    expect(methodsOf(policy.callerOf(key('a', 'bulk')))).toEqual([...reads, ...bulks]);
    expect(methodsOf(policy.callerOf(key('b', 'loader')))).toEqual(['GetCaller', ...bulks]);
  });

  it.each([
    [{ groups: 'sales' }, true],
    [{ groups: ['x', 'sales'] }, true],
    [{ groups: [['sales']] }, false],
    [{ groups: { sales: true } }, false],
    [{ groups: 'sales, other' }, false],
    [{}, false],
  ])('finds the claim of %o: %s', (claims, expected) => {
    const policy = policyOf(`${issuers}\ncallers: [{issuer: corp, claims: {groups: sales}, role: reader}]`);
    expect(permissionOf(policy.callerOf(token(claims)), 'GetUser') === 'always').toBe(expected);
  });

  it('requires every claim, and finds nested ones and ones with dots', () => {
    const policy = policyOf(`${issuers}
callers: [{issuer: corp, claims: {realm.roles: a, https://example.com/x: 3}, role: reader}]`);
    const isReader = (claims: Record<string, unknown>) => methodsOf(policy.callerOf(token(claims))).includes('GetUser');
    expect(isReader({ realm: { roles: ['a'] }, 'https://example.com/x': 3 })).toBe(true);
    expect(isReader({ 'realm.roles': 'a', 'https://example.com/x': [3] })).toBe(true);
    expect(isReader({ realm: { roles: ['a'] } })).toBe(false);
    expect(isReader({ realm: { roles: ['a'] }, 'https://example.com/x': '3' })).toBe(false);
    const inherited = policyOf(
      `${issuers}\ncallers: [{issuer: corp, claims: {constructor.name: Object}, role: reader}]`,
    );
    expect(methodsOf(inherited.callerOf(token({})))).toEqual(['GetCaller']);
  });

  it.each([
    ['spiffe://example.com/*', 'spiffe://example.com/a', true],
    ['spiffe://example.com/*', 'spiffe://example.com/a/b', true],
    ['spiffe://example.com/*', 'spiffe://example.com/', false],
    ['spiffe://example.com/*', 'spiffe://example.com.evil.example/a', false],
    ['spiffe://example.com/a', 'spiffe://example.com/ab', false],
    ['subject:CN=a', 'subject:CN=a', true],
    ['subject:CN=a', 'subject:CN=a,O=b', false],
    ['dns:a.example', 'dns:b.a.example', false],
  ])('matches %s with %s: %s', (pattern, name, expected) => {
    const policy = policyOf(`callers: [{certificate: "${pattern}", role: reader}]`);
    expect(methodsOf(policy.callerOf(certificate(name))).includes('GetUser')).toBe(expected);
  });

  it('opens a method always if one entry has no condition', () => {
    const policy = policyOf(`${issuers}
callers:
  - {issuer: corp, role: writer, when: method == "GetUser"}
  - {issuer: corp, role: reader}`);
    const caller = policy.callerOf(token({}));
    expect(permissionOf(caller, 'GetUser')).toBe('always');
    expect(conditionsOf(caller, 'UpdateUser')).toHaveLength(1);
    expect([...caller.roles]).toEqual(['reader']);
  });

  it('opens only single writes and imports by a condition on user', () => {
    const policy = policyOf(`${issuers}
callers: [{issuer: corp, role: admin, when: user.attributes.department == "sales"}]`);
    const caller = policy.callerOf(token({}));
    expect(methodsOf(caller).sort()).toEqual(['GetCaller', ...writes, 'ImportUsers'].sort());
    expect(caller.roles).toEqual(new Set());
  });

  it('hides and protects attributes by the roles without a condition', () => {
    const policy = policyOf(`${issuers}
roles: {hr: [reader, writer]}
callers:
  - {issuer: corp, claims: {team: hr}, role: hr}
  - {issuer: corp, claims: {team: sales}, role: hr, when: method == "GetUser"}
  - {key: a, role: admin}
attributes:
  salary: {read: [hr], write: [hr]}
  secret: {read: hr}
  title: {write: [hr, admin]}`);
    const rulesOf = ({ permissions }: Caller) => [
      [...permissions.hiddenAttributes],
      [...permissions.protectedAttributes],
    ];
    expect(rulesOf(policy.callerOf(token({ team: 'hr' })))).toEqual([[], []]);
    expect(rulesOf(policy.callerOf(token({ team: 'sales' })))).toEqual([
      ['salary', 'secret'],
      ['salary', 'secret', 'title'],
    ]);
    // An admin must be listed too.
    expect(rulesOf(policy.callerOf(key('a')))).toEqual([
      ['salary', 'secret'],
      ['salary', 'secret'],
    ]);
  });
});

describe('an actor', () => {
  it('is the issuer and a claim, the name of the key, or the first name of the certificate', () => {
    const policy = policyOf(issuers);
    expect(policy.callerOf(token({})).actor).toBe('corp:4711');
    expect(policy.callerOf(token({ person: { id: 12 } }, 'other')).actor).toBe('other:12');
    expect(policy.callerOf(token({}, 'other')).actor).toBe('other:unknown');
    expect(policy.callerOf(key('billing')).actor).toBe('key:billing');
    expect(policy.callerOf(certificate('spiffe://example.com/billing', 'dns:a')).actor).toBe(
      'spiffe://example.com/billing',
    );
    expect(policy.callerOf(certificate('subject:CN=billing,O=x')).actor).toBe('subject:CN=billing,O=x');
    expect(policy.callerOf(certificate()).actor).toBe('subject:unknown');
  });

  it.each([
    token({ sub: 'ada@example.com' }),
    token({ sub: 'ada\nevil' }),
    token({ sub: 'Ädä' }),
    token({ sub: 'x'.repeat(300) }),
    token({ sub: 'h-0123456789abcdef' }),
    certificate('subject:emailAddress=ada@example.com'),
    certificate('spiffe://example.com/ada@example.com'),
  ])('has a keyed hash instead of a name that may be personal data, too long, or a hash: %#', (subject) => {
    const { actor } = policyOf(issuers).callerOf(subject);
    expect(actor).toMatch(/^(?:corp:|subject:|spiffe:\/\/)h-[0-9a-f]{16}$/);
    expect(policyOf(issuers).callerOf(subject).actor).toBe(actor);
    const elsewhere = createPolicy(undefined, { actorSecret: randomBytes(32) }).callerOf(subject).actor;
    expect(elsewhere).not.toBe(actor);
    expect(actor).not.toContain('0123456789abcdef');
  });
});
