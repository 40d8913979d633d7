/** `roster token` and `roster cert`, with the libraries and handshakes that verify what they make. */
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { roster } from './command-line.js';

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'roster-development-')), 'keys');
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const read = (name: string) => readFile(join(folder, name), 'utf8');

async function expectPrivate(): Promise<void> {
  const names = await readdir(folder);
  expect(names.length).toBeGreaterThan(0);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  for (const name of names) expect([name, (await stat(join(folder, name))).mode & 0o777]).toEqual([name, 0o600]);
}

describe('roster token', () => {
  const token = (...args: string[]) => roster(['token', ...args, '--issuer-folder', folder]);
  const verify = async (text: string) => {
    const keys = createLocalJWKSet(JSON.parse(await read('jwks.json')) as JSONWebKeySet);
    return jwtVerify(text.trim(), keys, { issuer: 'https://issuer.invalid/', audience: 'roster' });
  };

  it('prints a token that the keys of the access file verify', async () => {
    const { code, out, err } = await token('--subject', 'ada', '--claims', '{"groups":["people-team"]}');
    expect(code).toBe(0);
    expect(err).toContain(`ACCESS_FILE=`);
    const { payload, protectedHeader } = await verify(out);
    expect(protectedHeader.alg).toBe('ES256');
    expect(payload).toMatchObject({ sub: 'ada', groups: ['people-team'] });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600);
    const access = parse(await read('access.yaml'));
    expect(access.issuers).toEqual([
      { name: 'dev', issuer: 'https://issuer.invalid/', audience: 'roster', jwks_file: 'jwks.json' },
    ]);
    expect(access.callers).toContainEqual({ issuer: 'dev', claims: { roles: 'bulk' }, role: 'bulk' });
    await expectPrivate();
  });

  it('keeps the issuer, and never publishes the private key', async () => {
    const first = await token('--subject', 'ada');
    await writeFile(join(folder, 'access.yaml'), 'callers: []');
    const second = await token('--subject', 'grace', '--role', 'reader', '--role', 'bulk', '--expires', '90s');
    expect(second).toMatchObject({ code: 0, err: '' });
    expect((await verify(first.out)).payload.sub).toBe('ada');
    const { payload } = await verify(second.out);
    expect(payload.roles).toEqual(['reader', 'bulk']);
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(90);
    expect(await read('access.yaml')).toBe('callers: []');
    expect(Object.keys(JSON.parse(await read('jwks.json')).keys[0])).not.toContain('d');
  });

  it('refuses a key that others can read', async () => {
    await token('--subject', 'ada');
    await chmod(join(folder, 'private-key.json'), 0o640);
    expect(await token('--subject', 'ada')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/Other users can read .*chmod 600/),
    });
  });

  it.each([
    [['--claims', '[]'], 'must be a JSON object'],
    [['--claims', '{"sub":"x"}'], 'The claim sub has a flag of its own'],
    [['--claims', '{"roles":["x"]}', '--role', 'reader'], 'The claim roles has a flag of its own'],
    [['--expires', '0s'], 'such as 30m'],
    [['--expires', 'tomorrow'], 'such as 30m'],
  ])('refuses %j', async (args, problem) => {
    const { code, out, err } = await token('--subject', 'ada', ...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(problem);
  });

  it('needs a subject', async () => {
    expect(await token()).toMatchObject({ code: 2, out: '' });
  });
});

describe('roster cert', () => {
  const cert = (...args: string[]) => roster(['cert', ...args, '--folder', folder]);

  /** Connects with mutual TLS. Resolves with the names in the client's certificate, or why it is invalid. */
  async function handshake(client: string, options: { servername?: string; host?: string } = {}): Promise<string> {
    const [ca, serverCert, serverKey] = await Promise.all(['ca.pem', 'server.pem', 'server-key.pem'].map(read));
    const server = createServer({ ca, cert: serverCert, key: serverKey, requestCert: true, rejectUnauthorized: false });
    const accepted = new Promise<TLSSocket>((resolve) => server.once('secureConnection', resolve));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const files = { ca, cert: await read(`${client}.pem`), key: await read(`${client}-key.pem`) };
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', ...files, ...options });
    try {
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
      const peer = await accepted;
      return peer.authorized ? (peer.getPeerCertificate().subjectaltname ?? '') : String(peer.authorizationError);
    } finally {
      socket.destroy();
      server.close();
    }
  }

  it('makes certificates with which a server and a client trust each other', async () => {
    const made = await cert('server', '--host', 'roster.example');
    expect(made).toMatchObject({ code: 0, err: expect.stringMatching(/^Created an authority for development/) });
    expect(made.out).toMatch(/TLS_CERT=\S*server\.pem\n {2}TLS_KEY=\S*server-key\.pem\n {2}TLS_CLIENT_CA=\S*ca\.pem/);
    const client = await cert('client', '--uri', 'spiffe://example.com/billing');
    expect(client).toMatchObject({ code: 0, err: '' });
    expect(client.out).toMatch(/ROSTER_CERT=\S*billing\.pem\n {2}ROSTER_KEY=\S*billing-key\.pem/);
    expect(client.out).toContain('certificate: "spiffe://example.com/billing"');
    expect(await handshake('billing')).toBe('URI:spiffe://example.com/billing');
    expect(await handshake('billing', { servername: 'roster.example' })).toContain('billing');
    await expect(handshake('billing', { servername: 'other.example' })).rejects.toThrow('other.example');
    expect((await cert('client', '--dns', 'shop.example.com')).out).toContain('certificate: "dns:shop.example.com"');
    expect(await handshake('shop.example.com')).toBe('DNS:shop.example.com');
    await expectPrivate();
  });

  it('replaces no file without --force, and never the authority', async () => {
    await cert('server');
    await cert('client', '--common-name', 'billing');
    const [ca, before] = [await read('ca.pem'), await read('billing.pem')];
    const again = await cert('client', '--common-name', 'billing');
    expect(again).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/billing-key\.pem exists already. Pass --force/),
    });
    expect(await read('billing.pem')).toBe(before);
    expect(await cert('client', '--common-name', 'billing', '--force')).toMatchObject({ code: 0 });
    expect(await read('billing.pem')).not.toBe(before);
    expect(await read('ca.pem')).toBe(ca);
    expect(await handshake('billing')).toBe('');
  });

  it('does not let a certificate of a server call as a client', async () => {
    await cert('server');
    expect(await handshake('server')).toBe('INVALID_PURPOSE');
  });

  it.each([
    [['client'], 'Name the client with --uri, --dns or --common-name.'],
    [['client', '--uri', 'billing'], 'It must be a URI'],
    [['client', '--dns', 'x.example', '--name', '../x'], 'It must be at most 64 letters'],
    [['client', '--dns', 'x.example', '--name', 'ca'], 'Choose another --name than ca.'],
    [['client', '--dns', 'ca-key'], 'Choose another --name than ca-key.'],
    [['server', '--days', '0'], 'It must be a whole number from 1 to 3650'],
  ])('refuses %j', async (args, problem) => {
    const { code, out, err } = await cert(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(problem);
  });
});
