import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { AccessFileError, parseAccessFile, readAccessFile } from '../../src/policy/access-file.js';

function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-access-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  return folder;
}

function problemsOf(text: string, folder = tmpdir()): readonly string[] {
  try {
    parseAccessFile(text, folder);
  } catch (error) {
    if (error instanceof AccessFileError) return error.problems;
    throw error;
  }
  return [];
}

const issuer = '{name: corp, issuer: "https://login.example.com/", audience: roster}';

describe('an access file', () => {
  it('may have everything', () => {
    const folder = folderWith({ 'keys.json': '{}', 'ca.pem': '', token: '' });
    const text = `
issuers:
  - name: corp
    issuer: https://login.example.com/
    audience: roster
    jwks: https://login.example.com/keys
    algorithms: [RS256, ES256]
    clock_skew_seconds: 60
    actor_claim: employee.id
    ca: ca.pem
    token_file: ${path.join(folder, 'token')}
  - name: cluster
    issuer: kubernetes/serviceaccount
    audience: [roster, other]
    jwks_file: keys.json
roles:
  hr: [reader, writer]
  payroll: []
callers:
  - issuer: corp
    claims: { groups: people-team, level: 3, a.b: true }
    role: hr
  - certificate: spiffe://example.com/billing/*
    role: [reader, payroll]
    when: method == "GetUser"
  - key: billing
    role: bulk
attributes:
  salary: { read: [hr, admin], write: hr }
  cost center: { write: admin }
sign_in:
  { issuer: corp, client_id: roster-page, audience: roster, connect_origins: [https://token.example.com] }
`;
    const file = parseAccessFile(text, folder);
    expect(file.issuers).toEqual([
      {
        name: 'corp',
        issuer: 'https://login.example.com/',
        audiences: ['roster'],
        jwksUrl: 'https://login.example.com/keys',
        algorithms: ['RS256', 'ES256'],
        clockSkewSeconds: 60,
        actorClaim: 'employee.id',
        caFile: path.join(folder, 'ca.pem'),
        tokenFile: path.join(folder, 'token'),
      },
      {
        name: 'cluster',
        issuer: 'kubernetes/serviceaccount',
        audiences: ['roster', 'other'],
        jwksFile: path.join(folder, 'keys.json'),
        algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
        clockSkewSeconds: 30,
        actorClaim: 'sub',
      },
    ]);
    expect(file.roles).toEqual(
      new Map([
        ['hr', ['reader', 'writer']],
        ['payroll', []],
      ]),
    );
    expect(file.callers.map(({ match }) => match)).toEqual([
      {
        kind: 'token',
        issuer: 'corp',
        claims: new Map<string, unknown>([
          ['groups', 'people-team'],
          ['level', 3],
          ['a.b', true],
        ]),
      },
      { kind: 'certificate', pattern: 'spiffe://example.com/billing/*' },
      { kind: 'key', name: 'billing' },
    ]);
    expect(file.callers.map(({ roles, condition }) => [roles, condition !== undefined])).toEqual([
      [['hr'], false],
      [['reader', 'payroll'], true],
      [['bulk'], false],
    ]);
    expect(file.attributes).toEqual(
      new Map([
        ['salary', { read: ['hr', 'admin'], write: ['hr'] }],
        ['cost center', { write: ['admin'] }],
      ]),
    );
    expect(file.signIn).toEqual({
      issuer: 'corp',
      clientId: 'roster-page',
      scope: 'openid',
      audience: 'roster',
      connectOrigins: ['https://token.example.com'],
    });
  });

  it('may have no rules, and may be JSON, but must not be empty', () => {
    for (const text of ['', '# a comment', '---']) expect(problemsOf(text).join()).toContain('must not be empty');
    expect(parseAccessFile('{}', tmpdir())).toMatchObject({ issuers: [], callers: [], attributes: new Map() });
    expect(parseAccessFile('{"callers": [{"key": "a", "role": "reader"}]}', tmpdir()).callers).toHaveLength(1);
  });

  it('reports all problems at once, each with its path', () => {
    const text = `
issuers:
  - ${issuer.replace('}', ', algorithms: [HS256, none, RS256], clock_skew_seconds: 301}')}
  - {name: Corp!, issuer: nowhere, audience: [], jwks: "ftp://x", jwks_file: missing.json}
roles:
  admin: reader
  own: [hr]
callers:
  - {issuer: other, role: boss}
  - {certificate: "spiffe://example.com/b*", key: x, role: own}
  - {key: x, claims: {a: b}, role: own, when: user.attributes.department = 3}
  - {key: x, role: own, when: user.email == 3, unless: true}
  - {key: x}
attributes:
  salary: {}
  iban: {read: nobody}
sign_in: {issuer: corp}
`;
    expect(problemsOf(text)).toEqual([
      'In the access file, issuers[0].algorithms[0] must be an algorithm with public keys: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519.',
      'In the access file, issuers[0].algorithms[1] must be an algorithm with public keys: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519.',
      'In the access file, issuers[0].clock_skew_seconds must be at most 300.',
      'In the access file, issuers[1].name must have 1 to 32 of a-z, 0-9 and -.',
      'In the access file, issuers[1].audience must have at least one audience.',
      'In the access file, issuers[1].jwks must be an https URL, or an http URL of this machine.',
      `In the access file, issuers[1].jwks_file must be a file that can be read; ${tmpdir()}/missing.json cannot.`,
      'In the access file, issuers[1].jwks_file must not be set together with jwks.',
      'In the access file, roles.admin must not be the name of a built-in role.',
      'In the access file, roles.own[0] must be a built-in role: reader, writer, bulk, admin.',
      'In the access file, callers[0].issuer must be the name of an issuer: corp, Corp!.',
      'In the access file, callers[0].role[0] must be a role: reader, writer, bulk, admin, own.',
      'In the access file, callers[1].certificate must be spiffe://TRUST-DOMAIN/PATH, dns:NAME or subject:CN=NAME; only a path of spiffe may end with /*.',
      'In the access file, callers[1] must have exactly one of issuer, certificate and key.',
      'In the access file, callers[2].when must be a CEL expression, as in user.attributes.department == "sales".',
      'In the access file, callers[3].when must not compare a string with a number (at character 15).',
      'In the access file, callers[3] must not have the key "unless"; allowed are issuer, claims, certificate, key, role, when.',
      'In the access file, callers[4].role is required.',
      'In the access file, attributes.salary must have read, write or both.',
      'In the access file, attributes.iban.read[0] must be a role: reader, writer, bulk, admin, own.',
      'In the access file, sign_in.client_id is required.',
    ]);
  });

  it('names the top level', () => {
    expect(problemsOf('issuer: corp')).toEqual([
      'In the access file, the top level must not have the key "issuer"; allowed are issuers, roles, callers, attributes, sign_in.',
    ]);
  });

  it.each([
    'spiffe://*',
    'spiffe:///*',
    'spiffe://example.com/*/a',
    'spiffe://Example.com/a',
    'dns:*.example.com',
    'subject:billing',
    'subject:O=billing',
    'subject:CN=*',
    'https://example.com/a',
  ])('refuses the certificate %j, which would match everything or nothing', (name) => {
    expect(problemsOf(`callers: [{certificate: "${name}", role: reader}]`).join()).toContain('must be spiffe://');
  });

  it.each([
    ['key', 'issuers[0].name must not be'],
    ['spiffe', 'issuers[0].name must not be'],
  ])('refuses the issuer name %s, which begins the actors of others', (name, problem) => {
    expect(problemsOf(`issuers: [${issuer.replace('corp', name)}]`).join()).toContain(problem);
  });

  it('refuses two issuers with one name or one URL', () => {
    expect(problemsOf(`issuers: [${issuer}, ${issuer}]`)).toEqual([
      'In the access file, issuers[1].name must be different for each issuer.',
      'In the access file, issuers[1].issuer must be different for each issuer.',
    ]);
  });

  it('fetches keys by HTTPS only, except from this machine', () => {
    const withUrl = (url: string) => problemsOf(`issuers: [{name: a, issuer: a, audience: a, jwks: "${url}"}]`);
    expect(withUrl('http://login.example.com/keys').join()).toContain('issuers[0].jwks must be an https URL');
    expect(withUrl('https://user:secret@login.example.com/keys')).toHaveLength(1);
    for (const url of ['https://a/', 'http://localhost:80/', 'http://127.0.0.1/', 'http://[::1]/']) {
      expect(withUrl(url)).toEqual([]);
    }
    expect(problemsOf('issuers: [{name: a, issuer: "http://a/", audience: a}]').join()).toContain('issuers[0].issuer');
  });

  it('lets the page reach origins only, and by HTTPS only', () => {
    const withOrigin = (origin: string) =>
      problemsOf(
        `issuers: [${issuer}]\nsign_in: {issuer: corp, client_id: page, connect_origins: [${JSON.stringify(origin)}]}`,
      );
    for (const origin of ['https://token.example.com', 'https://a:8443', 'http://localhost:9000', 'http://[::1]:90']) {
      expect(withOrigin(origin)).toEqual([]);
    }
    const forms = ['*', 'https:', 'https://*.example.com', 'http://a', 'https://a/', 'https://a/token', 'https://a;b'];
    for (const origin of [...forms, 'https://user@a', 'https://A', "'unsafe-eval'", 'https://a:443']) {
      expect(withOrigin(origin).join(), origin).toContain('sign_in.connect_origins[0] must be the origin');
    }
  });

  it.each([
    ['a key that is there twice', 'roles: {a: reader}\nroles: {b: reader}', 'line 2: Map keys must be unique'],
    ['__proto__', 'attributes: {__proto__: {read: admin}}', 'the key __proto__ is not allowed'],
    ['a number as a key', 'attributes: {007: {read: admin}}', 'the key 007 needs quotes'],
    ['aliases', 'roles: {a: &x [reader], b: *x}', 'aliases (*name) are not allowed'],
    ['a text', 'hello', 'must be a mapping with some of the keys issuers'],
    ['invalid YAML', 'a: [', 'line 1'],
    ['custom tags', 'roles: !!js/function 3', 'roles must be a mapping'],
  ])('refuses %s', (_, text, problem) => {
    expect(problemsOf(text).join('\n')).toContain(problem);
  });

  it('refuses a condition on user for roles that only read', () => {
    const withRole = (role: string) =>
      problemsOf(`
roles: {hr: [reader], own: writer}
callers: [{key: x, role: ${role}, when: user.email == "x"}]`).join();
    for (const role of ['reader', '[reader, hr]'])
      expect(withRole(role)).toContain('callers[0].when must not read user');
    for (const role of ['writer', 'own', '[reader, bulk]']) expect(withRole(role)).toBe('');
  });

  it('has at most 1 MiB, and at most 50 problems are listed', () => {
    const folder = folderWith({ large: ' '.repeat(1024 * 1024 + 1) });
    expect(() => readAccessFile(path.join(folder, 'large'))).toThrow(/more than 1048576 bytes/);
    expect(() => readAccessFile(path.join(folder, 'missing'))).toThrow(/cannot be read: ENOENT/);
    const many = problemsOf(`callers: [${'{key: x},'.repeat(60)}]`);
    expect(many).toHaveLength(51);
    expect(many.at(-1)).toBe('The access file has 10 more problems.');
  });
});
