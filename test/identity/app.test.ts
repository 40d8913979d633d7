/** The whole application with an access file: from a token to a user, with reloads, client certificates and workers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type ClientOptions, createClient, RosterError } from '../../src/client/index.js';
import { createAuthority } from '../certificates.js';
import { startTestApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { serve } from '../support/served.js';
import { startIssuer, type TestIssuer } from './issuer.js';

const margaret = { user: { firstName: 'Margaret', email: 'margaret@example.com' } };

function createFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-access-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function accessText({ url }: Pick<TestIssuer, 'url'>, callers = ''): string {
  return `issuers:
  - name: corp
    issuer: ${url}
    audience: roster
callers:
  - { issuer: corp, claims: { group: hr }, role: writer }
${callers}`;
}

function clientFor(address: string, options: ClientOptions) {
  const client = createClient({ address, ...options });
  onTestFinished(() => client.close());
  return client;
}

async function reasonOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => 'OK',
    (error: unknown) => (error instanceof RosterError ? error.reason : String(error)),
  );
}

describe('a server with an access file', () => {
  it('gives each token its roles, also over HTTP, and uses a changed file', async () => {
    const issuer = await startIssuer();
    const file = path.join(createFolder(), 'access.yaml');
    writeFileSync(file, accessText(issuer));
    await using app = await startTestApp({ ACCESS_FILE: file });
    const writer = clientFor(app.address, { token: await issuer.sign({ group: 'hr' }) });
    const stranger = clientFor(app.address, { token: await issuer.sign({ group: 'sales' }) });

    expect(await reasonOf(app.client.createUser(margaret))).toBe('CREDENTIALS_MISSING');
    expect(await reasonOf(stranger.createUser(margaret))).toBe('ACCESS_DENIED');
    expect(await reasonOf(writer.createUser(margaret))).toBe('OK');
    expect((await writer.getCaller({})).actor).toBe('corp:4711');
    const json = async (token?: string) => {
      const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
      const url = `${app.http}/users.v1.UserService/ListUsers`;
      return (await fetch(url, { method: 'POST', headers, body: '{}' })).status;
    };
    expect(await json()).toBe(401);
    expect(await json(await issuer.sign({ group: 'hr' }))).toBe(200);

    writeFileSync(file, 'issuers: 7');
    await expect.poll(() => app.lines.filter(({ level }) => level === 'error').length, { timeout: 15_000 }).toBe(1);
    expect(app.lines.find(({ level }) => level === 'error')?.problems).toBe(
      'In the access file, issuers must be a list.',
    );
    expect(await reasonOf(writer.listUsers({}))).toBe('OK');
    writeFileSync(file, accessText(issuer, '  - { issuer: corp, claims: { group: sales }, role: reader }'));
    await expect.poll(() => reasonOf(stranger.listUsers({})), { timeout: 15_000 }).toBe('OK');
    const texts = app.lines.map(({ msg }) => msg);
    expect(texts).toContain('every call needs credentials');
    const refusal = { reason: 'CREDENTIALS_MISSING', problem: expect.stringContaining('requires a token') };
    expect(app.lines).toContainEqual(expect.objectContaining(refusal));
    const invalid = app.lines.find(({ level }) => level === 'error');
    expect(invalid).toMatchObject({ problems: 'In the access file, issuers must be a list.' });
    expect(invalid).not.toHaveProperty('error');
    expect(texts).toContain('the new version of the access file is in use');
  });

  it('ends a stream whose caller lost its role', async () => {
    const issuer = await startIssuer();
    const file = path.join(createFolder(), 'access.yaml');
    writeFileSync(file, accessText(issuer, '  - { issuer: corp, claims: { group: watch }, role: bulk }'));
    await using app = await startTestApp({ ACCESS_FILE: file });
    const watcher = clientFor(app.address, { token: await issuer.sign({ group: 'watch' }) });
    const watching = watcher.watchUsers({})[Symbol.asyncIterator]();
    await watching.next();
    writeFileSync(file, accessText(issuer));
    const ended = (async () => {
      while (!(await watching.next()).done);
    })();
    expect(await reasonOf(ended)).toBe('ACCESS_CHANGED');
  });

  it('ends an import whose caller lost its role, and writes nothing', async () => {
    const issuer = await startIssuer();
    const file = path.join(createFolder(), 'access.yaml');
    writeFileSync(file, accessText(issuer, '  - { issuer: corp, claims: { group: import }, role: bulk }'));
    await using app = await startTestApp({ ACCESS_FILE: file });
    const importer = clientFor(app.address, { token: await issuer.sign({ group: 'import' }) });
    const writer = clientFor(app.address, { token: await issuer.sign({ group: 'hr' }) });
    let isEnded = false;
    async function* rows() {
      yield { users: [margaret.user] };
      writeFileSync(file, accessText(issuer));
      while (!isEnded) await setTimeout(50);
    }
    const failure = reasonOf(importer.importUsers(rows()));
    expect(await failure).toBe('ACCESS_CHANGED');
    isEnded = true;
    expect((await writer.listUsers({})).users).toEqual([]);
  });

  it('takes tokens and client certificates on one port', async () => {
    const issuer = await startIssuer();
    const folder = createFolder();
    const authority = createAuthority();
    const foreign = createAuthority('Another authority');
    const write = (name: string, text: string) => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const own = authority.issue('server');
    const file = write('access.yaml', accessText(issuer, '  - { certificate: "subject:CN=billing", role: reader }'));
    await using app = await startTestApp({
      ACCESS_FILE: file,
      TLS_CERT: write('server.pem', own.cert),
      TLS_KEY: write('server.key', own.key),
      TLS_CLIENT_CA: write('ca.pem', authority.cert),
      TLS_CLIENT_AUTH: 'optional',
    });
    const ca = Buffer.from(authority.cert);
    const withCertificate = (name: string, from = authority) => {
      const { cert, key } = from.issue(name);
      return { ca, cert: Buffer.from(cert), key: Buffer.from(key) };
    };
    const list = (options: ClientOptions) => reasonOf(clientFor(app.address, options).listUsers({}));
    const token = await issuer.sign({ group: 'hr' });
    expect(await list({ tls: { ca } })).toBe('CREDENTIALS_MISSING');
    expect(await list({ tls: { ca }, token })).toBe('OK');
    expect(await list({ tls: withCertificate('billing') })).toBe('OK');
    expect(await list({ tls: withCertificate('somebody') })).toBe('ACCESS_DENIED');
    expect(await list({ tls: withCertificate('billing', foreign) })).toBe('CREDENTIALS_MISSING');
    // A bad token is not replaced by the certificate.
    expect(await list({ tls: withCertificate('billing'), token: `${token}x` })).toBe('CREDENTIALS_INVALID');
  });

  it('knows its callers in every worker', async () => {
    const issuer = await startIssuer();
    const file = path.join(createFolder(), 'access.yaml');
    writeFileSync(file, accessText(issuer));
    const database = await createTestDatabase();
    onTestFinished(() => database[Symbol.asyncDispose]());
    const served = await serve({ DATABASE_URL: database.url, WORKERS: '2', ACCESS_FILE: file });
    onTestFinished(async () => void (await served.end('SIGTERM')));
    expect(served.lines.filter(({ msg }) => msg === 'every call needs credentials')).toHaveLength(1);
    const token = await issuer.sign({ group: 'hr' });
    // Each client has a connection of its own, so both workers serve some of them.
    for (let count = 0; count < 8; count++) {
      expect(await reasonOf(clientFor(served.address, { token }).listUsers({}))).toBe('OK');
      expect(await reasonOf(clientFor(served.address, {}).listUsers({}))).toBe('CREDENTIALS_MISSING');
    }
    expect(issuer.requests.length).toBeGreaterThanOrEqual(2);
  });

  it('does not start with an invalid file', async () => {
    const file = path.join(createFolder(), 'access.yaml');
    writeFileSync(file, 'issuers: 7');
    await expect(startTestApp({ ACCESS_FILE: file })).rejects.toThrow(/issuers/);
  });
});

describe('a server on loopback without settings', () => {
  it('says that it is open', async () => {
    await using app = await startTestApp();
    expect(app.lines.map(({ msg }) => msg)).toContain(
      'every program on this machine may read and change all users; AUTH=on requires credentials',
    );
  });
});
